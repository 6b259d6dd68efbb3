"""Pickles of arrays read without letting them run anything.

The published features of CMU-MOSI, CMU-MOSEI and MUStARD come as pickles, and a pickle is a program: it may name any function
of any installed module and call it. `read_pickle` runs that program on a leash. Of all names it may use, ten are known,
those by which NumPy and Python write arrays and plain containers; each is answered by a function of this file, none by the one
that was named. Not even NumPy's own unpickling takes part: an array is put together here from its dtype, shape and bytes,
after their sizes were found to agree.
"""

from __future__ import annotations

import io
import math
import os
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from unsnarl.errors import FileError
from unsnarl.files import check_readable

PathLike = str | os.PathLike[str]

_KINDS = "biufcSU"  # of arrays without objects
_MOST_AXES = 32


def read_pickle(path: PathLike, *, encoding: str = "latin1") -> Any:
    """What a pickle holds, as NumPy arrays, numbers, text, bytes, lists, tuples, sets and dicts, and nothing else.

    Args:
        path: the file.
        encoding: how text of Python 2 is read.

    Raises:
        FileError: the file is missing, damaged, or names anything but arrays and plain containers; the message says what.

    Cost: O(bytes).
    """
    where = check_readable(path)
    with open(where, "rb") as file:
        return _read(file, os.fspath(path), encoding)


def read_pickled_bytes(data: bytes, shown: str = "the pickle") -> Any:
    """As `read_pickle`, for bytes.

    >>> read_pickled_bytes(pickle.dumps({"a": np.arange(3)}))
    {'a': array([0, 1, 2])}
    >>> read_pickled_bytes(pickle.dumps(print))
    Traceback (most recent call last):
        ...
    unsnarl.errors.FileError: the pickle names builtins.print, which is neither an array nor a plain container; nothing of it was run
    """
    return _read(io.BytesIO(data), shown, "latin1")


def _read(file: Any, shown: str, encoding: str) -> Any:
    reader = _Reader(file, encoding=encoding)
    reader.shown = shown
    try:
        return _finished(reader.load(), {})
    except FileError:
        raise
    except RecursionError:
        raise FileError(f"{shown} is nested too deeply") from None
    except Exception as error:  # a broken program can fail in any way
        raise FileError(f"{shown} is no readable pickle: {type(error).__name__}: {error}") from None


class _Reader(pickle.Unpickler):
    shown = ""

    def find_class(self, module: str, name: str) -> Any:
        known = _NAMES.get((module, name))
        if known is None:
            raise FileError(
                f"{self.shown} names {module}.{name}, which is neither an array nor a plain container; nothing of it was run"
            )
        return known

    def persistent_load(self, pid: Any) -> Any:
        raise FileError(f"{self.shown} refers to something outside itself")


class _Type:
    """A dtype in the making: `dtype("f8", False, True)`, then its state, of which the byte order is used."""

    def __init__(self, code: Any, align: Any = False, copy: Any = False):
        text = _text(code)
        if text == "O" or text == "O8":
            self.dtype = np.dtype(object)
        else:
            dtype = np.dtype(text) if text[:1] in _KINDS + "<>|=" else None
            if dtype is None or dtype.kind not in _KINDS or dtype.fields is not None or dtype.subdtype is not None:
                raise ValueError(f"dtype {text!r} is not one of numbers or text")
            self.dtype = dtype

    def __setstate__(self, state: Any) -> None:
        order = _text(state[1])
        if any(part is not None for part in state[2:5]):
            raise ValueError("dtypes with fields are not read")
        if order == ">" and self.dtype != object:
            self.dtype = self.dtype.newbyteorder(">")
        elif order == "<" and self.dtype != object:
            self.dtype = self.dtype.newbyteorder("<")
        if (
            self.dtype.kind in "SU" and isinstance(state[5], int) and state[5] >= 0
        ):  # older files give the size here alone
            size = state[5] // (4 if self.dtype.kind == "U" else 1)
            self.dtype = np.dtype(f"{self.dtype.byteorder.replace('|', '')}{self.dtype.kind}{size}")


