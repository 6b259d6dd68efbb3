"""Codes, factors and data sets from files: .npy, .npz, .csv, .tsv and .parquet. Nothing is ever unpickled."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Real
from torch import Tensor

from unsnarl.arrays import as_matrix
from unsnarl.data._dataset import FactorDataset
from unsnarl.data._factors import FactorTable
from unsnarl.errors import DataError, FileError, OptionError, UnknownNameError, UnsnarlError
from unsnarl.files import atomic_write, check_readable, reason

ARRAYS = (".npy", ".npz")
TABLES = (".csv", ".tsv", ".parquet")
READABLE = ARRAYS + TABLES

PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".joblib")
MISSING = ["", "NA", "NaN", "nan", "null"]

# What a file of another kind begins with, so that a wrong extension is named instead of a parser's confusion.
MAGIC = {
    b"\x93NUMPY": ".npy",
    b"PK\x03\x04": ".npz",
    b"PK\x05\x06": ".npz",
    b"PAR1": ".parquet",
    b"\x89HDF": ".h5",
    b"\x1f\x8b": ".gz",
}

SAVED = "unsnarl"  # the entry that marks an .npz written by FactorDataset.save
VERSION = 1

PathLike = str | os.PathLike[str]


def read_codes(
    path: PathLike,
    *,
    key: str | None = None,
    columns: Iterable[str] | str | None = None,
    index_column: str | int | None = None,
    separator: str | None = None,
    header: bool | None = None,
) -> tuple[Real[np.ndarray, "n latent"], list[str]]:
    """A representation from a file: the codes, and the names of their columns.

    Args:
        path: a .npy, .npz, .csv, .tsv or .parquet file; "codes.npz:z" means the array z of codes.npz. A parquet column
            that holds one vector a row is spread over as many columns.
        key: which array of an .npz; not needed when it holds one.
        columns: the columns to keep, by name; all when absent.
        index_column: a column that numbers the rows (name or position) and is left out; a first column without a name is
            left out by itself.
        separator: what separates the values of a text file; "," for .csv and a tab for .tsv when absent.
        header: whether the first line of a text file names the columns; when absent it is expected, and a first line of
            numbers is refused.

    Raises:
        FileError: the file is missing, empty, damaged, of an unknown kind, or holds pickled objects.
        DataError: the values are not numbers, not finite, or not 2-D.
        UnknownNameError: a key or a column that does not exist.

    Examples:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> np.save(folder.name + "/z.npy", np.zeros((5, 2)))
        >>> codes, names = read_codes(folder.name + "/z.npy")
        >>> codes.shape, names
        ((5, 2), ['latent 0', 'latent 1'])
        >>> folder.cleanup()
    """
    path, key = split_key(path, key)
    where, kind = _recognise(path)
    with _naming(path):
        if kind in ARRAYS:
            array = read_array(path, key)
            if array.dtype.names is None:
                codes = as_matrix(array, "codes", min_rows=1)
                names = [f"latent {i}" for i in range(codes.shape[1])]
                if columns is None:
                    return codes, names
                chosen = _chosen(columns, names, path)
                return codes[:, [names.index(c) for c in chosen]], chosen
            frame = pd.DataFrame(array)
        else:
            frame = _read_frame(where, kind, index_column=index_column, separator=separator, header=header)
        if columns is not None:
            frame = frame[_chosen(columns, list(frame.columns), path)]
        return _numbers(_spread(frame), "codes")


def read_factors(
    path: PathLike,
    *,
    key: str | None = None,
    columns: Iterable[str] | str | None = None,
    kinds: Mapping[str, str] | Iterable[str] | str | None = None,
    names: Iterable[str] | None = None,
    missing: str = "raise",
    index_column: str | int | None = None,
    separator: str | None = None,
    header: bool | None = None,
) -> FactorTable:
    """The factors of some observations from a file.

    Args:
        path: as in `read_codes`. An .npz of several 1-D arrays is a table with one factor an array; of a data set
            written by `FactorDataset.save` the factors are read.
        key: which array of an .npz holds the factors.
        columns: the factors to keep, by name; all when absent.
        kinds: "discrete" or "continuous", see `FactorTable.of`; inferred where absent.
        names: factor names where the file holds an array without names.
        missing: "raise" refuses missing values, "keep" lets them through.
        index_column: as in `read_codes`.
        separator: as in `read_codes`.
        header: as in `read_codes`.

    Raises:
        FileError: the file is missing, empty, damaged, of an unknown kind, or holds pickled objects.
        DataError: missing or infinite values, or a column of unusable type.
        UnknownNameError: a key, column or factor that does not exist.
    """
    if missing not in ("raise", "keep"):
        raise OptionError(f"missing={missing!r} is not allowed; choose one of 'raise', 'keep'")
    path, key = split_key(path, key)
    if _is_saved(path):
        table = read_saved(path)._table()
        table = table if kinds is None else FactorTable.of(table, kinds=kinds)
        return table if columns is None else table.select([columns] if isinstance(columns, str) else columns)
    with _naming(path):
        frame = read_table(
            path, key=key, names=names, index_column=index_column, separator=separator, header=header, prefix="factor "
        )
        if columns is not None:
            frame = frame[_chosen(columns, list(frame.columns), path)]
        return FactorTable.of(frame, kinds=kinds, missing="keep" if missing == "keep" else "raise")


def read_dataset(
    observations_path: PathLike,
    factors_path: PathLike | None = None,
    *,
    observations: Iterable[str] | str | None = None,
    factors: Iterable[str] | str | None = None,
    groups: str | None = None,
    split: str | None = None,
    kinds: Mapping[str, str] | Iterable[str] | str | None = None,
    key: str | None = None,
    factors_key: str | None = None,
    channels_last: bool = False,
    index_column: str | int | None = None,
    separator: str | None = None,
    header: bool | None = None,
) -> FactorDataset:
    """Observations, and their factors, from one file or two.

    One file: a data set written by `FactorDataset.save`; a table, of which `factors` names the factor columns; or an
    .npz, of which `key` names the observations and `factors` or `factors_key` the factors. Two files: the observations
    in the first, one row of factors an observation in the second.

    Args:
        observations_path: the file of the observations; arrays of any shape (n, ...), or a table.
        factors_path: the file of the factors; absent when they are in the same file or unknown.
        observations: which columns of a table are the observations; all but factors, groups and split when absent.
        factors: which columns (or 1-D arrays of an .npz) are the factors.
        groups: the column that says which observations belong together.
        split: the column that says "train", "validation" or "test".
        kinds: "discrete" or "continuous", see `FactorTable.of`; inferred where absent.
        key: which array of an .npz holds the observations.
        factors_key: which array of an .npz holds the factors.
        channels_last: the images are stored height x width x channel; they become channel x height x width.
        index_column: as in `read_codes`.
        separator: as in `read_codes`.
        header: as in `read_codes`.

    Raises:
        FileError: a file is missing, empty, damaged, of an unknown kind, or holds pickled objects.
        DataError: the lengths differ, or values that cannot be used.
        UnknownNameError: a key or a column that does not exist.
    """
    layout: dict[str, Any] = {"index_column": index_column, "separator": separator, "header": header}
    path, key = split_key(observations_path, key)
    if factors_path is None and _is_saved(path):
        data = read_saved(path)
        if data.table is not None and kinds is not None:
            data.table = FactorTable.of(data.table, kinds=kinds)
        if factors is not None:
            data.table = data._table().select([factors] if isinstance(factors, str) else factors)
        return data
    where, kind = _recognise(path)
    if kind in TABLES and factors_path is None:
        with _naming(path):
            frame = _read_frame(where, kind, **layout)
            return FactorDataset.from_table(
                frame, factors, observations, groups=groups, split=split, kinds=kinds, argument=path
            )
    with _naming(path):
        if kind in TABLES:
            frame = _read_frame(where, kind, **layout)
            if observations is not None:
                frame = frame[_chosen(observations, list(frame.columns), path)]
            values: Any = _numbers(_spread(frame), "observations")[0]
        elif observations is not None:
            raise OptionError(f"observations= names columns of a table, but {path} holds arrays; use key=")
        else:
            values = _read_observations(path, key, channels_last)
    if factors_path is not None:
        table_path, table_key = split_key(factors_path, factors_key)
        table = read_table(table_path, key=table_key, prefix="factor ", **layout)
    elif kind == ".npz" and (factors is not None or factors_key is not None):
        table_path, wanted = path, [n for n in (groups, split) if n is not None]
        if factors_key is not None:
            table = _table_of(read_array(path, factors_key), None, "factor ", path)
        else:
            wanted = [*([factors] if isinstance(factors, str) else factors or []), *wanted]
            columns = {n: read_array(path, n) for n in wanted}
            if {a.shape for a in columns.values()} != {(len(values),)}:
                found = ", ".join(f"{n} {a.shape}" for n, a in columns.items())
                raise DataError(
                    f"{path}: each factor must be 1-D with {len(values)} values as {key!r} has, but found {found}"
                )
            table = pd.DataFrame(columns)
    elif factors is not None or groups is not None or split is not None:
        raise OptionError(f"{path} holds one array, so factors, groups and split need a file of their own")
    else:
        return FactorDataset(values)
    with _naming(table_path):
        return FactorDataset.from_table(
            table, factors, values, groups=groups, split=split, kinds=kinds, argument=table_path
        )


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


def read_table(
    path: PathLike,
    *,
    key: str | None = None,
    names: Iterable[str] | None = None,
    index_column: str | int | None = None,
    separator: str | None = None,
    header: bool | None = None,
    prefix: str = "column ",
) -> pd.DataFrame:
    """Named columns from any readable file; see `read_factors` for the arguments."""
    path, key = split_key(path, key)
    where, kind = _recognise(path)
    if kind in TABLES:
        frame = _read_frame(where, kind, index_column=index_column, separator=separator, header=header)
        if names is not None:
            frame.columns = pd.Index(_as_names(names, frame.shape[1], path))
        return frame
    if kind == ".npz" and key is None and len(array_keys(path)) > 1:
        arrays = {k: read_array(path, k) for k in array_keys(path)}
        if len({a.shape for a in arrays.values()}) == 1 and next(iter(arrays.values())).ndim == 1:
            return pd.DataFrame(arrays)
        raise FileError(f"{path} holds several arrays; name one with key=: {', '.join(arrays)}")
    return _table_of(read_array(path, key), names, prefix, path)


def save_dataset(data: FactorDataset, path: PathLike) -> None:
    """Write a data set as one .npz without pickles; `read_dataset` and `FactorDataset.from_file` read it back.

    Raises:
        FileError: the name does not end in .npz, or the file cannot be written.
    """
    if Path(path).suffix.lower() != ".npz":
        raise FileError(f"cannot save the data set as {os.fspath(path)}: the name must end in .npz")
    about: dict[str, Any] = {"version": VERSION}
    arrays: dict[str, Any] = {}
    if isinstance(data.observations, Tensor):
        about["dtype"] = str(data.observations.dtype).removeprefix("torch.")
        arrays["observations"] = _plain(data.observations)
    else:
        kinds = sorted({str(o.dtype).removeprefix("torch.") for o in data.observations})
        if len(kinds) > 1:
            raise DataError(
                f"ragged observations can only be saved when all have one dtype, but found {', '.join(kinds)}"
            )
        about |= {"dtype": kinds[0], "shapes": [list(o.shape) for o in data.observations]}
        arrays["observations"] = np.concatenate([_plain(o).ravel() for o in data.observations])
    if data.table is not None:
        about["factors"] = [{"name": n, "kind": data.table.kinds[n]} for n in data.table.names]
        for i, name in enumerate(data.table.names):
            column = data.table.values[name]
            if column.isna().any():
                raise DataError(f"factor {name!r} has missing values; drop those rows before saving")
            arrays[f"factor_{i}"] = column.to_numpy().astype(str) if column.dtype == object else column.to_numpy()
            if name in data.table.levels:
                arrays[f"levels_{i}"] = data.table.levels[name]
    arrays |= {n: a for n, a in (("groups", data.groups), ("split", data.split)) if a is not None}
    arrays[SAVED] = np.array(json.dumps(about))
    with atomic_write(path, "wb") as file:
        np.savez(file, **arrays)


def read_saved(path: PathLike) -> FactorDataset:
    """A data set written by `save_dataset`.

    Raises:
        FileError: the file is damaged or was written by a later version.
    """
    shown, keys = os.fspath(path), array_keys(path)
    with _damage(shown):
        about = json.loads(str(read_array(path, SAVED)))
        if about["version"] > VERSION:
            raise FileError(f"{shown} was written by a later version of unsnarl; update this one to read it")
        observations: Any = torch.from_numpy(read_array(path, "observations")).to(getattr(torch, about["dtype"]))
        if "shapes" in about:
            sizes = [int(np.prod(shape)) for shape in about["shapes"]]
            parts = torch.split(observations, sizes)
            observations = [part.reshape(shape) for part, shape in zip(parts, about["shapes"], strict=True)]
        table = None
        if "factors" in about:
            columns, levels = {}, {}
            for i, factor in enumerate(about["factors"]):
                values = read_array(path, f"factor_{i}")
                columns[factor["name"]] = values.astype(object) if values.dtype.kind == "U" else values
                if factor["kind"] == "discrete":
                    levels[factor["name"]] = read_array(path, f"levels_{i}")
            checked = FactorTable.of(pd.DataFrame(columns), kinds={f["name"]: f["kind"] for f in about["factors"]})
            table = FactorTable(checked.values, checked.kinds, levels)
        extras = {name: read_array(path, name) for name in ("groups", "split") if name in keys}
        return FactorDataset(observations, table, **extras)


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


@contextlib.contextmanager
def _naming(shown: str) -> Iterator[None]:
    """Put the file's name before errors about its values."""
    try:
        yield
    except DataError as error:
        text = str(error)
        raise DataError(text if shown in text else f"{shown}: {text}") from None


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


