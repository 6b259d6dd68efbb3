"""Pickles of arrays are read; anything that would run is refused before it runs."""

import collections
import datetime
import os
import pathlib
import pickle

import numpy as np
import pytest

from unsnarl.data.sentiment import read_pickle
from unsnarl.data.sentiment._pickles import read_pickled_bytes
from unsnarl.errors import FileError

VALUES = [
    np.arange(24, dtype=np.int64).reshape(2, 3, 4),
    np.asfortranarray(np.random.default_rng(0).normal(size=(3, 5))),
    np.arange(6, dtype=">f4").reshape(2, 3),
    np.array([[True, False]]),
    np.array(["a", "\u00e9t\u00e9"]),
    np.array([b"raw", b""]),
    np.array([1 + 2j]),
    np.array(3.5),
    np.zeros((0, 4), dtype=np.float32),
    np.arange(20)[::2],
]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", VALUES, ids=lambda v: f"{v.dtype}{v.shape}")
def test_arrays_come_back(value, protocol):
    found = read_pickled_bytes(pickle.dumps({"x": [value, value]}, protocol))["x"]
    assert type(found[0]) is np.ndarray
    assert found[0].dtype == value.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found[0], value)
    assert found[0] is found[1]
    found[0][...] = found[0]  # writable


@pytest.mark.parametrize("protocol", range(6))
def test_containers_and_numbers_come_back(protocol):
    value = {
        "train": [((["a", "b"], np.ones((2, 3))), 1.5, "seg[0]"), (b"", b"\x00\xff", None)],
        ("t", 1): {frozenset([1, 2]), 3},
        "scalar": np.float32(2.5),
        "ordered": collections.OrderedDict(a=1),
        "big": 10**30,
    }
    found = read_pickled_bytes(pickle.dumps(value, protocol))
    np.testing.assert_array_equal(found["train"][0][0][1], np.ones((2, 3)))
    assert found["train"][0][1:] == (1.5, "seg[0]")
    assert found["train"][1] == (b"", b"\x00\xff", None)
    assert found[("t", 1)] == {frozenset([1, 2]), 3}
    assert found["scalar"] == np.float32(2.5)
    assert found["scalar"].dtype == np.float32
    assert found["ordered"] == {"a": 1}
    assert found["big"] == 10**30


@pytest.mark.parametrize("protocol", range(6))
def test_ragged_arrays_of_objects(protocol):
    ragged = np.empty((2, 2), dtype=object)
    ragged[0, 0], ragged[0, 1], ragged[1, 0], ragged[1, 1] = np.arange(3), "words", [np.ones(2)], None
    found = read_pickled_bytes(pickle.dumps(ragged, protocol))
    assert found.shape == (2, 2)
    assert found[0, 1] == "words"
    np.testing.assert_array_equal(found[0, 0], np.arange(3))
    np.testing.assert_array_equal(found[1, 0][0], np.ones(2))


def test_cycles_and_shared_parts():
    ring = [1]
    ring.append(ring)
    found = read_pickled_bytes(pickle.dumps(ring))
    assert found[1] is found
    laughs = ["ha"]
    for _ in range(60):  # 2**60 leaves if what is shared were copied
        laughs = [laughs, laughs]
    assert read_pickled_bytes(pickle.dumps(laughs))[0][0] is not None


def test_a_pickle_of_python_2():
    """As Python 2 wrote an int16 array: its bytes are a string."""
    data = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02\x85"
        b"cnumpy\ndtype\nU\x02i2K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x04\x01\x00\xfe\xfftb."
    )
    np.testing.assert_array_equal(read_pickled_bytes(data), np.array([1, -2], dtype=np.int16))


