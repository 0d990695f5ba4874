"""Arguments of a training, and the presets they choose from. It imports little, so that --help does not wait."""

from __future__ import annotations

import argparse
from pathlib import Path

PRESETS = Path(__file__).parent / "presets"


def preset_names() -> list[str]:
    """Lists the presets that ship with the package."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --config, --data, --out, --stage, --set and --restart."""
    parser.add_argument(
        "--config",
        required=True,
        help=f"YAML file, folder that llm-action prepare wrote, or preset: {', '.join(preset_names())}",
    )
    parser.add_argument("--data", help="folder of the data set; the synthetic one needs none")
    parser.add_argument("--out", default=None, help="run folder; default runs/ and the name of the config")
    parser.add_argument(
        "--stage",
        choices=("vqvae", "recognizer"),
        help="only stage 1, the action tokenizer, or stage 2, the language model and the export; default both",
    )
    parser.add_argument(
        "--set",
        nargs="*",
        action="extend",
        default=[],
        metavar="FIELD=VALUE",
        help="override fields: recognizer.steps=100",
    )
    parser.add_argument(
        "--restart", action="store_true", help="begin anew instead of going on from the last checkpoint"
    )
