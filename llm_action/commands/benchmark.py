"""What measures the method: `llm-action benchmark compare|ablate|transfer|unseen|senses|familiarity|points|speed`.

All but the last two make whole tables, one row at a time.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from llm_action.commands.options import add_answer_options, add_command, add_model, check_model, with_descriptions

_RECIPE = "utd_mhad"  # presets of small data sets differ in nothing but the data
# names alone teach little about other names
_UNSEEN_RECIPE = ("recognizer.answers=both", "recognizer.question_share=0.4", "recognizer.steps=200")


def add_benchmark(commands) -> None:
    """Adds `benchmark`, with a command a table, to a parser's subcommands."""
    help_text = "measure the method: its parts, beside others, on other data, on unseen classes, its speed"
    commands = add_command(commands, "benchmark", None, help_text).add_subparsers(required=True, metavar="WHAT")
    compare = add_command(commands, "compare", _compare, "measure the recognizer beside what else could be trained")
    compare.add_argument("--dataset", required=True, help="name of the data set, or a prepared folder")
    compare.add_argument("--protocol", help="default: the data set's own")
    compare.add_argument("--config", default=_RECIPE, help=f"YAML file or preset, without its data; default {_RECIPE}")
    compare.add_argument(
        "--examples-per-class", type=int, metavar="N", help="train on N sequences of each class, drawn by the seed"
    )
    _add_table_arguments(compare)

    ablate = add_command(commands, "ablate", _ablate, "measure what each part of the method is worth")
    ablate.add_argument("--config", required=True, help="YAML file, prepared folder or preset")
    ablate.add_argument(
        "--stage",
        choices=("vqvae", "recognizer"),
        default="vqvae",
        help="whose parts; default vqvae, measured by a probe",
    )
    _add_table_arguments(ablate)

    transfer = add_command(
        commands, "transfer", _transfer, "measure a trained model on another data set, with few examples or none"
    )
    add_model(transfer, "model folder")
    transfer.add_argument("--dataset", required=True, help="name of the other data set, or a prepared folder")
    transfer.add_argument("--protocol", help="default: the data set's own")
    transfer.add_argument(
        "--examples", nargs="+", type=int, default=[0, 1, 5], metavar="N", help="of each class (default 0 1 5)"
    )
    transfer.add_argument("--descriptions", help="JSON file of label descriptions, beside the shipped ones")
    transfer.add_argument("--config", default=_RECIPE, help=f"YAML file or preset, without its data; default {_RECIPE}")
    _add_table_arguments(transfer)

    unseen = add_command(commands, "unseen", _unseen, "train without some classes and measure how they are recognised")
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
    unseen.add_argument("--config", help="YAML file or preset, without its data; default the data set's, or utd_mhad")
    unseen.add_argument(
        "--set",
        nargs="*",
        action="extend",
        default=[],
        metavar="FIELD=VALUE",
        help=f"override fields of the config, beside those of the recipe ({', '.join(_UNSEEN_RECIPE)})",
    )
    unseen.add_argument("--out", type=Path, help="folder of runs and results; default runs/unseen/DATASET")
    unseen.add_argument("--json", type=Path, metavar="PATH", help="write all figures here")

    senses = add_command(commands, "senses", _senses, "measure what a second sense is worth")
    senses.add_argument("--config", required=True, help="YAML file or preset with one further sense")
    _add_table_arguments(senses)

    familiarity = add_command(
        commands, "familiarity", _familiarity, "measure how strange motions are told from familiar ones"
    )
    familiarity.add_argument("--data", required=True, help="folder of UTD-MHAD, raw or prepared")
    familiarity.add_argument("--ucla", required=True, help="folder of NW-UCLA, raw or prepared")
    familiarity.add_argument("--json", type=Path, metavar="PATH", help="write all figures here")

    points = add_command(commands, "points", _points, "measure how well action points of long recordings are found")
    add_model(points)
    points.add_argument("--csv", type=Path, required=True, help="list of points: path,label,point and perhaps split")
    points.add_argument("--source", type=Path, help="folder that paths are relative to; default the list's")
    points.add_argument("--tolerance", type=float, metavar="SECONDS", help="default 1/3")
    add_answer_options(points)
    points.add_argument("--json", type=Path, metavar="PATH", help="write the counts of each recording here")

    speed = add_command(commands, "speed", _speed, "measure speed and memory, as ratios of paired runs")
    speed.add_argument(
        "model", metavar="MODEL", nargs="?", help="model folder; default: an untrained recognizer on the default base"
    )
    speed.add_argument("--dataset", help="data set whose test part is recognised; default: made-up sequences")
    speed.add_argument("--data", help="folder of the data set, raw or prepared")
    speed.add_argument("--sections", nargs="+", metavar="SECTION", help="default all; an unknown name lists them")
    speed.add_argument("--repeats", type=int, default=3, help="how often what is expensive is run (default 3)")
    speed.add_argument("--json", type=Path, metavar="PATH", help="write the figures here")
    speed.add_argument("--plot", type=Path, metavar="PNG", help="draw the figures here")