class Burglar:
    def __init__(self, call, *arguments):
        self.how = call, arguments

    def __reduce__(self):
        return self.how


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda loot: Burglar(open, loot, "w"), "open"),
        (lambda loot: Burglar(os.system, f"touch {loot}"), "system"),
        (lambda loot: Burglar(eval, f"open({loot!r}, 'w')"), "builtins.eval|__builtin__.eval"),
        (lambda loot: Burglar(getattr, "x", "upper"), "getattr"),
        (lambda loot: Burglar(np.save, loot, np.ones(2)), "numpy.save"),
        (lambda loot: Burglar(np.load, loot, None, True), "numpy.load"),
        (lambda loot: pathlib.Path(loot), "pathlib"),
        (lambda loot: datetime.date(2020, 1, 1), "datetime.date"),
        (lambda loot: Burglar(bytearray, 10), "bytearray"),
    ],
)
def test_whatever_would_run_is_refused(tmp_path, make, named, protocol):
    loot = str(tmp_path / "loot")
    path = tmp_path / "gift.pkl"
    path.write_bytes(pickle.dumps({"train": [np.ones(3), make(loot)]}, protocol))
    with pytest.raises(
        FileError, match=rf"gift.pkl names \S*({named})\S*, which is neither an array nor a plain container"
    ):
        read_pickle(path)
    assert not os.path.exists(loot)


def test_names_hidden_in_an_array_are_refused(tmp_path):
    array = np.array([Burglar(os.system, f"touch {tmp_path}/loot")], dtype=object)
    with pytest.raises(FileError, match="system"):
        read_pickled_bytes(pickle.dumps(array))
    assert not (tmp_path / "loot").exists()


class Reference(pickle.Pickler):
    def persistent_id(self, thing):
        return "elsewhere" if thing == "me" else None


def array_program(shape=b"K\x02\x85", dtype=b"U\x02f8", data=b"U\x10" + b"\0" * 16, state=b""):
    """An array in opcodes, of which parts can be forged."""
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01" + shape
        + b"cnumpy\ndtype\n" + dtype + b"K\x00K\x01\x87R" + state + b"\x89" + data + b"tb."
    )  # fmt: skip


def test_forged_arrays(tmp_path):
    np.testing.assert_array_equal(read_pickled_bytes(array_program()), np.zeros(2))
    forged = {
        "impossible shape": array_program(shape=b"J\xff\xff\xff\xff\x85"),
        "array of 3 values": array_program(shape=b"K\x03\x85"),
        r"array of 1099511627776 values": array_program(shape=b"\x8a\x06\x00\x00\x00\x00\x00\x01\x85"),
        "dtype 'V8' is not one of numbers or text": array_program(dtype=b"U\x02V8"),
        "dtype 'i4,i4' is not one of": array_program(dtype=b"U\x05i4,i4"),
        "dtype 'O9'|not understood": array_program(dtype=b"U\x02O9"),
        "array of 2 objects with other contents": array_program(dtype=b"U\x01O"),
        "dtypes with fields": array_program(
            state=b"(K\x03U\x01<NU\x01a\x85}J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
        ),
        "bare type": b"\x80\x02cnumpy\nndarray\n.",
        "array without contents": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nK\x00K\x00K\x00\x87R.",
        "another encoding": b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00zip\x86R.",
        "bytes\\(\\) with arguments": b"\x80\x02c__builtin__\nbytes\nJ\xff\xff\xff\x7f\x85R.",
        "something else than a list": b"\x80\x02c__builtin__\nset\nK\x01\x85R.",
    }
    for says, data in forged.items():
        with pytest.raises(FileError, match=says):
            read_pickled_bytes(data)


def test_broken_files(tmp_path):
    good = pickle.dumps([np.arange(100)])
    for data in (good[:-30], good[:3], b"hello", b"\x80\x09."):
        with pytest.raises(FileError, match=r"no readable pickle|neither"):
            read_pickled_bytes(data)
    out = tmp_path / "reference.pkl"
    with open(out, "wb") as file:
        Reference(file).dump(["me"])
    with pytest.raises(FileError, match="outside itself"):
        read_pickle(out)
    deep = b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b"."
    with pytest.raises(FileError, match="nested too deeply"):
        read_pickled_bytes(deep)
    with pytest.raises(FileError, match="no file"):
        read_pickle(tmp_path / "absent.pkl")
