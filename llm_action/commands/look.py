"""Commands that show what a model does: why it answered, what its tokens mean."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llm_action.commands.options import (
    add_answer_options,
    add_command,
    add_model,
    add_reading_options,
    add_signal_option,
    local_folder,
    reading_options,
    signals_of,
)


def add_commands(commands) -> None:
    """Adds them to a parser's subcommands."""
    explain = add_command(commands, "explain", _explain, "say why recordings are called what they are called")
    add_model(explain)
    explain.add_argument("files", nargs="+", metavar="FILE", help="recordings, or folders of recordings")
    add_signal_option(explain)
    explain.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="HTML",
        help="page to write; a PNG of each recording and a JSON go beside it",
    )
    explain.add_argument("--labels", nargs="+", metavar="LABEL", help="choose among these names")
    add_answer_options(explain)
    explain.add_argument("--method", default=None, help="motion, tokens or gradients: how joints get their weights")
    add_reading_options(explain)

    vocabulary = add_command(commands, "vocabulary", _vocabulary, "show every action token as a small moving skeleton")
    add_model(vocabulary)
    vocabulary.add_argument("--out", type=Path, required=True, metavar="HTML", help="page to write")

    render = add_command(commands, "render", _render, "draw recordings as a film or a picture")
    render.add_argument("files", nargs="+", metavar="FILE", help="recordings, or folders of recordings")
    render.add_argument("--out", type=Path, required=True, metavar="X.gif|mp4|png", help="film or picture to write")
    render.add_argument("--model", help="model folder or Hub id: its labels, and what it makes of the tokens")
    add_answer_options(render)
    render.add_argument("--fps", type=float, help="frames a second (default: the file's, else 30)")
    add_reading_options(render)


def _render(arguments: argparse.Namespace) -> None:
    from llm_action import read_skeleton
    from llm_action.commands.answering import load_answering
    from llm_action.commands.recognizing import files_of
    from llm_action.modeling.prompt_states import KeptStates
    from llm_action.skeleton_io.video import VIDEO_SUFFIXES
    from llm_action.visualization.drawing import writable
    from llm_action.visualization.rendering import SUFFIXES, Rendered, render

    out = writable(arguments.out, SUFFIXES)
    files = files_of(arguments.files)
    answering = (arguments.dtype, arguments.fast)
    recognize = load_answering(arguments.model, *answering) if arguments.model else None
    states, options = KeptStates(), reading_options(arguments)
    recordings = []
    for file in files:
        sequence = read_skeleton(file, arguments.layout, arguments.fps, **options)
        if recognize is None:
            recordings.append(Rendered(sequence))
            continue
        (ranking,) = recognize([sequence], states=states, views=arguments.views)
        recordings.append(Rendered(sequence, recognize.processor.decode(recognize.processor.encode(sequence)), ranking))
    if len(files) == 1 and out.suffix != ".png" and Path(files[0]).suffix.lower() in VIDEO_SUFFIXES:
        _render_video(files[0], recordings[0].ranking, out, options)
    else:
        render(recordings, out, arguments.fps)
    print(f"written to {out}")


def _render_video(file: str, ranking: Sequence[dict[str, Any]], out: Path, options: dict[str, Any]) -> None:
    from llm_action import read_skeleton
    from llm_action.skeleton_io.video import pictures, video_facts
    from llm_action.visualization.rendering import overlaid, write_film

    in_pixels = read_skeleton(file, **{**options, "unit": "px", "mirrored": False})
    write_film(overlaid(pictures(file), in_pixels, ranking), out, video_facts(file)[0])


def _vocabulary(arguments: argparse.Namespace) -> None:
    from llm_action import LlmArProcessor
    from llm_action.evaluation.vocabulary import vocabulary
    from llm_action.hub.token_statistics import read_token_statistics
    from llm_action.visualization.drawing import writable
    from llm_action.visualization.vocabulary_page import write_vocabulary

    out = writable(arguments.out, (".html",))
    folder = local_folder(arguments.model)
    processor = LlmArProcessor.from_pretrained(folder)
    config = processor.vqvae.config
    statistics = read_token_statistics(folder, processor.first_action_id, config)
    if statistics is None:
        raise ValueError(
            f"{folder}: expected training/tokens.json or rehearsal.json, which say how tokens are used, found neither; "
            "train or export the model with this version of llm-action."
        )
    entries = vocabulary(processor, statistics)
    write_vocabulary(entries, config.layout, config.num_action_tokens, out, _model_name(arguments.model))
    print(f"{len(entries)} of {config.num_action_tokens} tokens are used, written to {out}")


def _explain(arguments: argparse.Namespace) -> None:
    from llm_action.commands.answering import load_answering
    from llm_action.commands.recognizing import files_of
    from llm_action.config.atomic_files import write_json
    from llm_action.modeling.prompt_states import KeptStates
    from llm_action.visualization.drawing import writable
    from llm_action.visualization.explanation_page import write_explanations
    from llm_action.visualization.explanation_picture import plot_explanation

    out = writable(arguments.out, (".html",))
    signals, files = signals_of(arguments), files_of(arguments.files)
    recognize = load_answering(arguments.model, arguments.dtype, arguments.fast)
    options: dict[str, Any] = {
        "states": KeptStates(),
        "views": arguments.views,
        "layout": arguments.layout,
        **reading_options(arguments),
    }
    if arguments.method:
        options["method"] = arguments.method
    if arguments.labels:
        options["candidate_labels"] = arguments.labels
    found, errors = [], []
    for file in files:
        try:
            found.append(recognize.explain({"skeleton": file, **signals} if signals else file, **options))
            print(f"{file}: {found[-1].label} {found[-1].ranking[0]['score']:.3f}", flush=True)
            for sense in found[-1].senses:
                alone = f"alone {sense.label} {sense.score:.3f}"
                print(f"  {sense.name}: {sense.weight:+.2f} log-odds of {found[-1].label}; {alone}", flush=True)
        except (ValueError, OSError) as error:
            errors.append(" ".join(str(error).split()))
            print(f"error: {errors[-1]}", file=sys.stderr)
    if found:
        write_explanations(found, out, _model_name(arguments.model))
        write_json([one.to_dict() for one in found], out.with_suffix(".json"))
        for number, one in enumerate(found):
            beside = out.with_suffix(".png") if len(found) == 1 else out.with_name(f"{out.stem}_{number + 1}.png")
            plot_explanation(one, beside)
        print(f"written to {out}; a picture of each recording and a JSON are beside it")
    if errors:
        raise ValueError(errors[0] if len(files) == 1 else f"{len(errors)} of {len(files)} files were not explained")


def _model_name(model: str) -> str:
    """What pages call a model: its Hub id, or its folder, of a run the run's."""
    folder = Path(model)
    if not folder.is_dir():
        return model
    folder = folder.resolve()
    return folder.parent.name if folder.name == "model" else folder.name
