"""Streams: every window is its clip, the track by hand, what is skipped and batched, and the command."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from peft import LoraConfig
from transformers import AutoTokenizer

from llm_action.cli import main
from llm_action.datasets.synthetic.sequences import generate_sequence
from llm_action.modeling.configuration_llm_ar import ActionVQVAEConfig
from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor
from llm_action.modeling.label_tree import label_token_ids
from llm_action.modeling.modeling_action_vqvae import ActionVQVAE
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.pipeline_skeleton_action_recognition import SkeletonActionRecognitionPipeline
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.modeling.skeleton_stream import LabelTrack
from llm_action.skeleton_io import write_npz

LABELS = ["wave", "clap", "squat", "sit down", "sit up"]
LAYOUT = "ntu25"
WINDOW, HOP = 24, 8


@pytest.fixture(scope="module")
def recognizer(tiny_base) -> SkeletonActionRecognitionPipeline:
    """Untrained, with action embeddings so large that other tokens give clearly other scores."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    size = {
        "num_frames": 16,
        "downsample": 2,
        "trunk_widths": [8, 16],
        "codebook_size": 32,
        "code_dim": 8,
        "embedding_dim": 64,
    }
    vqvae = ActionVQVAE(ActionVQVAEConfig(**size, hidden_size=32, num_layers=1, num_heads=2))
    processor = LlmArProcessor(SkeletonFeatureExtractor(num_frames=16), tokenizer, vqvae)
    model = LlmArForActionRecognition.from_base(
        tiny_base,
        vqvae.token_embeddings().detach(),
        LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj", "up_proj"], init_lora_weights=False),
        dtype=torch.float32,
        vqvae_fingerprint=processor.vqvae_fingerprint,
        label_names=LABELS,
        label_token_ids=label_token_ids(LABELS, tokenizer),
        end_token_id=tokenizer.eos_token_id,
    )
    with torch.no_grad():
        model.action_embeddings.weight.mul_(50)
        model.causal_lm.get_output_embeddings().weight.mul_(4)
    return SkeletonActionRecognitionPipeline(model=model.eval(), processor=processor, top_k=None)


@pytest.fixture(scope="module")
def alone() -> np.ndarray:
    """(frames, 1, joints, 3): one person."""
    return generate_sequence("waving a hand", subject=1, camera=2, repetition=1).joints.swapaxes(0, 1)[:64]


@pytest.fixture(scope="module")
def pair() -> np.ndarray:
    """(frames, 2, joints, 3): two persons."""
    return generate_sequence("shaking hands", subject=2, camera=1, repetition=1).joints.swapaxes(0, 1)[:80]


def assert_same_ranking(given: list[dict], expected: list[dict]) -> None:
    given, expected = ({entry["label"]: entry["score"] for entry in ranking} for ranking in (given, expected))
    assert given.keys() == expected.keys()
    for label, score in expected.items():
        assert given[label] == pytest.approx(score, rel=1e-4)


def run(recognizer, frames, **options) -> list:
    return list(recognizer.stream(frames, WINDOW, HOP, layout=LAYOUT, **options))


