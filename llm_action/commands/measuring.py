"""Commands that measure."""

from __future__ import annotations

import argparse
from pathlib import Path

from llm_action.commands.shared import add_command, load_pipeline


def add_commands(commands) -> None:
    """Adds them to a parser's subcommands."""
    evaluate = add_command(commands, "evaluate", _evaluate, "measure a model on a protocol's test part")
    evaluate.add_argument("--model", required=True, help="model folder or Hub id")
    evaluate.add_argument("--dataset", required=True, help="name of the data set, or a prepared folder")
    evaluate.add_argument("--data", help="folder of the data set, raw or prepared; the synthetic one needs none")
    evaluate.add_argument("--protocol", help="default: the data set's own")
    evaluate.add_argument("--batch-size", type=int, default=16)
    evaluate.add_argument("--json", type=Path, metavar="OUT", help="write the metrics here")
    evaluate.add_argument("--confusion", type=Path, metavar="PNG", help="draw the confusion matrix here")

    tokens = add_command(commands, "evaluate-vqvae", _evaluate_vqvae, "measure the action tokenizer of a run")
    tokens.add_argument("folder", type=Path, help="run folder of a training")
    tokens.add_argument("--data", help="folder of the data set; the synthetic one needs none")
    tokens.add_argument("--probe-steps", type=int, default=800, help="training steps of the probes, 0 for none")
    tokens.add_argument("--json", type=Path, metavar="OUT", help="write the figures here")


def _evaluate(arguments: argparse.Namespace) -> None:
    import numpy as np

    from llm_action.datasets import describe_dataset, open_dataset
    from llm_action.datasets.protocols import protocol_name, protocol_parts
    from llm_action.evaluation.evaluate import evaluate_recognizer
    from llm_action.hub import add_result
    from llm_action.training.runs import write_json
    from llm_action.visualization.figures import plot_confusion

    protocol = protocol_name(describe_dataset(arguments.dataset), arguments.protocol)
    recognize = load_pipeline(arguments.model)
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
