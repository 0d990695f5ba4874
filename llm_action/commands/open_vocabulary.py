"""Commands about classes that a model was not trained on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from llm_action.commands.shared import add_command, add_reading_options, with_descriptions

# names alone teach little about other names
RECIPE = ("recognizer.answers=both", "recognizer.question_share=0.4", "recognizer.steps=200")


def add_commands(commands) -> None:
    """Adds them to a parser's subcommands."""
    unseen = add_command(
        commands, "evaluate-unseen", _evaluate_unseen, "train without some classes and measure how they are recognised"
    )
    unseen.add_argument("--dataset", required=True, help="name of the data set, or a prepared folder")
    unseen.add_argument("--data", help="folder of the data set; the synthetic one needs none")
    unseen.add_argument("--unseen", required=True, metavar="K", help="classes left out, or a split like 55/5 of NTU")
    unseen.add_argument("--splits", type=int, default=5, help="fixed random splits of the classes (default 5)")
    unseen.add_argument(
        "--validation",
        type=int,
        default=0,
        metavar="V",
        help="choose the scores' weights on so many of the seen classes: one more training a split (default 0)",
    )
    unseen.add_argument(
        "--adapt", type=int, default=0, metavar="N", help="then learn the unseen classes from N examples of each"
    )
    unseen.add_argument("--descriptions", help="JSON file of label descriptions, beside the shipped ones")
    unseen.add_argument("--config", help="YAML file or preset, but for its data; default the data set's, or utd_mhad")
    unseen.add_argument(
        "--set",
        nargs="*",
        action="extend",
        default=[],
        metavar="FIELD=VALUE",
        help=f"override fields of the config, beside those of the recipe ({', '.join(RECIPE)})",
    )
    unseen.add_argument("--out", type=Path, help="folder of runs and results; default runs/unseen/DATASET")
    unseen.add_argument("--json", type=Path, metavar="OUT", help="write all figures here")

    adapt = add_command(commands, "adapt", _adapt, "teach a model new classes from a few examples")
    adapt.add_argument("--model", required=True, help="model folder")
    adapt.add_argument("--examples", required=True, help="folder with one folder of recordings a class")
    adapt.add_argument("--out", type=Path, required=True, help="model folder to write")
    adapt.add_argument("--rehearse", help="recordings of old classes, for a model without rehearsal files")
    add_reading_options(adapt)
    adapt.add_argument("--steps", type=int, default=150, help="training steps (default 150)")
    adapt.add_argument("--learning-rate", type=float, default=5e-4, help="default 5e-4")


def _evaluate_unseen(arguments: argparse.Namespace) -> None:
    from dataclasses import replace

    from llm_action.config.atomic_files import write_json
    from llm_action.config.experiment import load_experiment, preset_names
    from llm_action.datasets import describe_dataset
    from llm_action.experiments.class_splits import class_splits, named_split, shown_labels
    from llm_action.experiments.tables import measured, table_line
    from llm_action.experiments.unseen import ADAPTED_COLUMNS, COLUMNS, unseen_rows

    benchmark = describe_dataset(arguments.dataset)
    config = arguments.config or (benchmark.name if benchmark.name in preset_names() else "utd_mhad")
    experiment = replace(load_experiment(config, [*RECIPE, *arguments.set]), dataset=arguments.dataset)
    experiment = with_descriptions(experiment, arguments.descriptions)
    if "/" in arguments.unseen:
        splits = named_split(benchmark.name, arguments.unseen, benchmark.labels)
    else:
        labels = shown_labels(experiment, arguments.data)
        splits = class_splits(labels, _number(arguments.unseen), arguments.splits, arguments.validation)
    out = arguments.out or Path("runs") / "unseen" / Path(arguments.dataset).name
    columns = COLUMNS + (ADAPTED_COLUMNS if arguments.adapt else [])
    print("| split | " + " | ".join(column.title for column in columns) + " |")
    print("|---" * (len(columns) + 1) + "|", flush=True)
    found: list[dict[str, Any]] = []
    for row in unseen_rows(experiment, arguments.data, splits, out, arguments.adapt):
        found.append(measured(row, experiment.seed, out / "splits"))
        print(table_line({"name": row.name, "metrics": _summary(found[-1:])}, columns), flush=True)
    print(table_line({"name": "mean", "metrics": _summary(found)}, columns))
    if arguments.json:
        about = {"dataset": arguments.dataset, "config": config, "set": arguments.set}
        write_json({**about, "mean": _summary(found), "splits": found}, arguments.json)


def _summary(measurements: list[dict[str, Any]]) -> dict[str, Any]:
    from llm_action.experiments.tables import spread

    numbers = [name for name, value in measurements[0].items() if isinstance(value, float)]
    return {name: spread([measurement[name] for measurement in measurements]) for name in numbers}


def _number(text: str) -> int:
    if not text.isdigit():
        raise ValueError(f"--unseen: expected a number of classes or a split like 55/5, got {text!r}")
    return int(text)


def _adapt(arguments: argparse.Namespace) -> None:
    from llm_action.commands.shared import check_model, reading_options
    from llm_action.training.adapt import Adaptation, adapt

    check_model(arguments.model)
    adaptation = Adaptation(steps=arguments.steps, learning_rate=arguments.learning_rate)
    source, examples, said = arguments.model, arguments.examples, reading_options(arguments)
    labels = adapt(source, examples, arguments.out, arguments.rehearse, arguments.layout, adaptation, **said)
    print(f"{arguments.out}: knows {len(labels)} classes: {', '.join(labels)}")