class _Array:
    """An array in the making: `_reconstruct(ndarray, (0,), b"b")`, then its state."""

    def __init__(self, *made: Any):
        self.values: np.ndarray | list[Any] | None = None
        self.shape: tuple[int, ...] = ()
        self.order = "C"

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state if len(state) == 5 else (None, *state)
        self.fill(shape, dtype, "F" if fortran else "C", data)

    def fill(self, shape: Any, dtype: Any, order: str, data: Any) -> None:
        if not isinstance(dtype, _Type):
            raise ValueError("an array without dtype")
        if len(shape) > _MOST_AXES or not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError("an array with an impossible shape")
        count = math.prod(shape)
        self.shape, self.order = tuple(shape), order
        if dtype.dtype == object:
            if not isinstance(data, list) or len(data) != count:
                raise ValueError(f"an array of {count} objects with other contents")
            self.values = data
            return
        raw = data.encode("latin1") if isinstance(data, str) else bytes(data)
        if len(raw) != count * dtype.dtype.itemsize:
            raise ValueError(f"an array of {count} values of {dtype.dtype} in {len(raw)} bytes")
        flat = np.frombuffer(raw, dtype.dtype) if dtype.dtype.itemsize else np.zeros(count, dtype.dtype)
        native = flat.astype(dtype.dtype.newbyteorder("="))  # a copy, that can be written to
        self.values = native.reshape(self.shape, order="F" if order == "F" else "C")

    def finished(self, memo: dict[int, Any]) -> np.ndarray:
        if isinstance(self.values, np.ndarray):
            return self.values
        if self.values is None:
            raise ValueError("an array without contents")
        out = np.empty(len(self.values), dtype=object)
        memo[id(self)] = (self, out)
        for place, value in enumerate(self.values):
            out[place] = _finished(value, memo)
        return out.reshape(self.shape, order="F" if self.order == "F" else "C")


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("latin1")
    if not isinstance(value, str):
        raise ValueError(f"text was expected, found {type(value).__name__}")
    return value


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    return _Array()


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    array = _Array()
    array.fill(shape, dtype, _text(order), data)
    return array


def _scalar(dtype: Any, data: Any = b"") -> Any:
    array = _Array()
    array.fill((), dtype, "C", data)
    assert isinstance(array.values, np.ndarray)  # objects need a list, which the shape () never fits
    return array.values[()]


def _encode(text: Any, encoding: Any) -> bytes:
    """How protocols 0 to 2 write bytes."""
    if _text(encoding).lower().replace("-", "") not in ("latin1", "iso88591"):
        raise ValueError("bytes in another encoding than latin1")
    return _text(text).encode("latin1")


def _no_bytes(*arguments: Any) -> bytes:
    if arguments:
        raise ValueError("bytes() with arguments")
    return b""


def _container(make: Callable[..., Any]) -> Callable[..., Any]:
    def made(*items: Any) -> Any:
        if len(items) > 1 or not all(isinstance(item, list | tuple) for item in items):
            raise ValueError("a container of something else than a list")
        return make(*items)

    return made


class _NDArray:
    """Stands for numpy.ndarray, which is only ever an argument."""


_NAMES: dict[tuple[str, str], Any] = {
    **{
        (module, name): made
        for core in ("numpy.core", "numpy._core")
        for module, name, made in (
            (f"{core}.multiarray", "_reconstruct", _reconstruct),
            (f"{core}.multiarray", "scalar", _scalar),
            (f"{core}.numeric", "_frombuffer", _from_buffer),
        )
    },
    ("numpy", "ndarray"): _NDArray,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
    **{
        (module, name): made
        for module in ("builtins", "__builtin__")
        for name, made in (("bytes", _no_bytes), ("set", _container(set)), ("frozenset", _container(frozenset)))
    },
    ("collections", "OrderedDict"): _container(dict),
}


def _finished(value: Any, memo: dict[int, Any]) -> Any:
    """The value with arrays in the making replaced; what occurs twice is replaced once."""
    if isinstance(value, str | bytes | int | float | bool | complex | np.generic | type(None) | bytearray):
        return value
    if id(value) in memo:
        return memo[id(value)][1]
    if isinstance(value, _Array):
        array = value.finished(memo)
        memo[id(value)] = (value, array)  # kept alive, so that its number is not given away
        return array
    out: Any
    if isinstance(value, list):
        memo[id(value)] = (value, out := [])
        out.extend(_finished(item, memo) for item in value)
        return out
    if isinstance(value, dict):
        memo[id(value)] = (value, out := {})
        for key, item in value.items():
            out[_finished(key, memo)] = _finished(item, memo)
        return out
    if isinstance(value, tuple):
        out = tuple(_finished(item, memo) for item in value)
    elif isinstance(value, set | frozenset):
        out = type(value)(_finished(item, memo) for item in value)
    else:
        raise ValueError(f"a bare {type(value).__name__.lstrip('_')} where an array or a container was expected")
    memo[id(value)] = (value, out)
    return out