def _add_table_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", help="folder of the data set; the synthetic one needs none")
    parser.add_argument("--seeds", type=int, default=3, help="seeds that each row is measured with (default 3)")
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="only these rows; an unknown name lists them all")
    parser.add_argument(
        "--set", nargs="*", action="extend", default=[], metavar="FIELD=VALUE", help="override fields of the config"
    )
    parser.add_argument("--out", type=Path, help="folder of what is measured and trained; default runs/WHAT/DATASET")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the table here")


def _compare(arguments: argparse.Namespace) -> None:
    from dataclasses import replace

    from llm_action.config.experiment import load_experiment
    from llm_action.experiments.compare import COLUMNS, comparison_rows

    few = arguments.examples_per_class
    overrides = arguments.set if few is None else [*arguments.set, f"training_examples_per_class={few}"]
    experiment = load_experiment(arguments.config, overrides)
    experiment = replace(experiment, dataset=arguments.dataset, protocol=arguments.protocol or experiment.protocol)
    work = arguments.out or Path("runs") / "compare" / Path(arguments.dataset).name
    rows = comparison_rows(experiment, arguments.data, work)
    _measure(rows, COLUMNS, experiment, work / "table", arguments)


def _ablate(arguments: argparse.Namespace) -> None:
    from llm_action.config.experiment import load_experiment
    from llm_action.experiments.ablate import TABLES

    experiment = load_experiment(arguments.config, arguments.set)
    make_rows, columns = TABLES[arguments.stage]
    work = arguments.out or Path("runs") / "ablate" / Path(experiment.dataset).name
    rows = make_rows(arguments.config, arguments.set, arguments.data, work)
    _measure(rows, columns, experiment, work / f"{arguments.stage}_table", arguments)


def _transfer(arguments: argparse.Namespace) -> None:
    from dataclasses import replace

    from llm_action.config.experiment import load_experiment
    from llm_action.experiments.transfer import COLUMNS, transfer_rows

    check_model(arguments.model)
    experiment = load_experiment(arguments.config, arguments.set)
    experiment = replace(experiment, dataset=arguments.dataset, protocol=arguments.protocol or experiment.protocol)
    experiment = with_descriptions(experiment, arguments.descriptions)
    work = arguments.out or Path("runs") / "transfer" / Path(arguments.dataset).name
    rows = transfer_rows(Path(arguments.model), experiment, arguments.data, arguments.examples)
    _measure(rows, COLUMNS, experiment, work / "table", arguments)


def _unseen(arguments: argparse.Namespace) -> None:
    from dataclasses import replace

    from llm_action.config.atomic_files import write_json
    from llm_action.config.experiment import load_experiment, preset_names
    from llm_action.datasets import describe_dataset
    from llm_action.experiments.class_splits import class_splits, named_split, shown_labels
    from llm_action.experiments.tables import measured, table_line
    from llm_action.experiments.unseen import ADAPTED_COLUMNS, COLUMNS, unseen_rows

    benchmark = describe_dataset(arguments.dataset)
    config = arguments.config or (benchmark.name if benchmark.name in preset_names() else "utd_mhad")
    experiment = replace(load_experiment(config, [*_UNSEEN_RECIPE, *arguments.set]), dataset=arguments.dataset)
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
        print(table_line({"name": row.name, "metrics": _means(found[-1:])}, columns), flush=True)
    print(table_line({"name": "mean", "metrics": _means(found)}, columns))
    if arguments.json:
        about = {"dataset": arguments.dataset, "config": config, "set": arguments.set}
        write_json({**about, "mean": _means(found), "splits": found}, arguments.json)


def _means(measurements: list[dict[str, Any]]) -> dict[str, Any]:
    from llm_action.experiments.tables import spread

    numbers = [name for name, value in measurements[0].items() if isinstance(value, float)]
    return {name: spread([measurement[name] for measurement in measurements]) for name in numbers}


def _number(text: str) -> int:
    if not text.isdigit():
        raise ValueError(f"--unseen: expected a number of classes or a split like 55/5, got {text!r}")
    return int(text)


