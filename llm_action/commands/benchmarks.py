"""The command that measures speed and memory."""

from __future__ import annotations

import argparse
from pathlib import Path

from llm_action.commands.shared import add_command, check_model


def add_commands(commands) -> None:
    """Adds it to a parser's subcommands."""
    bench = add_command(commands, "bench", _bench, "measure speed and memory, as ratios of paired runs")
    bench.add_argument("--model", help="model folder; default: an untrained recognizer on the default base")
    bench.add_argument("--dataset", help="data set whose test part is recognised; default: made-up sequences")
    bench.add_argument("--data", help="folder of the data set, raw or prepared")
    bench.add_argument("--sections", nargs="+", metavar="SECTION", help="default all; a wrong name lists them")
    bench.add_argument("--repeats", type=int, default=3, help="runs of whatever is expensive (default 3)")
    bench.add_argument("--json", type=Path, metavar="OUT", help="write the figures here")
    bench.add_argument("--plot", type=Path, metavar="PNG", help="draw the figures here")


def _bench(arguments: argparse.Namespace) -> None:
    from transformers.utils.logging import disable_progress_bar

    from llm_action.config.atomic_files import write_json
    from llm_action.experiments.bench.plot import plot_bench
    from llm_action.experiments.bench.run import SECTIONS, run_bench

    if arguments.model:
        check_model(arguments.model)
    disable_progress_bar()
    asked = (arguments.sections or tuple(SECTIONS), arguments.repeats)
    report = run_bench(arguments.model, arguments.dataset, arguments.data, *asked)
    if arguments.json:
        write_json(report, arguments.json)
    if arguments.plot:
        plot_bench(report, arguments.plot)