class TestWindows:
    def test_each_is_its_clip_in_a_file(self, recognizer, pair, tmp_path):
        from llm_action import SkeletonSequence

        results = run(recognizer, pair, fps=20)
        ends = list(range(WINDOW, len(pair) + 1, HOP))
        assert [result.time for result in results] == pytest.approx([(end - 1) / 20 for end in ends])
        for result, end in zip(results, ends, strict=True):
            write_npz(SkeletonSequence(pair[end - WINDOW : end].swapaxes(0, 1), LAYOUT), tmp_path / "clip.npz")
            assert_same_ranking(result.ranking, recognizer(tmp_path / "clip.npz"))
            assert (result.label, result.score) == tuple(result.ranking[0].values())
            assert (result.stream, result.skipped) == (None, 0)
        assert max(abs(a.score - b.score) for a, b in pairwise(results)) > 1e-3  # so equality says something

    def test_persons_come_and_go(self, recognizer, pair):
        frames = [*pair[:20], *(frame[:1] for frame in pair[20:40]), None, [], *pair[42:56, 0], *pair[56:]]
        clip = pair.copy()
        clip[20:56, 1] = np.nan
        clip[40:42] = np.nan
        for result, end in zip(run(recognizer, frames), range(WINDOW, 81, HOP), strict=True):
            assert_same_ranking(result.ranking, recognizer(clip[end - WINDOW : end].swapaxes(0, 1), layout=LAYOUT))

    def test_nobody_in_a_window(self, recognizer, alone):
        frames = [*alone[:24], *[None] * 24, *np.full((8, 2, 25, 3), np.nan), *alone[24:48]]
        results = run(recognizer, frames)
        nobody = [not result.ranking for result in results]
        assert nobody == [False, False, False, True, True, False, False, False]
        empty = results[3]
        assert (empty.label, empty.score, empty.track_label, empty.track_score) == (None, 0, None, 0)
        assert results[5].track_score == pytest.approx(results[5].score)  # who comes next starts anew
        assert [result.label for result in run(recognizer, [None] * 30)] == [None]

    def test_flat_frames(self, recognizer, alone):
        flat = 100 * alone[:WINDOW, ..., :2] + 300
        (result,) = run(recognizer, flat)
        assert_same_ranking(result.ranking, recognizer(flat.swapaxes(0, 1), layout=LAYOUT))

    def test_hops_longer_than_the_window(self, recognizer, alone):
        results = list(recognizer.stream(alone, 10, 25, layout=LAYOUT, fps=1))
        assert [result.time for result in results] == [9, 34, 59]
        assert_same_ranking(results[1].ranking, recognizer(alone[25:35].swapaxes(0, 1), layout=LAYOUT))

    @pytest.mark.parametrize("live", (False, True))
    def test_a_stream_shorter_than_a_window_is_recognised_once(self, recognizer, alone, live):
        (result,) = run(recognizer, alone[: WINDOW - HOP], live=live, fps=1)
        assert result.time == WINDOW - HOP - 1
        assert_same_ranking(result.ranking, recognizer(alone[: WINDOW - HOP].swapaxes(0, 1), layout=LAYOUT))
        assert run(recognizer, [], live=live) == []

    def test_frames_are_asked_for_as_results_are(self, recognizer, alone):
        asked = []
        results = recognizer.stream((asked.append(1) or frame for frame in alone), WINDOW, HOP, layout=LAYOUT)
        assert asked == []
        next(results)
        assert len(asked) == WINDOW
        next(results)
        assert len(asked) == WINDOW + HOP

    def test_options(self, recognizer, alone):
        names = ["swim", "wave", "ride a bicycle"]
        (result,) = run(recognizer, alone[:WINDOW], candidate_labels=names, top_k=2)
        clip = alone[:WINDOW].swapaxes(0, 1)
        assert_same_ranking(result.ranking, recognizer(clip, layout=LAYOUT, candidate_labels=names, top_k=2))


def test_the_text_in_front_is_read_once(recognizer, alone):
    before, after = recognizer.processor.prompt_parts()
    read = []
    decoder = recognizer.model.causal_lm.get_decoder()
    hook = decoder.register_forward_pre_hook(
        lambda module, args, given: read.append(given["inputs_embeds"].shape[1]), with_kwargs=True
    )
    run(recognizer, alone[: WINDOW + 2 * HOP])
    hook.remove()
    nodes = int(recognizer.model.trained_labels.must_be_read().sum())
    steps = recognizer.processor.vqvae.config.num_steps
    assert read == [len(before), *[steps + len(after) + nodes] * 3]  # the labels are read along


