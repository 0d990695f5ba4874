"""The HTML of answers, troubles and timelines. Every text that comes from outside is escaped."""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from llm_action.modeling.skeleton_sequence import SkeletonSequence
from llm_action.modeling.skeleton_stream import StreamResult
from llm_action.visualization.animation import animate_skeletons

from .answering import Answer, Row
from .words import Trouble, doubt_in_words

_UNSURE = 0.5
_UNFAMILIAR = "This motion is unlike anything the model was trained on. The names below are only the nearest it knows."
_COLOURS = ("#1f77b4", "#d6452b", "#2ca08c", "#c88c1e", "#7b52ab", "#8c564b", "#c2569b", "#5f6b6d")


def answer_html(answer: Answer) -> str:
    """All rows of an answer, below what is to be said of the recording."""
    first = answer.rows[0]
    best = f"{first.ranking[0]['label']}, {_percent(first.ranking[0]['score'])}"
    headline = f"<h2>{escape('Unfamiliar; nearest is ' + first.ranking[0]['label'] if first.unfamiliar else best)}</h2>"
    remarks = [f"Take this with care. {doubt_in_words(doubt, answer.sequence.name)}" for doubt in answer.doubts]
    rows = "".join(_row_html(row) for row in answer.rows)
    notes = "".join(f"<li>{escape(note)}</li>" for note in answer.notes)
    if notes:
        notes = f"<details><summary>What was inferred of this recording</summary><ul>{notes}</ul></details>"
    seconds = f"{answer.sequence.num_frames} frames, {answer.seconds:.1f} seconds"
    about = f"<p>{escape(answer.name)}: {seconds}, layout {escape(answer.sequence.layout)}</p>"
    return (
        f'<section aria-label="Answer for {escape(answer.name)}">{headline}{_remarks(remarks)}{rows}{about}{notes}'
        "</section>"
    )


def _row_html(row: Row) -> str:
    remarks = []
    if row.unfamiliar:
        remarks.append(_UNFAMILIAR)
    elif row.ranking[0]["score"] < _UNSURE:
        remarks.append("The model is not sure: no name has half of the probability.")
    sentence = (
        f"<details><summary>Action sentence, {len(row.sentence.split())} tokens</summary>"
        f'<p class="tokens"><code>{escape(row.sentence)}</code></p></details>'
    )
    return (
        f'<article class="person" aria-label="{escape(row.title)}">{_picture(row.sequence, row.title)}'
        f'<div class="said"><h3>{escape(row.title)}</h3>{_remarks(remarks)}'
        f"{_ranking(row.ranking)}{sentence}</div></article>"
    )


def _ranking(ranking: Sequence[Mapping[str, Any]]) -> str:
    entries = "".join(
        f"<li><span>{escape(entry['label'])}</span><span>{_percent(entry['score'])}</span>"
        f'<span class="bar" aria-hidden="true"><span style="width:{100 * entry["score"]:.1f}%"></span></span></li>'
        for entry in ranking
    )
    return f'<ol class="ranking" aria-label="Names, most likely first">{entries}</ol>'


def _picture(sequence: SkeletonSequence, title: str) -> str:
    """The skeleton in motion; a still picture for those who asked their system for less motion."""
    with tempfile.TemporaryDirectory() as folder:
        gif = animate_skeletons([[sequence]], Path(folder) / "skeleton.gif").read_bytes()
    still = io.BytesIO()
    with Image.open(io.BytesIO(gif)) as moving:
        moving.seek(getattr(moving, "n_frames", 1) // 2)
        moving.convert("RGB").save(still, "PNG")
    alt = f"{title}: the skeleton in motion, left arm and leg in blue, right ones in red"
    return (
        f'<picture><source media="(prefers-reduced-motion: reduce)" srcset="{_data(still.getvalue(), "image/png")}">'
        f'<img src="{_data(gif, "image/gif")}" width="240" height="244" alt="{escape(alt)}"></picture>'
    )


def _data(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _remarks(texts: Sequence[str]) -> str:
    return "".join(f'<p class="remark" role="note">{escape(text)}</p>' for text in texts)


def _percent(score: float) -> str:
    return "over 99 %" if score > 0.99 else "under 1 %" if score < 0.01 else f"{100 * score:.0f} %"


def trouble_html(trouble: Trouble) -> str:
    """An error: what was expected, what came, what to do."""
    parts = (("Expected", trouble.expected), ("What came", trouble.came), ("What to do", trouble.remedy))
    said = "".join(f"<dt>{title}</dt><dd>{escape(text)}</dd>" for title, text in parts if text)
    return f'<div class="trouble" role="alert"><strong>{escape(trouble.headline)}</strong><dl>{said}</dl></div>'


def hint_html(text: str) -> str:
    """A line that says what goes on or what to do next."""
    return f'<p role="status">{escape(text)}</p>' if text else ""


def timeline_html(segments: Sequence[dict[str, Any]], seconds: float) -> str:
    """What happens when: a strip and a list for each person.

    Args:
        segments: `[{"start", "end", "label", "score", "person"}]`, in seconds.
        seconds: the whole recording lasts.
    """
    if not segments:
        return hint_html("No action was found in this recording.")
    labels = list(dict.fromkeys(segment["label"] for segment in segments))
    colours = {label: _COLOURS[number % len(_COLOURS)] for number, label in enumerate(labels)}
    persons = sorted({segment.get("person", 0) for segment in segments})
    parts = []
    for number, person in enumerate(persons):
        own = [segment for segment in segments if segment.get("person", 0) == person]
        strip = "".join(
            f'<span style="left:{100 * one["start"] / seconds:.2f}%;width:'
            f'{100 * (one["end"] - one["start"]) / seconds:.2f}%;background:{colours[one["label"]]}">'
            f"{escape(one['label'])}</span>"
            for one in own
        )
        listed = "".join(
            f"<li>{one['start']:.1f} to {one['end']:.1f} s: {escape(one['label'])}, {_percent(one['score'])}</li>"
            for one in own
        )
        title = f"Person {number + 1}" if len(persons) > 1 else "What happens when"
        parts.append(
            f'<h3>{title}</h3><div class="strip" aria-hidden="true">{strip}</div><ol class="segments">{listed}</ol>'
        )
    return f'<section aria-label="Timeline">{"".join(parts)}</section>'


def page_in_page(html: str, title: str) -> str:
    """A whole HTML page shown inside of this one; it cannot reach out of its frame."""
    return (
        f'<iframe class="explanation" title="{escape(title)}" sandbox="allow-scripts" srcdoc="{escape(html)}"></iframe>'
    )


def live_html(result: StreamResult | None, error: str) -> str:
    """What a stream shows at the moment."""
    if error:
        return trouble_html(Trouble("The stream stopped.", came=error, remedy="Stop the camera and start it again."))
    if result is None:
        return hint_html("Looking: the first name comes after three seconds.")
    if not result.ranking:
        return hint_html("Nobody is seen. Step back until the camera sees the whole body.")
    remarks = [_UNFAMILIAR] if result.ranking[0].get("unfamiliar") else []
    late = f" The page is {result.skipped} pictures behind." if result.skipped else ""
    return (
        f"<p><strong>{escape(result.track_label or '')}</strong>, {_percent(result.track_score)}.{late}</p>"
        f"{_remarks(remarks)}"
        f"{_ranking(result.ranking)}"
    )