def _senses(arguments: argparse.Namespace) -> None:
    from llm_action.config.experiment import load_experiment
    from llm_action.experiments.senses import COLUMNS, sense_rows

    experiment = load_experiment(arguments.config, arguments.set)
    work = arguments.out or Path("runs") / "senses" / Path(experiment.dataset).name
    rows = sense_rows(arguments.config, arguments.set, arguments.data, work)
    _measure(rows, COLUMNS, experiment, work / "table", arguments)


def _familiarity(arguments: argparse.Namespace) -> None:
    from llm_action.config.atomic_files import write_json
    from llm_action.experiments.familiarity import familiarity_figures

    rows = []
    for row in familiarity_figures(arguments.data, arguments.ucla):
        rows.append(row)
        print(f"left out: {row['left_out']}")
        for name, value in row.items():
            if name != "left_out":
                print(f"  {name}: {value:.3f}", flush=True)
    if arguments.json:
        write_json(rows, arguments.json)


def _points(arguments: argparse.Namespace) -> None:
    from llm_action.commands.answering import StudentFirst, load_answering
    from llm_action.config.atomic_files import write_json
    from llm_action.evaluation.ledger import Origin, config_hash, recognizer_fingerprint, weights_fingerprint
    from llm_action.experiments.action_points import (
        TOLERANCE,
        annotated_points,
        enter_action_points,
        in_all,
        measure_action_points,
    )
    from llm_action.modeling.student import ActionStudent

    tolerance = TOLERANCE if arguments.tolerance is None else arguments.tolerance
    if not tolerance > 0:
        raise ValueError(f"--tolerance: expected more than 0 seconds, got {tolerance}")
    points = annotated_points(arguments.csv, arguments.source or arguments.csv.parent)
    recognize = load_answering(arguments.model, arguments.dtype, arguments.fast)
    counts = []
    for one in measure_action_points(recognize, points, tolerance, arguments.views):
        counts.append(one)
        print(f"{one.recording}: {one.right} right, {one.wrong} wrong, {one.missed} missed", flush=True)
    total = in_all(counts)
    settings = {"tolerance": tolerance, "views": arguments.views, "fast": arguments.fast}
    if arguments.fast:
        fingerprint = weights_fingerprint(ActionStudent.from_pretrained(arguments.model).state_dict().items())
    else:
        assert not isinstance(recognize, StudentFirst)
        fingerprint = recognizer_fingerprint(recognize.model, recognize.processor)
    origin = Origin(f"benchmark points, views {arguments.views}", config_hash(settings), fingerprint)
    enter_action_points(arguments.csv, origin, total, len(counts))
    of_all = f"{total.right} right, {total.wrong} wrong, {total.missed} missed"
    print(f"{total.recording}: F1 {total.f1:.3f} within {tolerance:.3f} s, {of_all}")
    if arguments.json:
        write_json([one.to_dict() for one in [*counts, total]], arguments.json)


def _measure(rows, columns, experiment, folder: Path, arguments: argparse.Namespace) -> None:
    from llm_action.config.atomic_files import write_json
    from llm_action.datasets.split import load_split
    from llm_action.experiments.intervals import difference_lines, differences_to_best
    from llm_action.experiments.tables import chosen_rows, print_table

    if arguments.seeds < 1:
        raise ValueError(f"expected --seeds of 1 or more, got {arguments.seeds}")
    rows = chosen_rows(rows, arguments.rows)
    split = load_split(experiment, arguments.data)  # what is wrong with the data is said before anything is trained
    table = print_table(rows, range(arguments.seeds), columns, folder)
    best, differences = differences_to_best(table)
    if differences:
        print("\n" + "\n".join(difference_lines(best, differences)))
    if arguments.json:
        about = {"dataset": experiment.dataset, "protocol": split.protocol}
        sizes = {"training_sequences": len(split.train), "test_sequences": len(split.test)}
        compared = {"best": best, "differences": differences} if differences else {}
        write_json({**about, **sizes, "rows": table, **compared}, arguments.json)


def _speed(arguments: argparse.Namespace) -> None:
    from llm_action.config.atomic_files import write_json
    from llm_action.experiments.bench.plot import plot_bench
    from llm_action.experiments.bench.run import SECTIONS, run_bench

    if arguments.model:
        check_model(arguments.model)
    asked = (arguments.sections or tuple(SECTIONS), arguments.repeats)
    report = run_bench(arguments.model, arguments.dataset, arguments.data, *asked)
    if arguments.json:
        write_json(report, arguments.json)
    if arguments.plot:
        plot_bench(report, arguments.plot)
