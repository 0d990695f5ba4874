"""The generic reader of tables, and layouts of one's own on the way in and out."""

import json

import numpy as np
import pytest
from motion import motion, y_down

from llm_action.modeling.skeleton_layouts import LAYOUTS, get_layout
from llm_action.skeleton_io import read_skeleton, write_npz

PLACES = motion("coco17")


def write(path, header, rows, delimiter=","):
    lines = [] if header is None else [delimiter.join(header)]
    lines += [delimiter.join(map(str, row)) for row in rows]
    path.write_text("\n".join(lines))
    return path


def test_a_wide_row_by_columns(tmp_path):
    rows = [[number / 25, "?", *map(float, frame[:, [2, 0, 1]].ravel())] for number, frame in enumerate(PLACES)]
    path = write(tmp_path / "clip.txt", None, rows, "\t")
    sequence = read_skeleton(path, layout="coco17", columns="time, _, 17*(z, x, y)")
    np.testing.assert_allclose(sequence.joints[0], PLACES, rtol=1e-6)
    assert sequence.fps == pytest.approx(25, abs=0.01)
    with pytest.raises(ValueError, match=r"52 columns.*53"):
        read_skeleton(path, layout="coco17", columns="time, 17*(z, x, y)")
    with pytest.raises(ValueError, match="depth"):
        read_skeleton(path, layout="coco17", columns="time, _, 17*(depth, x, y)")


def test_the_same_numbers_however_they_are_parted(tmp_path):
    places = np.round(PLACES, 4)
    header = [f"{joint}_{axis}" for joint in get_layout("coco17").joints for axis in "xyz"]
    rows = [[f"{number:.4f}" for number in frame.ravel()] for frame in places]
    plain = write(tmp_path / "plain.csv", header, rows).read_text()
    ways = {
        "tabs": plain.replace(",", "\t"),
        "semicolons": plain.replace(",", ";"),
        "decimal commas": plain.replace(",", ";").replace(".", ","),
        "Windows": plain.replace("\n", "\r\n") + "\r\n",
        "empty lines": "\n\n" + plain.replace("\n", "\n\n"),
        "after each a space": plain.replace(",", ", "),
        "in quotes": "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in plain.splitlines()),
        "at the end of each line a comma": plain.replace("\n", ",\n") + ",",
        "with signs": plain.replace(",0", ",+0"),
        "spaces": plain.replace(",", "  "),
    }
    for way, text in ways.items():
        (tmp_path / "clip.csv").write_text(text, newline="")
        found = read_skeleton(tmp_path / "clip.csv")
        assert found.layout == "coco17", way
        np.testing.assert_array_equal(found.joints[0], places.astype(np.float32), err_msg=way)
    bare = plain.partition("\n")[2]
    for way, text in {
        "commas": bare,
        "spaces": bare.replace(",", " "),
        "many spaces": bare.replace(",", "   "),
    }.items():
        (tmp_path / "clip.txt").write_text(text)
        found = read_skeleton(tmp_path / "clip.txt", layout="coco17")
        np.testing.assert_array_equal(found.joints[0], places.astype(np.float32), err_msg=way)
    rows[3][5] = ""
    found = read_skeleton(write(tmp_path / "clip.csv", header, rows)).joints[0]
    assert np.argwhere(np.isnan(found).any(axis=-1)).tolist() == [[3, 1]]
    (tmp_path / "clip.csv").write_text(plain + ",1.0")
    with pytest.raises(ValueError, match="52 in row 13"):
        read_skeleton(tmp_path / "clip.csv")


def test_a_long_table_by_columns(tmp_path):
    names = get_layout("coco17").joints
    rows = [
        [f"{number * 40}", who, names[joint], *map(float, places[number, joint] * 100)]
        for number in range(12)
        for who, places in (("ann", PLACES), ("bob", motion("coco17", shift=1.5)))
        for joint in np.random.default_rng(number).permutation(17)
    ]
    path = write(tmp_path / "clip.csv", ["when", "who", "what", "e", "n", "u"], rows)
    with pytest.raises(ValueError, match="columns="):
        read_skeleton(path)
    columns = {"time": "when", "person": "who", "joint": "what", "x": "e", "y": "n", "z": "u"}
    for said in (
        columns,
        "time=when, person=who, joint=what, x=e, y=n, z=u",
        "time=0, person=1, joint=2, x=3, y=4, z=5",
    ):
        sequence = read_skeleton(path, columns=said, unit="cm")
        assert (sequence.layout, sequence.fps) == ("coco17", 25)
        np.testing.assert_allclose(sequence.joints, [PLACES, motion("coco17", shift=1.5)], rtol=1e-5)
    with pytest.raises(ValueError, match="a column 'height'"):
        read_skeleton(path, columns={**columns, "z": "height"})


def test_up_unit_handedness_and_missing_are_said(tmp_path):
    z_up = np.stack([PLACES[..., 0], -PLACES[..., 2], PLACES[..., 1]], axis=-1) * 1000
    z_up[2, 3] = -1
    np.save(tmp_path / "clip.npy", z_up)
    sequence = read_skeleton(tmp_path / "clip.npy", layout="coco17", up="z", unit="mm", missing=-1)
    expected = PLACES.copy()
    expected[2, 3] = np.nan
    np.testing.assert_allclose(sequence.joints[0], expected, atol=1e-5)
    np.save(tmp_path / "clip.npy", y_down(PLACES))
    found = read_skeleton(tmp_path / "clip.npy", layout="coco17", up="-y").joints[0]
    np.testing.assert_allclose(found, PLACES, atol=1e-6)
    for option in ({"up": "down"}, {"unit": "miles"}, {"axes": "TVX"}, {"image_size": "big"}):
        with pytest.raises(ValueError, match=f"expected {next(iter(option))}"):
            read_skeleton(tmp_path / "clip.npy", layout="coco17", **option)


