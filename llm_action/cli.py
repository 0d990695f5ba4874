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
    evaluate.add_argument("--dataset", required=True, help="name of the data set, or a prepared folder")
    evaluate.add_argument("--data", help="folder of the data set, raw or prepared; the synthetic one needs none")
    evaluate.add_argument("--protocol", help="default: the data set's own")
    evaluate.add_argument("--batch-size", type=int, default=16)
    evaluate.add_argument("--json", type=Path, metavar="OUT", help="write the metrics here")
    evaluate.add_argument("--confusion", type=Path, metavar="PNG", help="draw the confusion matrix here")

    tokens = _command(commands, "evaluate-vqvae", _evaluate_vqvae, "measure the action tokenizer of a run")
    tokens.add_argument("folder", type=Path, help="run folder of a training")
    tokens.add_argument("--data", help="folder of the data set; the synthetic one needs none")
    tokens.add_argument("--probe-steps", type=int, default=800, help="training steps of the probes, 0 for none")
    tokens.add_argument("--json", type=Path, metavar="OUT", help="write the figures here")

    info = _command(commands, "info", _info, "say what a model folder holds")
    info.add_argument("folder")

    export = _command(commands, "export", _export, "write a model folder anew, with its base model if wanted")
    export.add_argument("source", help="model folder, run folder or Hub id")
    export.add_argument("--out", help="folder to write; default: in place")
    export.add_argument("--include-base", action="store_true", help="copy the base model into base/, for offline use")
    export.add_argument("--base-model", metavar="USER/NAME", help="Hub id of a base that was a local copy in training")

    push = _command(commands, "push", _push, "share a model folder on the Hub")
    push.add_argument("folder", help="model folder")
    push.add_argument("repository", metavar="USER/NAME")
    push.add_argument("--private", action="store_true", default=None, help="make a new repository private")
    push.add_argument("--space", action="store_true", help="also make a demo Space of the same name")
    push.add_argument(
        "--results", nargs="+", type=Path, default=[], metavar="JSON", help="files of llm-action evaluate --json"
    )

    pull = _command(commands, "pull", _pull, "fetch a model from the Hub and print its folder")
    pull.add_argument("repository", metavar="USER/NAME")
    pull.add_argument("--revision", help="branch, tag or commit (default main)")
    pull.add_argument("--out", help="folder to write; default: the Hugging Face cache")

    base = _command(commands, "base-model", _base_model, "fetch a base model if need be and print its folder")
    base.add_argument("name", nargs="?", help="folder, .gguf file or Hub id; default SmolLM2-135M-Instruct")

    prepare = _command(commands, "prepare", _prepare, "read, clean and write a data set as an Arrow table")
    prepare.add_argument(
        "dataset", help="ntu60, ntu120, smarthome, uav-human, utd-mhad, nw-ucla, msr-action3d or folder"
    )
    prepare.add_argument("--source", required=True, help="folder of the unpacked release, or of your own data")
    prepare.add_argument("--out", required=True, help="folder to write")
    prepare.add_argument("--csv", help="folder: CSV with the columns path, label and if wanted subject, view, split")
    prepare.add_argument("--layout", help="joint layout of files that do not tell")
    prepare.add_argument("--fps", type=float, help="frames per second of files that do not tell")
    prepare.add_argument(
        "--missing-list", nargs="+", default=[], metavar="FILE", help="official lists of samples without skeletons"
    )
    prepare.add_argument("--max-persons", type=int, default=2, help="persons to keep (default 2)")
    prepare.add_argument("--workers", type=int, help="processes (default: one a core)")
    prepare.add_argument("--restart", action="store_true", help="begin anew, and replace what --out holds")

    plan = _command(commands, "plan", _plan, "say whether a training fits, by building the model on the meta device")
    plan.add_argument("--config", required=True, help="YAML file or preset")
    plan.add_argument("--gpus", type=int, default=1, help="devices (default 1)")
    plan.add_argument("--memory", type=float, required=True, metavar="GB", help="memory of one device, 10^9 bytes")
    plan.add_argument("--strategy", choices=("ddp", "fsdp", "zero3"), help="default: the simplest that fits")
    plan.add_argument("--data", help="prepared folder, for the exact number of tokens")
    plan.add_argument("--set", nargs="*", default=[], metavar="FIELD=VALUE", help="override fields of the config")
    plan.add_argument("--json", type=Path, metavar="OUT", help="write the figures here")

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
    from transformers.utils.logging import disable_progress_bar

    from llm_action import LlmArForActionRecognition, LlmArProcessor, SkeletonActionRecognitionPipeline

    _check_model(model)
    disable_progress_bar()  # one bar a part, gone in a second
    # what pipeline(TASK, model=model) makes, but that hides a part's own message in a traceback
    parts = {
        "model": LlmArForActionRecognition.from_pretrained(model),
        "processor": LlmArProcessor.from_pretrained(model),
    }
    return SkeletonActionRecognitionPipeline(**parts)


