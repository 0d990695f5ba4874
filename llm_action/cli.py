"""The command line: `llm-action COMMAND --help` tells each command's arguments."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from pathlib import Path

_EXIT_BAD_INPUT = 2


def main(argv: list[str] | None = None) -> int:
    """Runs one command. Bad input ends in one line on stderr and exit code 2."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.filterwarnings("ignore", category=FutureWarning)
    try:
        arguments.run(arguments)
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return _EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="llm-action", description="Skeletons in, action names out.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    recognize = _command(commands, "recognize", _recognize, "name the action of recordings")
    recognize.add_argument("files", nargs="+", metavar="FILE", help="recordings in any readable format")
    recognize.add_argument("--model", required=True, help="model folder or Hub id")
    recognize.add_argument("--top-k", type=int, default=3, help="labels to print for each file (default 3)")
    recognize.add_argument(
        "--labels", nargs="+", metavar="LABEL", help="choose among these names instead of the trained ones"
    )
    recognize.add_argument("--layout", help="joint layout of files that do not tell")
    recognize.add_argument("--json", action="store_true", help="print one JSON object a file")

    evaluate = _command(commands, "evaluate", _evaluate, "measure a model on a protocol's test part")
    evaluate.add_argument("--model", required=True, help="model folder or Hub id")
    evaluate.add_argument("--dataset", required=True, help="name of the data set")
    evaluate.add_argument("--data", help="folder of the data set; the synthetic one needs none")
    evaluate.add_argument("--protocol", help="default: the data set's own")
    evaluate.add_argument("--batch-size", type=int, default=16)
    evaluate.add_argument("--json", type=Path, metavar="OUT", help="write the metrics here")
    evaluate.add_argument("--confusion", type=Path, metavar="PNG", help="draw the confusion matrix here")

    info = _command(commands, "info", _info, "say what a model folder holds")
    info.add_argument("folder")

    base = _command(commands, "base-model", _base_model, "fetch a base model if need be and print its folder")
    base.add_argument("name", nargs="?", help="folder, .gguf file or Hub id; default SmolLM2-135M-Instruct")

    for name, run, help_text in (
        ("train", _train, "train both stages and export the model"),
        ("train-vqvae", _train_vqvae, "train stage 1, the action tokenizer"),
        ("train-recognizer", _train_recognizer, "train stage 2, the language model, and export"),
    ):
        _add_training_arguments(_command(commands, name, run, help_text))

    demo = _command(commands, "demo", _demo, "the whole path on made-up skeletons")
    demo.add_argument("--out", type=Path, default=Path("runs/demo"), help="default runs/demo")
    demo.add_argument("--restart", action="store_true", help="begin anew")
    return parser


def _command(commands, name: str, run, help_text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=help_text, description=help_text)
    command.set_defaults(run=run)
    return command


def _add_training_arguments(parser: argparse.ArgumentParser) -> None:
    from llm_action.training.runs import add_training_arguments

    add_training_arguments(parser)


# Each command imports what it needs: `llm-action --help` should not wait for torch.


def _recognize(arguments: argparse.Namespace) -> None:
    recognize = _load_pipeline(arguments.model)
    options = {"top_k": arguments.top_k, "layout": arguments.layout}
    if arguments.labels:
        options["candidate_labels"] = arguments.labels
    for file in arguments.files:
        ranking = recognize(file, **options)
        if arguments.json:
            print(json.dumps({"file": file, "ranking": ranking}))
        else:
            print(f"{file}: " + ", ".join(f"{entry['label']} {entry['score']:.3f}" for entry in ranking), flush=True)


def _load_pipeline(model: str):
    from transformers import pipeline

    import llm_action

    _check_model(model)
    return pipeline(llm_action.modeling.repo_code.TASK, model=model)


def _evaluate(arguments: argparse.Namespace) -> None:
    import numpy as np

    from llm_action.datasets import load_benchmark
    from llm_action.evaluation.evaluate import evaluate_recognizer
    from llm_action.training.data import protocol_column
    from llm_action.training.runs import write_json
    from llm_action.visualization.figures import plot_confusion

    protocol = protocol_column(arguments.dataset, arguments.protocol)
    recognize = _load_pipeline(arguments.model)
    table = load_benchmark(arguments.dataset, arguments.data)
    test = table.select(np.flatnonzero(np.array(table[protocol]) == "test"))
    metrics = evaluate_recognizer(recognize.model, recognize.processor, test, arguments.batch_size)
    metrics = {"dataset": arguments.dataset, "protocol": protocol, "model": arguments.model, **metrics}
    if arguments.json:
        write_json(metrics, arguments.json)
    if arguments.confusion:
        plot_confusion(np.array(metrics["confusion"]), metrics["labels"], arguments.confusion)
    print(
        f"{arguments.dataset} {protocol}: top-1 {metrics['top1']:.1%}, top-5 {metrics['top5']:.1%}, mean class accuracy "
        f"{metrics['mean_class_accuracy']:.1%}, {metrics['n']} sequences in {metrics['seconds']:.0f} s"
    )


def _info(arguments: argparse.Namespace) -> None:
    from llm_action.hub import describe

    for name, value in describe(arguments.folder).items():
        print(f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}")


def _base_model(arguments: argparse.Namespace) -> None:
    from llm_action.base_models import resolve_base_model

    print(resolve_base_model(arguments.name))


def _train(arguments: argparse.Namespace) -> None:
    from llm_action.training.train import train

    _run_training(train, arguments)


def _train_vqvae(arguments: argparse.Namespace) -> None:
    from llm_action.training.train_vqvae import train_vqvae

    _run_training(train_vqvae, arguments)


def _train_recognizer(arguments: argparse.Namespace) -> None:
    from llm_action.training.train_recognizer import train_recognizer

    _run_training(train_recognizer, arguments)


def _run_training(stage, arguments: argparse.Namespace) -> None:
    from llm_action.training.runs import prepare_run

    experiment, out = prepare_run(arguments)
    stage(experiment, arguments.data, out, resume=not arguments.restart)
    print(f"written to {out}")


def _demo(arguments: argparse.Namespace) -> None:
    from llm_action.demo import run_demo

    run_demo(arguments.out, resume=not arguments.restart)


def _check_model(model: str) -> None:
    """A path that is no folder would be taken for a Hub id; say so before anything is downloaded."""
    if not Path(model).is_dir() and (model.count("/") != 1 or model.startswith((".", "/"))):
        raise FileNotFoundError(f"{model}: no such model folder, and no Hub id (user/name)")


if __name__ == "__main__":
    sys.exit(main())
