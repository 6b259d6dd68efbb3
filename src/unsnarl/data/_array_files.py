"""Arrays in .npy and .npz files: a file is recognised and checked, then read whole, by rows, or by its header alone.

Nothing is ever unpickled, and damage of any kind becomes one sentence.
"""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from unsnarl.errors import FileError, OptionError, UnknownNameError, UnsnarlError
from unsnarl.files import check_readable, reason

ARRAYS = (".npy", ".npz")
TABLES = (".csv", ".tsv", ".parquet")
READABLE = ARRAYS + TABLES

PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".joblib")

# What a file of another kind begins with, so that a wrong extension is named instead of a parser's confusion.
MAGIC = {
    b"\x93NUMPY": ".npy",
    b"PK\x03\x04": ".npz",
    b"PK\x05\x06": ".npz",
    b"PAR1": ".parquet",
    b"\x89HDF": ".h5",
    b"\x1f\x8b": ".gz",
}

PathLike = str | os.PathLike[str]


def read_array(path: PathLike, key: str | None = None) -> np.ndarray:
    """The array of a .npy file, or one array of an .npz.

    Args:
        path: the file; "codes.npz:z" means the array z of codes.npz.
        key: which array of an .npz; not needed when it holds one.

    Raises:
        FileError: the file is missing, empty, damaged, no .npy or .npz, or the array is pickled.
        UnknownNameError: a key that does not exist.
    """
    path, key = split_key(path, key)
    where, kind = _recognise(path, ARRAYS)
    if kind == ".npy":
        if key is not None:
            raise OptionError(f"key={key!r}: {path} is an .npy file, which holds one array without a name")
        with open(where, "rb") as file, _damage(path):
            return _read_npy(file, path, "it")
    with _damage(path), zipfile.ZipFile(where) as archive:
        key = _one_key(archive, key, path)
        with archive.open(key + ".npy") as member:
            return _read_npy(member, path, f"the array {key!r}")


def read_rows(path: PathLike, key: str | None, rows: np.ndarray) -> np.ndarray:
    """Some rows of an array in a .npy or .npz file, in the order given, without holding the rest in memory."""
    path, key = split_key(path, key)
    where, kind = _recognise(path, ARRAYS)
    with _damage(path):
        if kind == ".npy":
            array_shape(path)
            return np.ascontiguousarray(np.load(where, mmap_mode="r", allow_pickle=False)[rows])
        with zipfile.ZipFile(where) as archive:
            key = _one_key(archive, key, path)
            entry = archive.getinfo(key + ".npy")
            with archive.open(entry) as member:
                shape, fortran, dtype = _read_header(member, path, f"the array {key!r}")
                if fortran and len(shape) > 1:
                    return read_array(path, key)[rows]
                if entry.compress_type != zipfile.ZIP_STORED:
                    return _stream_rows(member, shape, dtype, rows)
                start = member.tell()
        with open(where, "rb") as file:  # stored as it is: map it, and touch only the rows asked for
            file.seek(entry.header_offset)
            local = file.read(30)
            start += entry.header_offset + 30 + int.from_bytes(local[26:28], "little")
            start += int.from_bytes(local[28:30], "little")
            return np.ascontiguousarray(np.memmap(file, dtype=dtype, mode="r", offset=start, shape=shape)[rows])