def _read_frame(
    where: Path, kind: str, *, index_column: str | int | None, separator: str | None, header: bool | None
) -> pd.DataFrame:
    shown = os.fspath(where)
    if kind == ".parquet":
        import pyarrow.parquet

        with _damage(shown):
            frame = pyarrow.parquet.read_table(where).to_pandas().reset_index(drop=True)
        frame.columns = pd.Index([str(c) for c in frame.columns])
    else:
        frame = _read_text(where, shown, separator or ("\t" if kind == ".tsv" else ","), header, index_column)
    if index_column is not None:
        names = list(frame.columns)
        if isinstance(index_column, int):
            if not -len(names) <= index_column < len(names):
                raise OptionError(f"index_column={index_column}, but {shown} has {len(names)} columns")
            index_column = str(names[index_column])
        frame = frame.drop(columns=_chosen(index_column, names, shown))
    doubled = frame.columns[frame.columns.duplicated()]
    if len(doubled):
        raise FileError(f"{shown} has two columns named {doubled[0]!r}; rename one")
    if frame.shape[1] == 0:
        raise FileError(f"{shown} has no columns")
    if len(frame) == 0:
        raise FileError(f"{shown} has no rows")
    return frame


def _read_text(
    where: Path, shown: str, separator: str, header: bool | None, index_column: str | int | None
) -> pd.DataFrame:
    if len(separator) != 1:
        raise OptionError(f"separator={separator!r} must be one character")
    with _damage(shown), _utf8(shown):
        first = _first_line(where, shown, separator)
        if header is None and _all_numbers(first):
            raise FileError(
                f"{shown} has no header line (its first line is {separator.join(first[:3])}{'...' if len(first) > 3 else ''}); "
                "add one, or pass header=False"
            )
        frame = pd.read_csv(
            where,
            sep=separator,
            encoding="utf-8-sig",
            header=None if header is False else 0,
            keep_default_na=False,
            na_values=MISSING,
            skipinitialspace=True,
            low_memory=False,
            float_precision="round_trip",
        )
    if len(first) == 1 and frame.shape[1] == 1:
        lines = [first[0], *frame.iloc[:5, 0].astype(str)]
        other = next((s for s in ";\t,|" if s in first[0] and len({line.count(s) for line in lines}) == 1), None)
        if other is not None:
            raise FileError(f"{shown} seems to be separated by {other!r}; pass separator={other!r}")
    if header is False:
        frame.columns = pd.Index([f"column {i}" for i in range(frame.shape[1])])
        return frame
    numbered = not isinstance(frame.index, pd.RangeIndex)  # R's habit: one name fewer than columns
    frame = frame.reset_index(drop=True)
    names = first[: frame.shape[1]]
    blank = [i for i, name in enumerate(names) if not name]
    if blank and blank[-1] == len(names) - 1 and frame.iloc[:, -1].isna().all():  # a separator at every line's end
        frame, names, blank = frame.iloc[:, :-1], names[:-1], blank[:-1]
    if index_column is None and not numbered and names and names[0] in ("", "Unnamed: 0"):
        frame, names, blank = frame.iloc[:, 1:], names[1:], [i for i in blank if i]
    elif index_column is not None and blank[:1] == [0]:
        names, blank = ["Unnamed: 0", *names[1:]], blank[1:]
    if blank:
        raise FileError(f"column {blank[0]} of {shown} has no name")
    frame.columns = pd.Index(names)
    return frame


