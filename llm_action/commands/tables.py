"""Commands that measure whole tables, one row at a time."""

from __future__ import annotations

import argparse
from pathlib import Path

from llm_action.commands.shared import add_command, with_descriptions

_RECIPE = "utd_mhad"  # presets of small data sets differ in nothing but the data


def add_commands(commands) -> None:
    """Adds them to a parser's subcommands."""
    compare = add_command(commands, "compare", _compare, "measure the recognizer beside what else could be trained")
    compare.add_argument("--dataset", required=True, help="name of the data set, or a prepared folder")
    compare.add_argument("--protocol", help="default: the data set's own")
    compare.add_argument("--config", default=_RECIPE, help=f"YAML file or preset, but for its data; default {_RECIPE}")
    compare.add_argument(
        "--examples-per-class", type=int, metavar="N", help="train on N sequences of each class, drawn by the seed"
    )
    _add_table_arguments(compare)

    ablate = add_command(commands, "ablate", _ablate, "measure what each part of the method is worth")
    ablate.add_argument("--config", required=True, help="YAML file or preset")
    ablate.add_argument(
        "--stage",
        choices=("vqvae", "recognizer", "on-trial"),
        default="vqvae",
        help="whose parts; default vqvae, measured by a probe; on-trial: options that are off by default, one by one",
    )
    _add_table_arguments(ablate)

    senses = add_command(commands, "senses", _senses, "measure what a second sense is worth")
    senses.add_argument("--config", required=True, help="YAML file or preset with one further sense")
    _add_table_arguments(senses)

    transfer = add_command(
        commands, "transfer", _transfer, "measure a trained model on another data set, with few examples or none"
    )
    transfer.add_argument("--model", required=True, type=Path, help="model folder")
    transfer.add_argument("--dataset", required=True, help="name of the other data set, or a prepared folder")
    transfer.add_argument("--protocol", help="default: the data set's own")
    transfer.add_argument(
        "--examples", nargs="+", type=int, default=[0, 1, 5], metavar="N", help="of each class (default 0 1 5)"
    )
    transfer.add_argument("--descriptions", help="JSON file of label descriptions, beside the shipped ones")
    transfer.add_argument("--config", default=_RECIPE, help=f"YAML file or preset, but for its data; default {_RECIPE}")
    _add_table_arguments(transfer)


def _add_table_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", help="folder of the data set; the synthetic one needs none")
    parser.add_argument("--seeds", type=int, default=3, help="each row is measured with seeds 0, 1 ... (default 3)")
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="only these rows; a wrong name lists them")
    parser.add_argument(
        "--set", nargs="*", action="extend", default=[], metavar="FIELD=VALUE", help="override fields of the config"
    )
    parser.add_argument("--out", type=Path, help="folder of what is measured and trained; default runs/COMMAND/DATASET")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the table here")


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


def _senses(arguments: argparse.Namespace) -> None:
    from llm_action.config.experiment import load_experiment
    from llm_action.experiments.senses import COLUMNS, sense_rows

    experiment = load_experiment(arguments.config, arguments.set)
    work = arguments.out or Path("runs") / "senses" / Path(experiment.dataset).name
    rows = sense_rows(arguments.config, arguments.set, arguments.data, work)
    _measure(rows, COLUMNS, experiment, work / "table", arguments)


def _transfer(arguments: argparse.Namespace) -> None:
    from dataclasses import replace

    from llm_action.commands.shared import check_model
    from llm_action.config.experiment import load_experiment
    from llm_action.experiments.transfer import COLUMNS, transfer_rows

    check_model(str(arguments.model))
    experiment = load_experiment(arguments.config, arguments.set)
    experiment = replace(experiment, dataset=arguments.dataset, protocol=arguments.protocol or experiment.protocol)
    experiment = with_descriptions(experiment, arguments.descriptions)
    work = arguments.out or Path("runs") / "transfer" / Path(arguments.dataset).name
    rows = transfer_rows(arguments.model, experiment, arguments.data, arguments.examples)
    _measure(rows, COLUMNS, experiment, work / "table", arguments)


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