def array_shape(path: PathLike, key: str | None = None) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype of an array in a .npy or .npz file; only its header is read."""
    path, key = split_key(path, key)
    where, kind = _recognise(path, ARRAYS)
    with _damage(path):
        if kind == ".npy":
            with open(where, "rb") as file:
                shape, _, dtype = _read_header(file, path, "it")
            return shape, dtype
        with zipfile.ZipFile(where) as archive:
            key = _one_key(archive, key, path)
            with archive.open(key + ".npy") as member:
                shape, _, dtype = _read_header(member, path, f"the array {key!r}")
            return shape, dtype


def array_keys(path: PathLike) -> list[str]:
    """The names of the arrays in an .npz file."""
    where, _ = _recognise(path, (".npz",))
    with _damage(os.fspath(path)), zipfile.ZipFile(where) as archive:
        return _keys(archive)


def split_key(path: PathLike, key: str | None = None) -> tuple[str, str | None]:
    """The file and the array named by "codes.npz:z"."""
    shown = os.fspath(path)
    if not isinstance(shown, str):
        raise FileError(f"a path must be text, got {shown!r}")
    file, colon, inner = shown.rpartition(":")
    if colon and file.lower().endswith(".npz"):
        if key is not None and key != inner:
            raise OptionError(f"{shown} names the array {inner!r}, but key={key!r}; give one of the two")
        return file, inner
    return shown, key


def _recognise(path: PathLike, allowed: tuple[str, ...] = READABLE) -> tuple[Path, str]:
    """The checked path and its kind; the extension must be known and agree with how the file begins."""
    shown = os.fspath(path)
    where = check_readable(path)
    kind = where.suffix.lower()
    if kind in PICKLES:
        raise FileError(
            f"{shown} is a pickle, which can run code when it is loaded, so it is not read; "
            "save the array with numpy.save(...) and pass the .npy file"
        )
    if kind not in allowed:
        raise FileError(f"{shown} ends in {kind or 'no extension'}; only {', '.join(allowed)} can be read here")
    with open(where, "rb") as file:
        start = file.read(8)
    found = next((k for magic, k in MAGIC.items() if start.startswith(magic)), None)
    if found is not None and found != kind:
        raise FileError(f"{shown} ends in {kind}, but its contents are those of {_a(found)} file; rename or convert it")
    if found is None and kind not in (".csv", ".tsv"):
        if start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05":
            raise FileError(
                f"{shown} is a pickle in spite of its name, which can run code when it is loaded, so it is not read; "
                "save the array with numpy.save(...)"
            )
        raise FileError(f"{shown} is damaged or no {kind} file (it does not begin like one)")
    return where, kind


def _a(kind: str) -> str:
    return f"an {kind}" if kind.startswith((".n", ".h")) else f"a {kind}"


@contextlib.contextmanager
def _damage(shown: str) -> Iterator[None]:
    """Turn whatever NumPy, zipfile, pandas and pyarrow raise on damaged bytes into one sentence; our own errors pass."""
    try:
        yield
    except UnsnarlError:
        raise
    except MemoryError:
        raise FileError(f"{shown} is too large for the memory of this machine, or damaged") from None
    except PermissionError as error:
        raise FileError(f"cannot read {shown}: {reason(error)}") from None
    except Exception as error:  # their list is long: ValueError, EOFError, BadZipFile, TokenError, ArrowInvalid, ...
        why = " ".join(str(error).split())[:200]
        raise FileError(f"{shown} is truncated or damaged" + (f" ({why})" if why else "")) from error


def _keys(archive: zipfile.ZipFile) -> list[str]:
    return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def _one_key(archive: zipfile.ZipFile, key: str | None, shown: str) -> str:
    keys = _keys(archive)
    if not keys:
        raise FileError(f"{shown} holds no arrays")
    if key is None:
        if len(keys) > 1:
            raise FileError(f"{shown} holds several arrays; name one with key=: {', '.join(keys)}")
        return keys[0]
    if key not in keys:
        raise UnknownNameError(f"array of {shown}", key, keys)
    return key


def _read_header(file: Any, shown: str, what: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise _pickled(shown, what)
    return tuple(int(s) for s in shape), fortran, dtype


def _read_npy(file: Any, shown: str, what: str) -> np.ndarray:
    try:
        return np.lib.format.read_array(file, allow_pickle=False)
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise _pickled(shown, what) from None
        raise


def _pickled(shown: str, what: str) -> FileError:
    return FileError(
        f"{shown}: {what} holds pickled Python objects, which can run code when they are loaded, so they are not read; "
        "convert where it was made, e.g. numpy.save(path, numpy.stack(list(x))) for numbers or x.astype(str) for text"
    )


def _stream_rows(file: Any, shape: tuple[int, ...], dtype: np.dtype, rows: np.ndarray) -> np.ndarray:
    """Rows of an array that can only be read from its beginning (compressed), a block at a time."""
    width = dtype.itemsize * int(np.prod(shape[1:]))
    order = np.argsort(rows, kind="stable")
    wanted = rows[order]
    out = np.empty((len(rows), *shape[1:]), dtype)
    step = max(1, (1 << 24) // max(width, 1))
    for start in range(0, int(wanted[-1]) + 1 if len(wanted) else 0, step):
        stop = min(start + step, shape[0])
        data = file.read((stop - start) * width)
        if len(data) < (stop - start) * width:
            raise EOFError("the array ends early")
        low, high = np.searchsorted(wanted, [start, stop])
        if high > low:
            block = np.frombuffer(data, dtype).reshape(stop - start, *shape[1:])
            out[order[low:high]] = block[wanted[low:high] - start]
    return out