def _evaluate(arguments: argparse.Namespace) -> None:
    import numpy as np

    from llm_action.datasets import describe_dataset, open_dataset
    from llm_action.datasets.protocols import protocol_name, protocol_parts
    from llm_action.evaluation.evaluate import evaluate_recognizer
    from llm_action.hub import add_result
    from llm_action.training.runs import write_json
    from llm_action.visualization.figures import plot_confusion

    protocol = protocol_name(describe_dataset(arguments.dataset), arguments.protocol)
    recognize = _load_pipeline(arguments.model)
    _, table = open_dataset(arguments.dataset, arguments.data)
    test = table.select(np.flatnonzero(protocol_parts(table, protocol) == "test"))
    metrics = evaluate_recognizer(recognize.model, recognize.processor, test, arguments.batch_size)
    metrics = {"dataset": arguments.dataset, "protocol": protocol, "model": arguments.model, **metrics}
    if arguments.json:
        write_json(metrics, arguments.json)
    if arguments.confusion:
        plot_confusion(np.array(metrics["confusion"]), metrics["labels"], arguments.confusion)
    if Path(arguments.model).is_dir():
        add_result(arguments.model, metrics)
    print(
        f"{arguments.dataset} {protocol}: top-1 {metrics['top1']:.1%}, top-5 {metrics['top5']:.1%}, "
        f"mean class accuracy {metrics['mean_class_accuracy']:.1%}, "
        f"{metrics['n']} sequences in {metrics['seconds']:.0f} s"
    )


def _evaluate_vqvae(arguments: argparse.Namespace) -> None:
    from llm_action.evaluation.probe import probe_joints, probe_tokens
    from llm_action.evaluation.token_metrics import token_metrics
    from llm_action.modeling.processing_llm_ar import LlmArProcessor
    from llm_action.training.data import load_split
    from llm_action.training.experiment import load_experiment
    from llm_action.training.runs import write_json

    record = arguments.folder / "experiment.yaml"
    if not record.is_file():
        raise FileNotFoundError(f"{arguments.folder}: expected the run folder of a training, {record.name} is missing")
    experiment = load_experiment(record)
    split = load_split(experiment, arguments.data)
    processor = LlmArProcessor.from_pretrained(arguments.folder / "processor")
    figures = token_metrics(processor, split.test)
    if arguments.probe_steps:
        figures["probe_tokens"] = probe_tokens(experiment, processor, split, arguments.probe_steps)
        figures["probe_joints"] = probe_joints(experiment, processor, split, arguments.probe_steps)
    if arguments.json:
        write_json(figures, arguments.json)
    for name, value in figures.items():
        print(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}")


def _info(arguments: argparse.Namespace) -> None:
    from llm_action.hub import describe

    for name, value in describe(arguments.folder).items():
        print(f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}")


def _export(arguments: argparse.Namespace) -> None:
    from llm_action.hub import copy_model

    print(copy_model(arguments.source, arguments.out, arguments.include_base, arguments.base_model))


def _push(arguments: argparse.Namespace) -> None:
    from llm_action.hub import add_result, push

    for file in arguments.results:
        add_result(arguments.folder, json.loads(file.read_text(encoding="utf-8")))
    print(push(arguments.folder, arguments.repository, arguments.private, arguments.space))


def _pull(arguments: argparse.Namespace) -> None:
    from llm_action.hub import pull

    print(pull(arguments.repository, arguments.revision, arguments.out))


def _base_model(arguments: argparse.Namespace) -> None:
    from llm_action.base_models import resolve_base_model

    print(resolve_base_model(arguments.name))


def _prepare(arguments: argparse.Namespace) -> None:
    from llm_action.datasets import BENCHMARKS
    from llm_action.datasets.folder import scan_folder
    from llm_action.datasets.prepare import Reading, prepare, prepared_summary, read_missing_list

    name = arguments.dataset.replace("-", "_")
    if name == "folder":
        benchmark, scan = scan_folder(arguments.source, arguments.csv, arguments.layout)
    elif name in BENCHMARKS and (scan_files := BENCHMARKS[name].scan) is not None:
        benchmark, scan = BENCHMARKS[name], scan_files(arguments.source)
    else:
        known = ", ".join(known for known in BENCHMARKS if BENCHMARKS[known].scan is not None)
        raise ValueError(f"{arguments.dataset}: expected one of {known}, or folder")
    reading = Reading(arguments.max_persons, arguments.layout, arguments.fps)
    missing = [name for file in arguments.missing_list for name in read_missing_list(file)]
    options = {"missing": missing, "workers": arguments.workers, "restart": arguments.restart}
    manifest = prepare(benchmark, scan, arguments.out, reading=reading, **options)
    print(prepared_summary(manifest, benchmark, arguments.out))


def _plan(arguments: argparse.Namespace) -> None:
    from llm_action.training.experiment import load_experiment
    from llm_action.training.plan import plan_table, plan_training
    from llm_action.training.runs import write_json

    experiment = load_experiment(arguments.config, arguments.set)
    plan = plan_training(experiment, arguments.gpus, arguments.memory, arguments.strategy, arguments.data)
    print(plan_table(plan))
    if arguments.json:
        write_json(plan, arguments.json)


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
