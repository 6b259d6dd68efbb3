"""Codes, factors and data sets from files: .npy, .npz, .csv, .tsv and .parquet. Nothing is ever unpickled."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Real
from torch import Tensor

from unsnarl.arrays import as_matrix
from unsnarl.data._array_files import (
    ARRAYS,
    TABLES,
    PathLike,
    _damage,
    _recognise,
    array_keys,
    read_array,
    split_key,
)
from unsnarl.data._dataset import FactorDataset
from unsnarl.data._factors import FactorTable
from unsnarl.data._table_files import _chosen, _numbers, _read_frame, _spread, _table_of, read_table
from unsnarl.errors import DataError, FileError, OptionError
from unsnarl.files import atomic_write

SAVED = "unsnarl"  # the entry that marks an .npz written by FactorDataset.save
VERSION = 1


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


@contextlib.contextmanager
def _naming(shown: str) -> Iterator[None]:
    """Put the file's name before errors about its values."""
    try:
        yield
    except DataError as error:
        text = str(error)
        raise DataError(text if shown in text else f"{shown}: {text}") from None


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
