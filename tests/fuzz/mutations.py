"""Hostile versions of a file: cut, flipped, with other numbers, other structure, another encoding.

A mutation takes bytes and a random generator and gives bytes. `mutate` applies one to three that fit the content.
"""

from __future__ import annotations

import io
import json
import pickle
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

Mutation = Callable[[bytes, random.Random], bytes]
LARGEST = 1 << 22  # bytes that a mutated file may have

_NUMBERS = [
    "-1", "0", "1", "2", "99999999999", "-99999999999", "1e308", "-1e308", "1e400", "nan", "NaN", "inf", "-inf",
    "Infinity", "1,5", "1.234.567", "", "\u0663", "\u00bd", "\u00b2", "0x10", "1_000", "9" * 5000, "1e-320", "-0",
    "true", "None", "1 000", "+5", "4294967296", "18446744073709551616", "2147483647", "\x00",
]  # fmt: skip
_WORDS = ["", "..", "../../../../canary", "/etc/passwd", "C:\\x", "\u202e", "\ud83d\ude00", "a" * 100_000,
          "\x00", "%s", "{}", "NaN", "NULL", "__class__", "\ufeff", "\u00e9\u0301", "joints", "0", "-1",
          "hf_internal", "\r\n"]  # fmt: skip


def mutate(content: bytes, rng: random.Random) -> bytes:
    """A hostile version; the same for the same state of the generator."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        content = rng.choice(_fitting(content))(content, rng)[:LARGEST]
    return content


def _fitting(content: bytes) -> list[Mutation]:
    fitting = list(_BYTES)
    head = content[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    if b"\x00" not in content[:4096]:
        fitting += _TEXT * 2
    if head[:1] in (b"{", b"["):
        fitting += [structure] * 12
    if content.startswith(b"\x93NUMPY"):
        fitting += [array_header, array_values, array_kind] * 4
    if content.startswith(b"PK"):
        fitting += [archive_member] * 10
    if content[:1] == b"\x80":
        fitting += [pickled] * 8
    if content[8:9] == b"{" and len(content) > 8:
        fitting += [safetensors_header] * 8
    return fitting


# Bytes


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def flip(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 4, 32))):
        if changed:
            place = rng.randrange(len(changed)) if rng.random() < 0.5 else rng.randrange(min(256, len(changed)))
            changed[place] ^= 1 << rng.randrange(8)
    return bytes(changed)


def zeros(content: bytes, rng: random.Random) -> bytes:
    start, length = rng.randrange(len(content) + 1), rng.choice((1, 8, 512))
    return content[:start] + b"\x00" * length + content[start + rng.choice((0, length)) :]


def noise(content: bytes, rng: random.Random) -> bytes:
    start, length = rng.randrange(len(content) + 1), rng.choice((1, 4, 64))
    return content[:start] + rng.randbytes(length) + content[start + length :]


def leave_out(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content) + 1)
    return content[:start] + content[start + rng.choice((1, 3, 100, 5000)) :]


def repeat(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content) + 1)
    piece = content[start : start + rng.choice((4, 100, 5000))]
    return content[:start] + piece * rng.choice((2, 10)) + content[start:]


def integers(content: bytes, rng: random.Random) -> bytes:
    """A count somewhere becomes a huge or a negative one."""
    place = rng.randrange(min(len(content), 2000) + 1)
    count = struct.pack(rng.choice(("<i", "<q", ">i")), rng.choice((-1, -(2**31), 2**31 - 1, 0)))
    return content[:place] + count + content[place + len(count) :]


def nothing(content: bytes, rng: random.Random) -> bytes:
    return rng.choice((b"", b"\n", b"\x00", b" ", b"\xef\xbb\xbf", b"PK\x03\x04", b"\x80", b"{", b"["))


_BYTES: list[Mutation] = [cut, flip, flip, zeros, noise, leave_out, repeat, integers, nothing]


# Text


def _lines(content: bytes) -> list[bytes]:
    return content.splitlines(keepends=True)


def number(content: bytes, rng: random.Random) -> bytes:
    """A number becomes one that nobody expects, more often near the beginning, where the counts are."""
    start = rng.randrange(len(content) + 1) if rng.random() < 0.5 else 0
    found = list(re.finditer(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", content[start : start + 3000]))
    if not found:
        return content
    chosen = rng.choice(found)
    new = rng.choice(_NUMBERS).encode()
    return content[: start + chosen.start()] + new + content[start + chosen.end() :]


def all_numbers(content: bytes, rng: random.Random) -> bytes:
    new = rng.choice(("0", "nan", "1e308", "-1", "1e39", "1e-40", "7", "-inf")).encode()
    return re.sub(rb"-?\d+\.\d+(?:[eE][+-]?\d+)?", new, content)


def word(content: bytes, rng: random.Random) -> bytes:
    found = list(re.finditer(rb"[A-Za-z_]+", content[:20_000]))
    if not found:
        return content
    chosen = rng.choice(found)
    new = rng.choice(_WORDS).encode("utf-8", "surrogatepass")
    return content[: chosen.start()] + new + content[chosen.end() :]


def line_gone(content: bytes, rng: random.Random) -> bytes:
    lines = _lines(content)
    if lines:
        del lines[rng.randrange(len(lines))]
    return b"".join(lines)


def line_again(content: bytes, rng: random.Random) -> bytes:
    lines = _lines(content)
    if lines:
        lines.insert(rng.randrange(len(lines)), rng.choice(lines)[:2000] * rng.choice((1, 2, 1000)))
    return b"".join(lines)


def line_moved(content: bytes, rng: random.Random) -> bytes:
    lines = _lines(content)
    if lines:
        lines.insert(rng.randrange(len(lines)), lines.pop(rng.randrange(len(lines))))
    return b"".join(lines)


def carriage_returns(content: bytes, rng: random.Random) -> bytes:
    return content.replace(b"\n", rng.choice((b"\r\n", b"\r", b"\n\n", b"\x0b", b"\xe2\x80\xa8")))


def commas(content: bytes, rng: random.Random) -> bytes:
    """Decimal commas, as some locales write numbers."""
    return content.replace(b",", b";").replace(b".", b",") if rng.random() < 0.5 else content.replace(b".", b",")


def separators(content: bytes, rng: random.Random) -> bytes:
    old, new = rng.sample((b" ", b"\t", b",", b";", b"|", b"  ", b"\xc2\xa0"), 2)
    return content.replace(old, new)


def encoded(content: bytes, rng: random.Random) -> bytes:
    text = content.decode("utf-8", "replace")
    return text.encode(rng.choice(("utf-8-sig", "utf-16", "utf-32", "utf-7", "cp037")), "replace")


def strange_letters(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content) + 1)
    return content[:place] + rng.choice(_WORDS).encode("utf-8", "surrogatepass") + content[place:]


def long_line(content: bytes, rng: random.Random) -> bytes:
    lines = _lines(content)
    piece = rng.choice((b"1 ", b",", b"[", b"{", b'"', b"x", b"0,")) * rng.choice((1000, 500_000))
    lines.insert(rng.randrange(len(lines) + 1), piece + rng.choice((b"\n", b"")))
    return b"".join(lines)


_TEXT: list[Mutation] = [number, number, number, all_numbers, word, line_gone, line_again, line_moved, carriage_returns,
                         commas, separators, encoded, strange_letters, long_line]  # fmt: skip


# JSON


def structure(content: bytes, rng: random.Random) -> bytes:
    """One node of a JSON becomes another thing, goes, comes twice or is wrapped."""
    try:
        root = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return content
    holder: list[Any] = [root]
    parent, key = _node(holder, rng)
    choice = rng.randrange(7)
    if choice == 0 and parent is not holder:
        del parent[key]
    elif choice == 1 and isinstance(parent, list) and parent is not holder:
        parent[key:key] = [parent[key]] * (rng.choice((1, 5, 300)) if len(content) < 20_000 else 1)
    elif choice == 2 and isinstance(parent, dict):
        parent[rng.choice(_WORDS[:9])] = parent.pop(key)
    elif choice == 3:
        parent[key] = rng.choice(([parent[key]], {"x": parent[key]}, [[parent[key]], []], str(parent[key])[:1000]))
    elif choice == 4:
        return b'{"a":' * rng.choice((0, 3)) + b"[" * rng.choice((100, 1100, 200_000)) + content
    else:
        parent[key] = rng.choice(_NODES)
    try:
        text = json.dumps(holder[0])
    except (ValueError, RecursionError):
        return content
    return (
        text.encode("utf-8", "surrogatepass")
        .replace(b'"HUGE"', b"9" * 5000)
        .replace(b'"DEEP"', b"[" * 990 + b"]" * 990)
    )


_NODES: list[Any] = [None, [], {}, "", "x", "\ud800", "../../canary", -1, 0, 1, 2**31, 2**63, 2**70, 1e308, -1e308,
                     float("nan"), float("inf"), True, "HUGE", "DEEP", [[]], [None] * 3, [0] * 17, ["a"] * 51,
                     [[1, 2], [3]], {"0": 1},
                     [{}], [1e308] * 75, "nan", "1e5", [float("nan")] * 51, "\u0000", list(range(-3, 30)),
                     "a" * 100_000]  # fmt: skip


def _node(holder: list[Any], rng: random.Random) -> tuple[Any, Any]:
    """Walks down from the root, and stops anywhere."""
    parent: Any = holder
    key: Any = 0
    while isinstance(parent[key], (list, dict)) and parent[key] and rng.random() < 0.85:
        parent = parent[key]
        key = rng.choice(list(parent)) if isinstance(parent, dict) else rng.randrange(len(parent))
    return parent, key


# numpy


def npy(header: str, data: bytes, version: int = 1) -> bytes:
    """A `.npy` with any header."""
    text = header.encode("latin1", "replace") + b"\n"
    size = struct.pack("<H", min(len(text), 65535)) if version == 1 else struct.pack("<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + data


_SHAPES = ["(2, -1)", "(-5, 3)", "(99999999999, 25, 3)", "(1, 100000000, 25, 3)", "(0, 25, 3)", "()", "(5,)",
           "(" + "1, " * 60 + ")", "(9223372036854775807, 2)", "(True, 25, 3)", "(1.5, 25, 3)", "'x'", "(12, 17, 2)",
           "(65536, 65536, 65536, 65536)", "(((((())))))"]  # fmt: skip
_KINDS = ["<f4", "<f8", "|O", "<c16", "|b1", "|V8", "<M8[s]", "|S9", "<U5", "<f2", "<i8", "|u1", ">f8", "<m8", "bogus",
          "[('a', '<f4')]", "<U99999999", "|S0", "|V0"]  # fmt: skip
_HEADERS = ["{" * 5000, "__import__('os').system('true')", "{'descr': 1}", "[]", "{" + "'a': 1, " * 2000 + "}"]


def array_header(content: bytes, rng: random.Random) -> bytes:
    """The data with a header that says something else."""
    shape, kind = rng.choice(_SHAPES), rng.choice(_KINDS)
    kind = kind if kind.startswith("[") else repr(kind)
    header = f"{{'descr': {kind}, 'fortran_order': {rng.choice((False, True, None, 3))}, 'shape': {shape}}}"
    if rng.random() < 0.1:
        header = rng.choice(_HEADERS)
    return npy(header, content[128:], rng.choice((1, 1, 2, 3, 9)))


def _array(content: bytes) -> np.ndarray | None:
    """The array of a `.npy` that is sound; None of one that was mutated before."""
    file = io.BytesIO(content)
    try:
        if np.lib.format.read_magic(file) != (1, 0):
            return None
        shape, fortran, kind = np.lib.format.read_array_header_1_0(file)
        data = file.read()
        if kind.hasobject or not kind.itemsize or len(data) != kind.itemsize * int(np.prod(shape, dtype=object)):
            return None
        return np.frombuffer(data, kind).reshape(shape, order="F" if fortran else "C").copy()
    except Exception:
        return None


def array_values(content: bytes, rng: random.Random) -> bytes:
    """The array with some or all of its numbers out of any range."""
    array = _array(content)
    if array is None or array.dtype.kind != "f" or not array.size or not array.ndim:
        return content
    value = rng.choice((np.nan, np.inf, -np.inf, 1e38, -1e30, 1e-40, 0.0, 1.0, 1e6))
    flat = array.reshape(-1)
    choice = rng.randrange(5)
    if choice == 0:
        flat[:] = value
    elif choice == 1:
        flat[rng.randrange(flat.size)] = value
    elif choice == 2:
        flat[np.random.default_rng(rng.getrandbits(32)).random(flat.size) < rng.random()] = value
    elif choice == 3:
        with np.errstate(all="ignore"):
            flat *= rng.choice((1e10, 1e-10, -1, 1e30))
    else:
        array[..., rng.randrange(array.shape[-1])] = value
    return saved(array)


def array_kind(content: bytes, rng: random.Random) -> bytes:
    """The array in another type, shape or order."""
    array = _array(content)
    if array is None:
        return content
    choice = rng.randrange(6)
    with np.errstate(all="ignore"):
        if choice == 0:
            kind = rng.choice(
                ("float16", "float64", "longdouble", "complex64", "int8", "uint64", "bool", "S4", "U8", "M8[s]")
            )
            try:
                array = array.astype(kind)
            except (TypeError, ValueError):
                return content
        elif choice == 1:
            array = np.moveaxis(array, rng.randrange(array.ndim), rng.randrange(array.ndim)) if array.ndim else array
        elif choice == 2:
            array = np.repeat(array[None], rng.choice((0, 1, 2, 40)), axis=0)
        elif choice == 3:
            array = array.reshape(-1)[: rng.choice((0, 1, 75, array.size))]
        elif choice == 4 and array.ndim:
            array = np.take(array, range(rng.randrange(array.shape[-1] + 1)), axis=-1)
        elif array.ndim:
            array = array[: rng.randrange(len(array) + 1)]
    return saved(np.asfortranarray(array) if rng.random() < 0.2 else array)


def saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=array.dtype.hasobject)
    return file.getvalue()


# Archives and pickles


_MEMBERS = ["../../canary.npy", "/canary.npy", "layout.npy", "joints.npy", "\x01.npy", "fps.npy", "x_train.npy",
            "up.npy", "scores.npy", "joints"]  # fmt: skip


def archive_member(content: bytes, rng: random.Random) -> bytes:
    """A zip with one member mutated, renamed, doubled, a bomb, encrypted in name only, or gone."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(info.file_size for info in archive.infolist()) > 10 * LARGEST:
                return content  # a bomb already
            members = [(name, archive.read(name)) for name in archive.namelist()]
    except Exception:  # mutated before
        return content
    choice, place = rng.randrange(8), rng.randrange(max(1, len(members)))
    if not members:
        return content
    name, data = members[place]
    if choice <= 2:
        members[place] = (name, mutate(data, rng))
    elif choice == 3:
        members[place] = (rng.choice(_MEMBERS), data)
    elif choice == 4:
        members.append((name, mutate(data, rng)))
    elif choice == 5:
        del members[place]
    elif choice == 6:
        text = rng.choice(
            ("coco17", "{" * 2000, "../../canary.json", "ntu25", "", '{"name": "a", "joints": []}', "x" * 100_000)
        )
        members[place] = (rng.choice(("layout.npy", "up.npy", "fps.npy")), saved(np.array(text)))
    else:
        members[place] = (name, npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 8000000, 25, 3)}", b""))
        return bomb(members[place][0], members[place][1], 2_400_000_000)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a name twice
            for member, data in members:
                archive.writestr(member, data)
    return file.getvalue()


