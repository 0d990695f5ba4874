"""The pipeline against the forward passes it contains, its batches, and streams against real time."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from llm_action.config.progress import ProgressBar
from llm_action.experiments.bench.inputs import BenchInputs, made_up_sequences
from llm_action.experiments.bench.precision import PRECISIONS
from llm_action.experiments.bench.timing import Figure, Section, ratio, take_turns, timed
from llm_action.modeling.label_scoring import SCORE_TOLERANCE
from llm_action.modeling.label_tree import LabelTree
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.pipeline_skeleton_action_recognition import SkeletonActionRecognitionPipeline
from llm_action.modeling.skeleton_sequence import SkeletonSequence
from llm_action.modeling.skeleton_stream import StreamResult

WINDOW, HOP, FPS = 64, 8, 30.0
TOP_K = 5
STREAM_PRECISIONS = ("bfloat16, merged", "int8")  # the last is for streams that have to keep up on one core
ROUNDING = 1e-3  # of a posterior


def pipeline_section(inputs: BenchInputs, repeats: int) -> Section:
    """File to label against the forward passes contained: the VQ-VAE on features, the scoring on prompts."""
    recognize, options = _pipeline(inputs)
    sequences, batch = made_up_sequences(inputs.sizes.batch), inputs.sizes.batch
    processor, model = inputs.processor, inputs.model
    features = processor.feature_extractor(sequences, return_tensors="pt")
    persons = features["skeletons"][features["person_mask"]].to(processor.vqvae.device)
    prompts = dict(processor(sequences, return_tensors="pt").to(model.device))
    tree = LabelTree.from_labels(inputs.classes(), processor.tokenizer)

    def forwards(_: int) -> None:
        processor.vqvae.encode(persons)
        model.rank(**prompts, tree=tree, k=TOP_K, tolerance=SCORE_TOLERANCE)

    with tempfile.TemporaryDirectory() as folder:
        files = [str(write_ntu(sequence, Path(folder))) for sequence in sequences]
        ways: dict[str, Callable[[int], Any]] = {
            "pipeline": lambda _: recognize(files, batch_size=batch, **options),
            "its forwards": forwards,
        }
        for run in ways.values():
            run(0)
        seconds = take_turns("pipeline", ways, 2 * repeats)
    count = len(inputs.classes())
    name = f"pipeline, {batch} files at once / its forwards"
    note = f"Files are NTU RGB+D texts of {_frames(sequences)} frames on average; top-{TOP_K} of {count} labels."
    return Section([ratio(seconds, "pipeline", "its forwards", "<= 1.15", name=name)], [note])


def batches_section(inputs: BenchInputs, repeats: int) -> Section:
    """Sequences a second, recordings in memory, at several batch sizes."""
    recognize, options = _pipeline(inputs)
    sizes = inputs.sizes.batches
    sequences = made_up_sequences(max(sizes))
    counts = {size: max(size, sizes[len(sizes) // 2]) for size in sizes}

    def run(size: int, _: int) -> None:
        recognize(sequences[: counts[size]], batch_size=size, **options)

    ways = {f"batch {size}": partial(run, size) for size in sizes}
    run(sizes[0], 0)
    seconds = take_turns("batches", ways, repeats)
    figures = []
    for size in sizes:
        per_second = tuple(counts[size] / value for value in seconds[f"batch {size}"])
        figures.append(Figure(f"sequences a second, batch {size}", per_second, "/s"))
    for size in sizes[1:]:
        pair, scale = (f"batch {sizes[0]}", f"batch {size}"), counts[size] / counts[sizes[0]]
        name = f"sequences a second, batch {size} / batch {sizes[0]}"
        figures.append(ratio(seconds, *pair, scale=scale, name=name))
    return Section(figures)


def streaming_section(inputs: BenchInputs, repeats: int) -> Section:
    """A stream of one person on one thread in each precision: time a hop takes over the hop's length.

    In float32 the pipeline recognises every window, too.
    """
    sequences = made_up_sequences(inputs.sizes.sequences)
    frames, layout = np.concatenate([sequence.joints[0] for sequence in sequences]), sequences[0].layout
    num_windows = min(inputs.sizes.windows * repeats // 3 + 2, (len(frames) - WINDOW) // HOP + 1)
    windows = [frames[number * HOP : number * HOP + WINDOW] for number in range(1, num_windows)]
    recognize, options = _pipeline(inputs)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds: dict[str, list[float]] = {"stream": [], "pipeline": []}
        different, results = 0, _stream(recognize, options, frames, layout)
        for number, window in enumerate(ProgressBar(windows, desc="stream", leave=False, disable=None)):
            clip = SkeletonSequence(window[None], layout, FPS)
            ways = {"stream": partial(next, results), "pipeline": partial(recognize, clip, **options)}
            found: dict[str, Any] = {}
            for name in sorted(ways, reverse=bool(number % 2)):
                taken, found[name] = timed(ways[name])
                seconds[name].append(taken)
            different += _differ(found["stream"].ranking, found["pipeline"])
        hops = {"float32": seconds["stream"]}
        for precision in STREAM_PRECISIONS:
            model = LlmArForActionRecognition.from_pretrained(inputs.folder, **PRECISIONS[precision])
            recognize = SkeletonActionRecognitionPipeline(model=model, processor=inputs.processor)
            results = _stream(recognize, options, frames, layout)
            hops[precision] = [timed(partial(next, results))[0] for _ in windows]
    finally:
        torch.set_num_threads(threads)
    figures = []
    for precision, of_hops in hops.items():
        name = f"stream in {precision}, hop {HOP} at {FPS:.0f} fps, one thread / real time"
        target = "<= 1" if precision == STREAM_PRECISIONS[-1] else None
        figures.append(Figure(name, tuple(value * FPS / HOP for value in of_hops), target=target))
    return Section(
        [
            *figures,
            ratio(seconds, "pipeline", "stream", name="pipeline on every window / stream"),
            Figure("windows whose ranking differs from the pipeline's", (float(different),), "", "<= 0"),
        ]
    )


def _stream(
    recognize: SkeletonActionRecognitionPipeline, options: dict[str, Any], frames: np.ndarray, layout: str
) -> Iterator[StreamResult]:
    """The results of a stream from its second window on: with the first it reads the text before the sentence."""
    results = recognize.stream(iter(frames), window=WINDOW, hop=HOP, layout=layout, fps=FPS, **options)
    next(results)
    return results


def write_ntu(sequence: SkeletonSequence, folder: Path) -> Path:
    """Writes an NTU RGB+D `.skeleton` text of 25 joints; joints that were not seen are zero, as the SDK has them."""
    joints = np.nan_to_num(sequence.joints)
    lines = [str(joints.shape[1])]
    for frame in range(joints.shape[1]):
        lines.append(str(len(joints)))
        for person, body in enumerate(joints[:, frame]):
            lines += [f"7205759403793{person:04d} 0 1 1 1 1 0 0.02 -0.1 2", str(len(body))]
            lines += [f"{x:.6f} {y:.6f} {z:.6f} 256.1 208.2 960.3 540.4 0.1 0.9 -0.1 0.2 2" for x, y, z in body]
    path = folder / f"{sequence.name}.skeleton"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _pipeline(inputs: BenchInputs) -> tuple[SkeletonActionRecognitionPipeline, dict[str, Any]]:
    """The pipeline and its options."""
    recognize = SkeletonActionRecognitionPipeline(model=inputs.model, processor=inputs.processor, merge=False)
    return recognize, {"top_k": TOP_K, "candidate_labels": inputs.classes()}


def _differ(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> bool:
    """Whether two rankings differ by more than rounding."""
    return len(a) != len(b) or any(abs(x["score"] - y["score"]) > ROUNDING for x, y in zip(a, b, strict=True))


def _frames(sequences: list[SkeletonSequence]) -> int:
    return round(float(np.mean([sequence.num_frames for sequence in sequences])))