@contextlib.contextmanager
def _utf8(shown: str) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError:
        raise FileError(f"{shown} is not text in UTF-8; save it again with that encoding") from None


def _first_line(where: Path, shown: str, separator: str) -> list[str]:
    with open(where, encoding="utf-8-sig", newline="") as file:
        for row in csv.reader(file, delimiter=separator):
            if any(cell.strip() for cell in row):
                return [cell.strip() for cell in row]
    raise FileError(f"{shown} is empty (only blank lines)")


def _all_numbers(names: list[str]) -> bool:
    """Whether a first line is data, not names; 0, 1, 2, ... are the names pandas gives to columns without one."""
    body = names[1:] if names[0] in ("", "Unnamed: 0") else names
    if not body or body == [str(i) for i in range(len(body))]:
        return False
    try:
        [float(name) for name in body]
    except ValueError:
        return False
    return True


def _as_names(names: Iterable[str], count: int, shown: str) -> list[str]:
    listed = [names] if isinstance(names, str) else [str(n) for n in names]
    if len(listed) != count:
        raise OptionError(f"{len(listed)} names were given for the {count} columns of {shown}")
    return listed


def _chosen(columns: Iterable[str] | str, names: list[str], shown: str) -> list[str]:
    chosen = [columns] if isinstance(columns, str) else list(columns)
    for name in chosen:
        if name not in names:
            raise UnknownNameError(f"column of {shown}", name, names)
    if not chosen:
        raise OptionError(f"no column of {shown} is chosen")
    return chosen


