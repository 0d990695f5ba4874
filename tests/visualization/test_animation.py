"""GIFs of skeletons: as many frames and panels as asked for, and something to see in each."""

import numpy as np
import pytest
from PIL import Image

from llm_action.modeling.skeleton_sequence import SkeletonSequence
from llm_action.visualization import animate_skeletons


def walker(frames=20, persons=1, seed=0, layout="ntu25", joints=25, channels=3):
    """A cloud of joints that drifts, with some of them missing."""
    rng = np.random.default_rng(seed)
    places = rng.normal(size=(persons, 1, joints, channels)) * 0.4 + np.linspace(0, 1, frames)[None, :, None, None]
    places[:, frames // 2, 3] = np.nan
    return SkeletonSequence(places, layout, 30.0)


def frames_of(path):
    with Image.open(path) as gif:
        for k in range(gif.n_frames):
            gif.seek(k)
            yield np.asarray(gif.convert("L"))


def test_grid_has_the_documented_size_and_every_panel_is_drawn(tmp_path):
    rows = [[walker(seed=1), walker(seed=2)], [walker(persons=2), walker(seed=3)]]
    path = animate_skeletons(rows, tmp_path / "deep" / "a.gif")
    pictures = list(frames_of(path))
    assert len(pictures) == 20
    for picture in pictures:
        assert picture.shape == (484, 480)
        for i in (0, 240):
            for j in (0, 240):
                assert (picture[i : i + 240, j : j + 240] < 200).sum() > 100
    assert not list(tmp_path.rglob("*.tmp"))


def test_titles_take_room_and_are_written(tmp_path):
    plain = animate_skeletons([[walker()]], tmp_path / "plain.gif")
    titled = animate_skeletons([[walker()]], tmp_path / "titled.gif", titles=[["original, a very long name " * 4]])
    assert next(frames_of(plain)).shape == (244, 240)
    picture = next(frames_of(titled))
    assert picture.shape == (264, 240)
    assert (picture[:20] < 128).sum() > 30


def test_long_sequences_are_thinned_and_play_no_slower(tmp_path):
    path = animate_skeletons([[walker(frames=300)]], tmp_path / "a.gif", max_frames=50)
    with Image.open(path) as gif:
        assert gif.n_frames == 50
        # 300 frames at 30 a second
        assert gif.n_frames * gif.info["duration"] == pytest.approx(10_000, rel=0.1)


def test_still_sequences_keep_all_their_frames(tmp_path):
    still = SkeletonSequence(np.repeat(walker(1).joints, 12, axis=1), "ntu25", 30.0)
    with Image.open(animate_skeletons([[still]], tmp_path / "a.gif")) as gif:
        assert gif.n_frames == 12


def test_shorter_sequence_stands_still_at_its_end(tmp_path):
    path = animate_skeletons([[walker(20), walker(5)]], tmp_path / "a.gif")
    pictures = [picture[:240, 240:] for picture in frames_of(path)]
    assert len(pictures) == 20
    assert (pictures[5] == pictures[19]).all()
    assert (pictures[0] != pictures[4]).any()


def test_persons_and_sides_have_their_own_colours(tmp_path):
    path = animate_skeletons([[walker(persons=2)]], tmp_path / "a.gif")
    with Image.open(path) as gif:
        pixels = np.asarray(gif.convert("RGB")).reshape(-1, 3).astype(int)
    for colour in ((31, 119, 180), (214, 69, 43), (44, 160, 140), (200, 140, 30)):
        assert (np.abs(pixels - colour).sum(axis=1) < 40).sum() > 20


def test_pixels_and_metres_and_ragged_rows_go_together(tmp_path):
    flat = walker(layout="coco17", joints=17, channels=2)
    path = animate_skeletons([[walker(), flat], [flat]], tmp_path / "a.gif")
    picture = next(frames_of(path))
    assert (picture[:240, 240:] < 200).sum() > 100
    assert (picture[240:480, 240:] < 200).sum() == 0  # nothing there


def test_image_coordinates_are_not_drawn_upside_down(tmp_path):
    places = np.full((1, 1, 17, 2), np.nan)
    places[0, 0, :5] = [[100, 10], [101, 10], [99, 10], [102, 10], [98, 10]]  # the face, at the top of the video
    places[0, 0, 15:] = [[60, 200], [140, 200]]
    picture = next(frames_of(animate_skeletons([[SkeletonSequence(places, "coco17")]], tmp_path / "a.gif")))
    dark_columns_top = np.flatnonzero((picture[:120] < 200).any(axis=0))
    dark_columns_bottom = np.flatnonzero((picture[120:238] < 200).any(axis=0))
    assert np.ptp(dark_columns_bottom) > np.ptp(dark_columns_top) > 0


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([], {}, "at least one"),
        ([[]], {}, "at least one"),
        ([[np.zeros((1, 2, 25, 3))]], {}, "SkeletonSequence"),
        ([[walker()]], {"titles": [["a", "b"]]}, "title"),
        ([[walker()]], {"fps": 0}, "fps"),
        ([[walker()]], {"fps": -5.0}, "fps"),
        ([[walker()]], {"max_frames": 0}, "max_frames"),
    ],
)
def test_bad_input_is_named(tmp_path, rows, options, message):
    with pytest.raises(ValueError, match=message):
        animate_skeletons(rows, tmp_path / "a.gif", **options)
    assert not (tmp_path / "a.gif").exists()


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\.mp4.*\.gif"):
        animate_skeletons([[walker()]], tmp_path / "a.mp4")