@pytest.mark.parametrize("up", ["x", "-x", "y", "-y", "z", "-z"])
def test_turning_never_mirrors(tmp_path, up):
    """The person's up, right and toes keep their handedness, and up becomes y."""
    axis = np.array([1.0 if up[-1] == name else 0.0 for name in "xyz"]) * (-1 if up[0] == "-" else 1)
    other = np.roll(np.abs(axis), 1)
    turn = np.stack([other, axis, np.cross(other, axis)], axis=1)  # columns: where x, y, z go; a rotation
    assert np.linalg.det(turn) == pytest.approx(1)
    np.save(tmp_path / "clip.npy", motion("ntu25") @ turn.T)
    joints = read_skeleton(tmp_path / "clip.npy", layout="ntu25", up=up).joints[0]
    joint = {name: joints[:, number] for number, name in enumerate(get_layout("ntu25").joints)}
    upwards = joint["head"] - joint["hip_center"]
    right = joint["right_hip"] - joint["left_hip"]
    toes = joint["right_foot"] - joint["right_ankle"]
    assert (upwards[:, 1] > 0.6).all()
    assert (np.sum(np.cross(upwards, right) * toes, axis=1) > 0).all()


def test_left_handed_axes_are_said(tmp_path):
    np.save(tmp_path / "clip.npy", PLACES * [1, 1, -1])
    found = read_skeleton(tmp_path / "clip.npy", layout="coco17", mirrored=True).joints[0]
    np.testing.assert_allclose(found, PLACES, atol=1e-6)


def test_rows_that_swap_persons_midway(tmp_path):
    array = np.stack([PLACES, motion("coco17", shift=1.5)])
    swapped = array.copy()
    swapped[:, 6:] = array[::-1, 6:]
    np.save(tmp_path / "clip.npy", swapped)
    sequence = read_skeleton(tmp_path / "clip.npy", layout="coco17")
    np.testing.assert_allclose(sequence.joints, array, rtol=1e-6)
    assert "changed row" in " ".join(sequence.notes)


@pytest.mark.parametrize("axes", ["CTVM", "TVCM", "MCTV", "TMVC"])
def test_the_order_of_axes_is_said(tmp_path, axes):
    array = np.stack([PLACES, motion("coco17", shift=1.5)])
    np.save(tmp_path / "clip.npy", array.transpose(["MTVC".index(letter) for letter in axes]))
    np.testing.assert_allclose(
        read_skeleton(tmp_path / "clip.npy", layout="coco17", axes=axes).joints, array, rtol=1e-6
    )


HAND = motion("coco17")[:, :8]
OWN = {"name": "eight_on_file", "joints": [f"led{number}" for number in range(8)], "left_right": [[1, 2], [3, 4]]}


@pytest.fixture
def own_layout(tmp_path):
    path = tmp_path / "my_layout.json"
    path.write_text(json.dumps(OWN))
    yield path
    LAYOUTS.pop("eight_on_file", None)


def test_a_layout_of_one_s_own_by_path_and_back(tmp_path, own_layout):
    np.save(tmp_path / "clip.npy", HAND)
    sequence = read_skeleton(tmp_path / "clip.npy", layout=own_layout)
    assert sequence.layout == "eight_on_file"
    write_npz(sequence, tmp_path / "clip.npz")
    del LAYOUTS["eight_on_file"]
    again = read_skeleton(tmp_path / "clip.npz")
    np.testing.assert_array_equal(again.joints, sequence.joints)
    assert get_layout("eight_on_file").left_right == ((1, 2), (3, 4))


def test_columns_named_by_a_layout_of_one_s_own(tmp_path, own_layout):
    header = ["frame", *(f"led{number}_{axis}" for number in range(8) for axis in "xyz")]
    rows = [[number, *map(float, frame.ravel())] for number, frame in enumerate(HAND)]
    sequence = read_skeleton(write(tmp_path / "clip.csv", header, rows), layout=str(own_layout))
    np.testing.assert_allclose(sequence.joints[0], HAND, rtol=1e-6)


def test_hands_are_read(tmp_path):
    hand = np.random.default_rng(0).normal(size=(6, 21, 3)).astype(np.float32)
    np.save(tmp_path / "hand.npy", hand)
    sequence = read_skeleton(tmp_path / "hand.npy")
    assert sequence.layout == "hand21"
    np.testing.assert_array_equal(sequence.joints[0], hand)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,c\n1,2,3\n", "columns named after joint and axis"),
        ("nose_x,nose_y,tail_x,tail_y,wing_x,wing_y\n1,2,3,4,5,6\n", "known joint names"),
        (",".join(f"x{i},y{i}" for i in range(18)) + "\n" + "1," * 35 + "oops\n", "a table of numbers.*oops"),
        ("x0,y0,x1,y1,x2,y2\n1,2,3,4,5,oops\n", "a table of numbers.*oops"),
        ("x0,y0,x1,y1,x2,y2\n1,2,3,4,5,6\n", "known layout"),
        ("x0,y0\n1,2,3\n", "2 columns in every row"),
        ("x0,y0,x1,y1,x2,y2\n", "rows of numbers|known layout"),
    ],
)
def test_tables_that_nobody_explains(tmp_path, text, message):
    (tmp_path / "clip.csv").write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        read_skeleton(tmp_path / "clip.csv")
    assert str(tmp_path / "clip.csv") in str(error.value)