def _table_of(array: np.ndarray, names: Iterable[str] | None, prefix: str, shown: str) -> pd.DataFrame:
    if array.dtype.names is not None:
        return pd.DataFrame(array)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise DataError(f"{shown}: factors must be 2-D (observations x factors), got shape {array.shape}")
    labels = [f"{prefix}{i}" for i in range(array.shape[1])] if names is None else names
    return pd.DataFrame(array, columns=_as_names(labels, array.shape[1], shown))


def _spread(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns that hold one vector a row, spread over as many columns."""
    parts: dict[str, Any] = {}
    for name in frame.columns:
        column = frame[name]
        if column.dtype == object and isinstance(column.iloc[0], np.ndarray | list | tuple):
            lengths = {len(v) if isinstance(v, np.ndarray | list | tuple) else None for v in column}
            if len(lengths) > 1:
                raise DataError(f"column {name!r} holds vectors of different lengths")
            parts |= {f"{name} {i}": values for i, values in enumerate(np.stack(list(column)).T)}
        else:
            parts[name] = column
    return pd.DataFrame(parts)


def _numbers(frame: pd.DataFrame, what: str) -> tuple[np.ndarray, list[str]]:
    """The columns of a table as one array."""
    columns = []
    for name in frame.columns:
        column = frame[name]
        if not pd.api.types.is_numeric_dtype(column):
            text = [(i, v) for i, v in enumerate(column) if isinstance(v, str) and not _is_number(v)]
            found = f"text (first: {text[0][1]!r} at row {text[0][0]})" if text else f"{column.dtype} values"
            raise DataError(f"column {name!r} holds {found}, but {what} must be numbers; leave it out or convert it")
        columns.append(column.to_numpy(dtype=np.float64 if column.isna().any() else None))
    columns = [c.astype(np.int64) if c.dtype == bool else c for c in columns]
    if any(c.dtype == object for c in columns):
        raise DataError(f"the {what} must be plain numbers")
    return as_matrix(np.column_stack(columns), what, min_rows=1), [str(c) for c in frame.columns]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_observations(path: str, key: str | None, channels_last: bool) -> np.ndarray:
    values = read_array(path, key)
    if values.dtype.names is not None:
        return _numbers(pd.DataFrame(values), "observations")[0]
    if channels_last:
        if values.ndim != 4:
            raise DataError(f"channels_last=True needs images of shape (n, height, width, channel), got {values.shape}")
        values = np.moveaxis(values, -1, 1)
    return values


def _plain(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _is_saved(path: PathLike) -> bool:
    return Path(path).suffix.lower() == ".npz" and SAVED in array_keys(path)
