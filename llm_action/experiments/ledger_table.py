"""The ledger of evaluations on test parts as a Markdown table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_TITLES = ("date", "data set", "protocol", "command", "figures", "sequences", "config", "model")


def ledger_table(entries: Iterable[Mapping[str, Any]]) -> str:
    """One line an entry, see `llm_action.evaluation.ledger`; shares are printed in percent."""
    lines = [f"| {' | '.join(_TITLES)} |", "|---" * len(_TITLES) + "|"]
    for entry in entries:
        figures = ", ".join(f"{name} {100 * value:.1f}" for name, value in entry["figures"].items())
        first = [entry[name] for name in ("date", "dataset", "protocol", "command")]
        cells = [*first, figures, entry["sequences"], entry["config"], entry["model"] or "–"]
        lines.append(f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |")
    return "\n".join(lines)
