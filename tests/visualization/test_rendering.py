"""Films and pictures of recordings: something to see of everybody, at the right place and for the right time."""

import numpy as np
import pytest
from PIL import Image

from llm_action.modeling.skeleton_sequence import SkeletonSequence
from llm_action.visualization.drawing import PERSON_COLOURS
from llm_action.visualization.rendering import FOOT, HEAD, PANEL, POSES, Rendered, overlaid, render

RANKING = [{"label": "waving a hand", "score": 0.9}, {"label": "clapping", "score": 0.1}]


def recording(persons=1, frames=24, channels=3, seed=0, fps=30.0):
    rng = np.random.default_rng(seed)
    place = rng.normal(size=(persons, 1, 25, channels)) + 3 * np.arange(persons)[:, None, None, None]
    return SkeletonSequence(place + rng.normal(size=(persons, frames, 25, channels)) * 0.1, "ntu25", fps, name="one")


def frames_of(path):
    with Image.open(path) as gif:
        for k in range(gif.n_frames):
            gif.seek(k)
            yield np.asarray(gif.convert("RGB")).astype(int), gif.info["duration"]


def has(pixels, colour):
    return (abs(pixels - np.array(colour)).sum(-1) < 40).sum()


def test_a_gif_has_a_frame_a_frame_at_the_recording_s_speed(tmp_path):
    pictures = list(frames_of(render([Rendered(recording(fps=25.0))], tmp_path / "a.gif")))
    assert len(pictures) == 24 and {duration for _, duration in pictures} == {40}
    assert pictures[0][0].shape == (HEAD + PANEL + 6, PANEL, 3)
    assert (pictures[0][0][HEAD : HEAD + PANEL] < 200).any(-1).sum() > 200


def test_persons_have_colours_of_their_own(tmp_path):
    (first, _), *_ = frames_of(render([Rendered(recording(persons=2))], tmp_path / "a.gif"))
    for palette in PERSON_COLOURS[:2]:
        assert has(first, palette[1]) > 20 and has(first, palette[2]) > 20


def test_labels_and_the_reconstruction_take_their_room(tmp_path):
    whole = render([Rendered(recording(), recording(frames=64, seed=1), RANKING)], tmp_path / "a.gif")
    pixels = next(frames_of(whole))[0]
    assert pixels.shape == (HEAD + PANEL + FOOT + 6, 2 * PANEL, 3)
    for left in (0, PANEL):
        assert (pixels[HEAD : HEAD + PANEL, left : left + PANEL] < 200).any(-1).sum() > 200
    assert (pixels[HEAD + PANEL :] < 120).any(-1).sum() > 200, "labels are written below"


def test_several_recordings_stand_side_by_side_until_the_longest_ends(tmp_path):
    path = render([Rendered(recording(frames=10)), Rendered(recording(frames=20, seed=2))], tmp_path / "a.gif")
    pictures = [pixels for pixels, _ in frames_of(path)]
    assert len(pictures) == 20 and pictures[0].shape[1] == 2 * PANEL
    panel = [pixels[HEAD : HEAD + PANEL, :PANEL] for pixels in pictures]
    assert not np.array_equal(panel[0], panel[5]) and np.array_equal(panel[12], panel[19])


def test_a_still_picture_is_a_strip_of_poses(tmp_path):
    path = render([Rendered(recording(), recording(frames=64), RANKING)], tmp_path / "a.png")
    with Image.open(path) as picture:
        assert picture.size == (POSES * PANEL // 2, HEAD + PANEL + FOOT)


def test_recordings_in_pixels_are_drawn_too(tmp_path):
    (first, _), *_ = frames_of(render([Rendered(recording(channels=2))], tmp_path / "a.gif"))
    assert (first[HEAD : HEAD + PANEL] < 200).any(-1).sum() > 200


def test_an_mp4_has_as_many_frames_as_the_recording(tmp_path):
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="the extra mp4 is not installed")
    path = render([Rendered(recording(persons=2), recording(frames=64), RANKING)], tmp_path / "a.mp4")
    count, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert count == 24 and seconds == pytest.approx(0.8, abs=0.1)
    assert not list(tmp_path.glob("*.tmp*"))


def test_without_the_writer_an_mp4_is_refused_with_a_way_out(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    with pytest.raises(ValueError, match=r"llm-action\[mp4\].*\.gif"):
        render([Rendered(recording())], tmp_path / "a.mp4")


def test_a_skeleton_lies_where_its_joints_are_in_the_video():
    joints = np.full((1, 3, 25, 2), np.nan)
    joints[0, :, 3] = (100, 50)
    joints[0, :, 20] = (100, 90)
    grey = [np.full((120, 200, 3), 128, np.uint8)] * 4
    pictures = [np.asarray(one).astype(int) for one in overlaid(grey, SkeletonSequence(joints, "ntu25", 30.0))]
    assert len(pictures) == 4 and pictures[0].shape == (120, 200, 3)
    assert (pictures[0][48:53, 98:103] != 128).any() and (pictures[0][:, :80] == 128).all()
    assert (pictures[3] == 128).all(), "nobody is drawn after the last frame"
    with pytest.raises(ValueError, match="unit='px'"):
        next(overlaid(grey, recording()))


def test_nothing_and_a_wrong_suffix_are_refused(tmp_path):
    with pytest.raises(ValueError, match="got none"):
        render([], tmp_path / "a.gif")
    with pytest.raises(ValueError, match=r"\.gif or \.mp4 or \.png"):
        render([Rendered(recording())], tmp_path / "a.avi")
