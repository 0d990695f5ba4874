"""The page that answers "why": what was recognised, when, where on the body, from which tokens, like what."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_action.modeling.skeleton_layouts import get_layout
from llm_action.modeling.skeleton_sequence import SkeletonSequence

from .drawing import needed_extent
from .pages import bars, card, keys, percent, table, write_page
from .svg import heat, skeleton_svg, thinned

if TYPE_CHECKING:  # drawing what is there needs no model
    from llm_action.modeling.explanation import AttributeSeen, Explanation, PosteriorOverTime, Token

LABEL_COLOURS = ("#1f6fb2", "#d9480f", "#2b8a3e", "#7048a8")  # of the labels that curves show
OTHERS = "#9aa5b1"
_SHOWN_LABELS = 5
_POSES = 8
_FRAMES = 24  # of a moving skeleton
_WIDTH, _HEIGHT = 1000, 300  # units of a curve's picture
_METHODS = {
    "motion": "the recording with a few frames, or a joint and its neighbours, held still",
    "tokens": "the sentence with a few tokens written as the one before",
    "gradients": "the gradient of the score at each joint in each frame",
}


def write_explanations(explanations: Sequence[Explanation], path: str | os.PathLike, model: str = "") -> Path:
    """Writes one page of the explanations of one recording or several.

    Args:
        path: of the .html to write.
        model: name of the model that answered.

    Raises:
        ValueError: no explanation, or a wrong suffix.
    """
    if not explanations:
        raise ValueError("expected an explanation to show, got none")
    title = explanations[0].name if len(explanations) == 1 else f"{len(explanations)} recordings"
    parts = [_contents(explanations)] if len(explanations) > 1 else []
    for number, explanation in enumerate(explanations):
        parts.append(explanation_part(explanation, number, model))
    return write_page(f"Why: {title}", parts, path)


def _contents(explanations: Sequence[Explanation]) -> str:
    links = (
        f'<li><a href="#r{number}">{escape(one.name)}</a>: {escape(one.label)}</li>'
        for number, one in enumerate(explanations)
    )
    return f'<nav aria-label="recordings"><ul>{"".join(links)}</ul></nav>'


def explanation_part(explanation: Explanation, number: int = 0, model: str = "") -> str:
    """Makes the part of a page about one recording."""
    return "".join(
        (
            f'<article id="r{number}">',
            _head(explanation, model),
            _answer(explanation),
            _senses(explanation),
            _when(explanation),
            _where(explanation),
            _tokens(explanation),
            _like_what(explanation),
            _attributes(explanation),
            _notes(explanation),
            "</article>",
        )
    )


def _head(explanation: Explanation, model: str) -> str:
    best = explanation.ranking[0]
    length = f"{explanation.frames} frames"
    if explanation.seconds is not None:
        length += f", {explanation.seconds:.1f} s"
    by = f" · {escape(model)}" if model else ""
    if explanation.answered_by == "student":
        by += " · answered by the student"
    doubts = "".join(f'<p class="warning">{escape(doubt)}</p>' for doubt in explanation.doubts)
    return (
        f'<header><p class="soft">{escape(explanation.name)} · {length}{by}</p>'
        f"<h1>{escape(headline(explanation))}</h1>{_said_beside(best)}{doubts}</header>"
    )


def headline(explanation: Explanation) -> str:
    """Says the label and how likely it is, and of an unfamiliar motion that it is one."""
    best = explanation.ranking[0]
    said = f"{best['label']}, {percent(best['score'])}"
    return f"Unfamiliar; nearest is {said}" if best.get("unfamiliar") else said


def _said_beside(best: dict[str, Any]) -> str:
    """How familiar the motion is, where the answer carries that."""
    if (familiarity := best.get("familiarity")) is None:
        return ""
    said = f"Familiarity {familiarity:.2f}: {familiarity:.0%} of familiar motions are stranger than this one."
    if best.get("unfamiliar"):
        return f'<p class="warning">Like nothing the model was trained on. {said} Do not rely on the label.</p>'
    return f"<p>{said}</p>"


def label_colours(explanation: Explanation) -> dict[str, str]:
    """Chooses the labels that curves show, those best at the end or at some time, and their colours."""
    over_time = np.array(explanation.prefixes.shares + explanation.windows.shares)
    order = [explanation.labels.index(one["label"]) for one in explanation.ranking[:1]]
    for label in np.argsort(-over_time.max(0)).tolist():
        order += [label] if label not in order else []
    return {explanation.labels[label]: paint for label, paint in zip(order, LABEL_COLOURS)}


def _answer(explanation: Explanation) -> str:
    moving = skeleton_svg(
        thinned(explanation.skeletons, _FRAMES),
        explanation.layout,
        f"The recording as the model sees it, joints that count are marked: {_top_joints(explanation)}",
        seconds=explanation.seconds,
        weights=unit_weights(explanation.attribution.joints),
        css="large",
    )
    ranking = {str(one["label"]): one["score"] for one in explanation.ranking[:_SHOWN_LABELS]}
    colours = dict.fromkeys(ranking, OTHERS) | label_colours(explanation)
    moments = explanation.skeletons.shape[1]
    about = (
        f"The recording as the model sees it: upright, facing the viewer, in {moments} moments. Marked joints count."
    )
    return card(
        "What it was taken for",
        f'<div class="two"><div>{moving}</div><div>{bars(ranking, colours)}</div></div>',
        about=about,
    )


def _senses(explanation: Explanation) -> str:
    """Which of several senses spoke for the label."""
    if not explanation.senses:
        return ""
    heads = ["sense", "log-odds lost without it", "alone it is taken for", f"“{explanation.label}” alone"]
    rows = [
        [one.name, f"{one.weight:+.2f}", f"{one.label}, {percent(one.score)}", percent(one.share)]
        for one in explanation.senses
    ]
    return card(
        "Which sense",
        table(heads, rows),
        about=f"What the log-odds of “{explanation.label}” lose when a sense is left out, and what each says alone.",
    )


def unit_weights(weights: np.ndarray) -> np.ndarray:
    """What speaks for the label, 0..1."""
    return np.clip(weights, 0, None) / max(float(weights.max()), 1e-9)


def _when(explanation: Explanation) -> str:
    colours = label_colours(explanation)
    read = "recording" if explanation.answered_by == "student" else "sentence"
    said = (
        f"Top: the posterior after more and more of the {read}. Middle: half a recording at a time, taken for a whole "
        "one; the colour is its best label, the stronger the surer. Bottom: the redder, the more these frames count."
    )
    return card("When", _curves(explanation, colours), keys({**colours, "another label": OTHERS}), about=said)


def _curves(explanation: Explanation, colours: dict[str, str]) -> str:
    text = _when_in_words(explanation)
    left, right, top, bottom = 60, _WIDTH - 10, 12, 190
    parts = [f"<title>{escape(text)}</title>"]
    for share in (0, 0.5, 1):
        y = bottom - share * (bottom - top)
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y}" y2="{y}" stroke="#d9e0e7"/>')
        parts.append(
            f'<text x="{left - 8}" y="{y + 5}" text-anchor="end" font-size="19" fill="#5b6875">{share:.0%}</text>'
        )
    across = np.array([0.0, *explanation.prefixes.ends]) * (right - left) + left
    for label, paint in colours.items():
        column = explanation.labels.index(label)
        shares = np.array([row[column] for row in explanation.prefixes.shares])
        points = zip(across[1:], bottom - shares * (bottom - top), strict=True)
        line = " ".join(f"{x:.0f},{y:.1f}" for x, y in points)
        parts.append(
            f'<polyline fill="none" stroke="{paint}" stroke-width="4" stroke-linejoin="round" points="{line}"/>'
        )
    parts += _window_bars(explanation, colours, left, right, 206)
    frames = explanation.attribution.frames
    width = (right - left) / len(frames)
    for k, weight in enumerate(unit_weights(frames)):
        x = left + k * width
        parts.append(f'<rect x="{x:.1f}" y="246" width="{width + 0.5:.1f}" height="20" fill="{heat(weight)}"/>')
    for share in (0, 0.5, 1):
        anchor = "start" if share == 0 else "end" if share == 1 else "middle"
        at = f"{share * explanation.seconds:.1f} s" if explanation.seconds else f"{share:.0%}"
        x = left + share * (right - left)
        parts.append(f'<text x="{x}" y="288" text-anchor="{anchor}" font-size="19" fill="#5b6875">{at}</text>')
    time = max(0.4, explanation.seconds or 2.0)
    parts.append(
        f'<line y1="{top}" y2="266" x1="{left}" x2="{left}" stroke="#1f2933" stroke-width="2" opacity=".5">'
        f'<animateTransform attributeName="transform" type="translate" from="0 0" to="{right - left} 0" '
        f'dur="{time:.2f}s" repeatCount="indefinite"/></line>'
    )
    start = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(text)}" class="chart">'
    return f'<div class="wide">{start}{"".join(parts)}</svg></div>'


def _window_bars(explanation: Explanation, colours: dict[str, str], left: int, right: int, y: int) -> list[str]:
    """A bar a window, at the middle of its time."""
    windows, parts = explanation.windows, []
    step = (right - left) / len(windows.starts)
    for k, shares in enumerate(windows.shares):
        best = int(np.argmax(shares))
        label = explanation.labels[best]
        span = f"{windows.starts[k]:.0%} to {windows.ends[k]:.0%}: {label}, {percent(shares[best])}"
        parts.append(
            f'<rect x="{left + k * step + 1:.1f}" y="{y}" width="{step - 2:.1f}" height="26" rx="4" '
            f'fill="{colours.get(label, OTHERS)}" opacity="{0.25 + 0.75 * shares[best]:.2f}">'
            f"<title>{escape(span)}</title></rect>"
        )
    return parts


def _when_in_words(explanation: Explanation) -> str:
    column = explanation.labels.index(explanation.label)
    ahead = [
        end for end, row in zip(explanation.prefixes.ends, explanation.prefixes.shares) if np.argmax(row) == column
    ]
    since = _first_of_the_rest(explanation.prefixes, column)
    if since is not None:
        return f"{explanation.label} is ahead from {since:.0%} of the recording on"
    return f"{explanation.label} is ahead after {len(ahead)} of {len(explanation.prefixes.ends)} beginnings"


def _first_of_the_rest(prefixes: PosteriorOverTime, column: int) -> float | None:
    """From when on a label stays ahead; None if it is not ahead at the end."""
    since = None
    for end, row in zip(prefixes.ends, prefixes.shares, strict=True):
        if int(np.argmax(row)) != column:
            since = None
        elif since is None:
            since = end
    return since


def _where(explanation: Explanation) -> str:
    attribution, skeletons = explanation.attribution, explanation.skeletons
    count = skeletons.shape[1]
    shown = ((np.arange(_POSES) + 0.5) / _POSES * count).astype(int)
    frames, joints = unit_weights(attribution.frames), unit_weights(attribution.joints)
    cells = []
    for frame in shown.tolist():
        weight = frames[max(0, frame - 2) : frame + 3].max()
        text = f"Pose at {frame / count:.0%} of the recording, which counts {weight:.0%} of the most"
        still = skeleton_svg(skeletons[:, [frame]], explanation.layout, text, weights=joints * (0.25 + 0.75 * weight))
        border = f"border-bottom:6px solid {heat(weight)}"
        cells.append(f'<li class="cell" style="{border}">{still}{_time(explanation, frame / count)}</li>')
    said = (
        f"Measured with {_METHODS[attribution.method]}. What it costs the label's log-odds is its weight: the larger "
        "and redder a joint, the more."
    )
    top = _joint_weights(explanation)
    strip = f'<ul class="grid" style="--cell:110px">{"".join(cells)}</ul>'
    return card("Where", strip, "<h3>Joints that count most (log-odds)</h3>", bars(top, unit="number"), about=said)


def _joint_weights(explanation: Explanation) -> dict[str, float]:
    """The joints that count most, by name."""
    names = get_layout(explanation.layout).joints
    weights = explanation.attribution.joints
    several = len(weights) > 1
    order = np.argsort(-weights, axis=None)[:6]
    persons, joints = np.unravel_index(order, weights.shape)
    return {
        names[joint].replace("_", " ") + (f", person {person + 1}" if several else ""): float(weights[person, joint])
        for person, joint in zip(persons.tolist(), joints.tolist(), strict=True)
        if weights[person, joint] > 0
    }


def _top_joints(explanation: Explanation) -> str:
    return ", ".join(list(_joint_weights(explanation))[:3]) or "none speaks for the label"


def _time(explanation: Explanation, share: float) -> str:
    return f"{share * explanation.seconds:.1f} s" if explanation.seconds else f"{share:.0%}"


def _tokens(explanation: Explanation) -> str:
    runs = token_runs(explanation.tokens)
    most = max([abs(run[0].weight) for run in runs] + [1e-9])
    cells = []
    persons = len({token.person for token in explanation.tokens})
    for run in runs:
        first, last = run[0], run[-1]
        weight = max(0.0, max(token.weight for token in run) / most)
        name = " ".join(first.names)
        span = f"{_time(explanation, first.start)} to {_time(explanation, last.end)}"
        like = {moment.label: f"{moment.label}, at {moment.time:.0%}" for moment in first.moments}
        said = f"like {'; '.join(like.values())}" if like else ""
        who = f"person {first.person + 1}, " if persons > 1 else ""
        pose = skeleton_svg(
            first.pose[None, None], explanation.layout, f"Mean pose of {name}", extent=_extent(explanation)
        )
        cells.append(
            f'<li class="cell" style="border-bottom:6px solid {heat(weight)}">{pose}<b>{escape(name)}</b><br>'
            f'<span class="soft">{who}{span}<br>{escape(said)}</span></li>'
        )
    said = (
        "The action sentence, token by token, as the mean pose that each is decoded to. Tokens that repeat are shown "
        "once. Below: the training moments that are most alike, where the model carries some."
    )
    moving = skeleton_svg(
        thinned(explanation.decoded, _FRAMES),
        explanation.layout,
        "The whole sentence decoded",
        seconds=explanation.seconds,
        css="large",
    )
    different = len({tuple(token.names) for token in explanation.tokens})
    steps = f"{len(explanation.tokens)} steps, {different} of them different"
    given = "This is all that the language model is given of the recording"
    if explanation.answered_by == "student":
        given = "The student, which answered, reads the skeleton itself. The language model would be given this"
    whole = f"<h3>The sentence, decoded</h3><p>{given}: {steps}.</p>"
    return card(
        "What the tokens say",
        f'<div class="two"><div>{moving}</div><div>{whole}</div></div>',
        f'<ul class="grid" style="--cell:120px">{"".join(cells)}</ul>',
        about=said,
    )


def token_runs(tokens: Sequence[Token]) -> list[list[Token]]:
    """Joins steps of one person whose tokens are the same."""
    runs: list[list[Token]] = []
    for token in tokens:
        if runs and runs[-1][-1].names == token.names and runs[-1][-1].person == token.person:
            runs[-1].append(token)
        else:
            runs.append([token])
    return runs


def _extent(explanation: Explanation) -> float:
    return needed_extent(SkeletonSequence(explanation.decoded[:1] + 1e-6, explanation.layout))


def _like_what(explanation: Explanation) -> str:
    if not explanation.nearest:
        carried = any(token.moments for token in explanation.tokens)
        of_so_many = f" of {len(explanation.skeletons)} persons" if carried else ""
        return card("Like what", f"<p>This model carries no training recordings{of_so_many} to compare with.</p>")
    cells = []
    for one in explanation.nearest:
        text = f"A training recording of {one.label}, decoded from its tokens"
        moving = skeleton_svg(thinned(one.joints, _FRAMES), explanation.layout, text, seconds=explanation.seconds)
        cells.append(
            f'<li class="cell">{moving}<b>{escape(one.label)}</b><br><span class="soft">distance '
            f"{one.distance:.2f}</span></li>"
        )
    said = (
        "The training recordings that the model carries whose sentences are nearest to this one, drawn from their "
        "tokens. The distance is the mean over the steps, in the geometry of the codebook."
    )
    return card("Like what", f'<ul class="grid" style="--cell:200px">{"".join(cells)}</ul>', about=said)


def _attributes(explanation: Explanation) -> str:
    has_usual = any(one.usual for one in explanation.attributes)
    heads = ["question", "the joints show", f"“{explanation.label}” means"]
    heads += [*(["its training shows"] if has_usual else []), "fits"]
    rows = []
    for one in explanation.attributes:
        usual = [one.usual or ""] if has_usual else []
        rows.append([one.question, one.seen, " or ".join(one.expected) or "says nothing", *usual, _fit(one)])
    return card("Attributes seen, and those of the label", table(heads, rows))


def _fit(attribute: AttributeSeen) -> str:
    """Whether what the joints show fits what the label means, else what is usual for it."""
    if attribute.fits is not None:
        return "yes" if attribute.fits else "no"
    return "" if attribute.usual is None else "as usual" if attribute.seen == attribute.usual else "unusual"


def _notes(explanation: Explanation) -> str:
    notes = "".join(f"<li>{escape(note)}</li>" for note in explanation.notes)
    return f"<details><summary>What was inferred of the recording</summary><ul>{notes}</ul></details>" if notes else ""