class TestTrack:
    def test_smoothing_by_hand(self):
        track = LabelTrack(smoothing=0.75, hysteresis=1)
        first, second = [0.9, 0.1], [0.2, 0.8]
        assert track.update(torch.tensor(first).log()) == (0, pytest.approx(0.9))
        # geometric means: 0.9^0.75 0.2^0.25 = 0.6178, 0.1^0.75 0.8^0.25 = 0.1682
        assert track.update(torch.tensor(second).log()) == (0, pytest.approx(0.6178 / (0.6178 + 0.1682), abs=1e-4))
        # log-odds: ln 9 = 2.1972, then 0.75 * 2.1972 - 0.25 ln 4 = 1.3013, 0.6294, 0.1254, -0.2525: the label falls
        assert track.update(torch.tensor(second).log())[1] == pytest.approx(1 / (1 + math.exp(-0.6294)), abs=1e-4)
        assert [track.update(torch.tensor(second).log())[0] for _ in range(2)] == [0, 1]
        track.reset()
        assert track.update(torch.tensor(second).log()) == (1, pytest.approx(0.8))

    def test_no_smoothing_follows_every_window(self, recognizer, pair):
        results = run(recognizer, pair, smoothing=0, hysteresis=1)
        for result in results:
            assert (result.track_label, result.track_score) == (result.label, pytest.approx(result.score))

    def test_hysteresis_keeps_a_label_that_is_nearly_as_likely(self):
        track = LabelTrack(smoothing=0, hysteresis=2)
        posteriors = [[0.6, 0.4, 0], [0.4, 0.6, 0], [0.35, 0.65, 0], [0.3, 0.7, 0], [0.4, 0.6, 0], [0.6, 0.4, 0]]
        updates = [track.update((torch.tensor(posterior) + 1e-9).log()) for posterior in posteriors]
        assert [index for index, _ in updates] == [0, 0, 0, 1, 1, 1]
        assert [score for _, score in updates] == pytest.approx([0.6, 0.4, 0.35, 0.7, 0.6, 0.4])

    def test_the_past_fades_over_skipped_hops(self):
        start, then = torch.tensor([0.9, 0.1]).log(), torch.tensor([0.3, 0.7]).log()
        skipping, steady = LabelTrack(0.6, 1), LabelTrack(0.6, 1)
        skipping.update(start), steady.update(start)
        for _ in range(3):
            expected = steady.update(then)
        assert skipping.update(then, hops=3) == (expected[0], pytest.approx(expected[1]))

    def test_a_stream_s_track_is_that_of_its_rankings(self, recognizer, pair):
        track = LabelTrack(0.8, 1.5)
        for result in run(recognizer, pair, smoothing=0.8, hysteresis=1.5):
            scores = {entry["label"]: entry["score"] for entry in result.ranking}
            index, score = track.update(torch.tensor([scores[label] for label in LABELS], dtype=torch.float64).log())
            assert (result.track_label, result.track_score) == (LABELS[index], pytest.approx(score, rel=1e-6))


def test_labels_that_are_not_ranked_share_what_is_left(recognizer, pair):
    track = LabelTrack(0.5, 2)
    for result in run(recognizer, pair, top_k=2):
        scores = {entry["label"]: entry["score"] for entry in result.ranking}
        others = (1 - sum(scores.values())) / (len(LABELS) - 2)
        posterior = torch.tensor([scores.get(label, others) for label in LABELS], dtype=torch.float64)
        index, score = track.update(posterior.log())
        assert (result.track_label, result.track_score) == (LABELS[index], pytest.approx(score, rel=1e-4))


class Sensor:
    """Frames by a clock that stands still but while something is recognised, `pace` frames each time."""

    def __init__(self, frames: np.ndarray, pace: int):
        self.frames, self.pace, self.now, self.given = frames, pace, WINDOW, 0
        self.moved = threading.Condition()

    def __iter__(self) -> Iterator[np.ndarray]:
        for index, frame in enumerate(self.frames):
            with self.moved:
                self.given = index
                self.moved.notify_all()  # the frame before has been taken
                assert self.moved.wait_for(lambda: self.given < self.now, timeout=120)
            yield frame
        with self.moved:
            self.given = len(self.frames)
            self.moved.notify_all()

    def pass_time(self) -> None:
        with self.moved:
            self.now += self.pace
            self.moved.notify_all()
            assert self.moved.wait_for(lambda: self.given >= min(self.now, len(self.frames)), timeout=120)