def bomb(name: str, start: bytes, size: int) -> bytes:
    """A zip of some hundred kilobytes whose member says it is `size` bytes: `start` and zeros."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = squeeze.compress(start) + squeeze.flush(zlib.Z_FULL_FLUSH)
    block = squeeze.compress(bytes(1 << 20)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    data = first + block * min(size >> 20, 3000) + squeeze.flush()
    about = (20, 0, 8, 0, 0, 0, len(data), size & 0xFFFFFFFF, len(name.encode()), 0)
    local = struct.pack("<4s5H3I2H", b"PK\x03\x04", *about[:5], *about[5:8], *about[8:]) + name.encode() + data
    central = (
        struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, *about[:5], *about[5:8], *about[8:], 0, 0, 0, 0, 0)
        + name.encode()
    )
    return local + central + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, len(central), len(local), 0)


_OPCODES = [b"j\xff\xff\xff\x3f", b"r\xff\xff\xff\x1f", b"\x8e\xff\xff\xff\xff\xff\x00\x00\x00", b"cos\nsystem\n",
            b"0", b"(", b"t", b"R", b"b", b".", b"N", b"\x94"]  # fmt: skip


def pickled(content: bytes, rng: random.Random) -> bytes:
    """A pickle that names a function, claims sizes, refers to itself, or has other values."""
    choice = rng.randrange(3)
    if choice == 0:
        return rng.choice(PICKLES)()
    place = rng.randrange(len(content) + 1)
    if choice == 1:
        return content[:place] + rng.choice(_OPCODES) + content[place:]
    return cut(content, rng)


class _Runs:
    def __init__(self, function: Any, *arguments: Any):
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


def _laughs() -> bytes:
    """Thirty lists, each holding the one before ten times."""
    lists: list[Any] = []
    for _ in range(30):
        lists = [lists] * 10
    return pickle.dumps({"annotations": lists, "keypoint": lists})


def _laughing_key() -> bytes:
    """A key whose hash takes 2 to the 60 steps."""
    key: Any = ()
    for _ in range(60):
        key = (key, key)
    return b"\x80\x02}" + pickle.dumps(key, 2)[2:-1] + b"K\x01s."


def _endless() -> bytes:
    inside: list[Any] = []
    inside.append(inside)
    return pickle.dumps([{"keypoint": inside}])


def _deep() -> bytes:
    return b"\x80\x04" + b"]" * 20_000 + b"a" * 19_999 + b"."


def _function() -> bytes:
    import os

    return pickle.dumps({"keypoint": _Runs(os.system, "touch /tmp/canary")})


def _evaluated() -> bytes:
    return pickle.dumps([_Runs(eval, "open('canary', 'w')")])


def _large_bytearray() -> bytes:
    return b"\x80\x04cbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x00\x01\x85R."


def _large_memo() -> bytes:
    return b"\x80\x04Nr\xff\xff\xff\x1f."


def _large_bytes() -> bytes:
    return b"\x80\x04\x8e\x00\x00\x00\x00\x02\x00\x00\x00."


def _objects() -> bytes:
    return pickle.dumps({"keypoint": np.array([object, None], dtype=object)})


PICKLES: list[Callable[[], bytes]] = [_laughs, _laughing_key, _endless, _deep, _function, _evaluated, _large_bytearray,
                                      _large_memo, _large_bytes, _objects]  # fmt: skip


# safetensors


def safetensors_header(content: bytes, rng: random.Random) -> bytes:
    """The header's size or its JSON changed."""
    size = int.from_bytes(content[:8], "little")
    if rng.random() < 0.2:
        return rng.choice((-1 % 2**64, 2**40, 0, 1, len(content))).to_bytes(8, "little") + content[8:]
    header = structure(content[8 : 8 + size], rng)
    return len(header).to_bytes(8, "little") + header + content[8 + size :]
