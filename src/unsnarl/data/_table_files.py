"""Tables in .csv, .tsv and .parquet files, and arrays taken as tables: named columns, chosen, spread, made numbers."""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from unsnarl.arrays import as_matrix
from unsnarl.data._array_files import TABLES, PathLike, _damage, _recognise, array_keys, read_array, split_key
from unsnarl.errors import DataError, FileError, OptionError, UnknownNameError

MISSING = ["", "NA", "NaN", "nan", "null"]


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