class TestLive:
    @pytest.fixture
    def slow(self, monkeypatch):
        """Lets the sensor's clock run on while windows are scored."""

        def during_scoring(sensor: Sensor) -> Sensor:
            rank = LlmArForActionRecognition.rank

            def slowly(model, **prompts):
                sensor.pass_time()
                return rank(model, **prompts)

            monkeypatch.setattr(LlmArForActionRecognition, "rank", slowly)
            return sensor

        return during_scoring

    @pytest.mark.parametrize(
        ("pace", "ends", "skipped"),
        [
            (HOP, [24, 32, 40, 48, 56, 64, 72, 80], [0] * 8),  # as fast as the stream
            (20, [24, 40, 64, 80], [0, 8, 16, 8]),  # there are 44, 64 and 84 frames when the next window is chosen
            (1000, [24, 80], [0, 48]),
        ],
    )
    def test_windows_are_skipped_when_recognition_is_slower(self, recognizer, pair, slow, pace, ends, skipped):
        results = run(recognizer, slow(Sensor(pair, pace)), live=True, fps=1)
        assert [result.time for result in results] == [end - 1 for end in ends]
        assert [result.skipped for result in results] == skipped

    def test_what_is_not_skipped_is_as_ever(self, recognizer, pair, slow):
        expected = {result.time: result for result in run(recognizer, pair)}
        track = LabelTrack(0.5, 2)
        for result in run(recognizer, slow(Sensor(pair, 20)), live=True):
            assert_same_ranking(result.ranking, expected[result.time].ranking)
            scores = {entry["label"]: entry["score"] for entry in result.ranking}
            posterior = torch.tensor([scores[label] for label in LABELS], dtype=torch.float64)
            index, score = track.update(posterior.log(), 1 + result.skipped // HOP)
            assert (result.track_label, result.track_score) == (LABELS[index], pytest.approx(score, rel=1e-6))

    def test_a_slow_reader_of_a_stream_that_waits_misses_nothing(self, recognizer, pair):
        results = recognizer.stream(iter(pair), WINDOW, HOP, layout=LAYOUT)
        assert [result.skipped for result in results] == [0] * 8

    def test_a_source_s_error_is_told(self, recognizer, alone):
        def unplugged():
            yield from alone[:10]
            raise ConnectionError("the sensor is gone")

        with pytest.raises(ConnectionError, match="sensor is gone"):
            run(recognizer, unplugged(), live=True)

    def test_a_source_is_left_alone_when_nobody_wants_more(self, recognizer, alone):
        left, go_on = threading.Event(), threading.Event()

        def sensor():
            try:
                yield from alone[:WINDOW]
                go_on.wait(120)
                yield from alone[WINDOW:]
            finally:
                left.set()

        results = recognizer.stream(sensor(), WINDOW, HOP, layout=LAYOUT, live=True)
        next(results)
        results.close()
        go_on.set()
        assert left.wait(120)


class TestSeveral:
    @pytest.fixture
    def batches(self, monkeypatch) -> list[int]:
        """How many windows were scored at a time."""
        sizes, rank = [], LlmArForActionRecognition.rank

        def counted(model, **prompts):
            sizes.append(len(prompts["input_ids"]))
            return rank(model, **prompts)

        monkeypatch.setattr(LlmArForActionRecognition, "rank", counted)
        return sizes

    @pytest.mark.parametrize("live", (False, True))
    def test_each_is_what_it_is_alone(self, recognizer, alone, pair, live):
        streams = {"hall": pair, "door": alone, "yard": [None] * WINDOW}
        together = list(recognizer.stream(streams, WINDOW, 1000 if live else HOP, layout=LAYOUT, live=live))
        for name, frames in streams.items():
            expected = list(recognizer.stream(frames, WINDOW, 1000 if live else HOP, layout=LAYOUT))
            given = [result for result in together if result.stream == name]
            assert [result.time for result in given] == [result.time for result in expected]
            for a, b in zip(given, expected, strict=True):
                assert_same_ranking(a.ranking, b.ranking)
                assert (a.track_label, a.track_score) == (b.track_label, pytest.approx(b.track_score, rel=1e-4))

    def test_windows_of_the_same_time_are_one_batch(self, recognizer, alone, pair, batches):
        results = run(recognizer, {"hall": pair, "door": alone})
        assert batches == [2] * 6 + [1] * 2
        assert [result.time for result in results] == sorted(result.time for result in results)
        assert run(recognizer, {}) == []


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"window": 0}, "window of at least 1 frame, got 0"),
            ({"hop": 1.5}, "hop of at least 1 frame, got 1.5"),
            ({"layout": "octopus8"}, "octopus8.*kinect20"),
            ({"fps": -1}, "fps above 0, got -1"),
            ({"smoothing": 1}, "smoothing of at least 0 and below 1, got 1"),
            ({"hysteresis": 0.5}, "hysteresis of at least 1"),
            ({"top_k": 0}, "top_k of at least 1"),
            ({"frames": "wave.npz"}, "iterable of frames"),
            ({"frames": {"door": None}}, "iterable of frames"),
        ],
        ids=str,
    )
    def test_arguments_are_refused_at_once(self, recognizer, options, message):
        with pytest.raises(ValueError, match=message):
            recognizer.stream(**{"frames": [], "layout": LAYOUT, **options})

    @pytest.mark.parametrize("live", (False, True))
    @pytest.mark.parametrize(
        ("frame", "message"),
        [
            (np.zeros((17, 3)), "Frame 2 of the stream.*as before, got"),
            (np.zeros((25, 2)), "Frame 2 of the stream.*as before, got"),
            (np.zeros(3), "Frame 2 of the stream: expected joints"),
            ("wave", "Frame 2 of the stream"),
        ],
        ids=str,
    )
    def test_a_bad_frame_is_named(self, recognizer, alone, frame, message, live):
        with pytest.raises(ValueError, match=message):
            run(recognizer, [*alone[:2], frame], live=live)

    def test_frames_of_another_layout(self, recognizer):
        with pytest.raises(ValueError, match="Frame 0 of the stream: expected 25 joints .*ntu25"):
            run(recognizer, [np.zeros((17, 3))])


class TestCommand:
    @pytest.fixture(scope="class")
    def model(self, recognizer, tmp_path_factory) -> str:
        folder = tmp_path_factory.mktemp("model")
        recognizer.model.save_pretrained(folder)
        recognizer.processor.save_pretrained(folder)
        return str(folder)

    @pytest.fixture(scope="class")
    def file(self, alone, tmp_path_factory) -> str:
        from llm_action import SkeletonSequence

        file = tmp_path_factory.mktemp("recording") / "wave.npz"
        write_npz(SkeletonSequence(alone.swapaxes(0, 1), LAYOUT, fps=25), file)
        return str(file)

    def test_prints_the_track(self, model, file, capsys, tmp_path):
        options = ["--window", "24", "--hop", "20"]
        assert main(["stream", model, file, *options]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split(": ")[0] for line in lines] == ["0.92 s", "1.72 s", "2.52 s"]
        written = tmp_path / "windows.jsonl"
        options += ["--json", str(written), "--fps", "10", "--labels", "swim", "dive"]
        assert main(["stream", model, file, *options]) == 0
        results = [json.loads(line) for line in written.read_text().splitlines()]
        assert [result["time"] for result in results] == pytest.approx([2.3, 4.3, 6.3])
        assert {entry["label"] for result in results for entry in result["ranking"]} == {"swim", "dive"}

    def test_in_real_time_frames_come_when_they_are_due(self, model, file, capsys, monkeypatch):
        from llm_action.commands import use

        now = [100.0]
        clock = SimpleNamespace(monotonic=lambda: now[0], sleep=lambda seconds: now.append(now.pop() + seconds))
        monkeypatch.setattr(use, "time", clock)
        assert main(["stream", model, file, "--window", "64", "--hop", "64", "--real-time"]) == 0
        assert capsys.readouterr().out.startswith("2.52 s: ")
        assert now[0] == pytest.approx(100 + 63 / 25)

    def test_bad_input(self, model, file, capsys):
        assert main(["stream", model, file, "--window", "0"]) == 2
        assert "window of at least 1 frame" in capsys.readouterr().err
