"""Features of the patches of one slide, from a .pt, .h5 or .npy file; nothing in it can run code."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
from jaxtyping import Float

from unsnarl.arrays import check_finite
from unsnarl.errors import DataError, FileError
from unsnarl.files import check_readable

ENDINGS = (".pt", ".h5", ".hdf5", ".npy")


def read_features(path: Path) -> Float[np.ndarray, "patches features"]:
    """The patches of one slide, float32.

    Raises:
        FileError: missing, damaged, of another kind, or a .pt that holds more than tensors.
        DataError: not patches x features, no patch, or a value that is not finite.
    """
    where = check_readable(path)
    kind = where.suffix.lower()
    if kind not in ENDINGS:
        raise FileError(f"{path} ends in {kind or 'no extension'}; features are read from {', '.join(ENDINGS)}")
    array = {".pt": _tensor, ".npy": _npy}.get(kind, _hdf5)(where)
    if array.ndim == 3 and array.shape[0] == 1:  # some writers keep a batch axis
        array = array[0]
    if array.ndim != 2 or array.dtype.kind not in "iuf":
        raise DataError(f"{path} must hold patches x features, got shape {array.shape} of {array.dtype}")
    if array.shape[0] == 0 or array.shape[1] == 0:
        raise DataError(f"{path} is an empty bag (shape {array.shape})")
    array = np.ascontiguousarray(array, dtype=np.float32)
    check_finite(array, str(path))
    return array


def _tensor(where: Path) -> np.ndarray:
    import torch

    try:
        loaded = torch.load(where, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise FileError(
            f"{where} holds Python objects that could run code when loaded, so it is not read; save the tensor alone"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise FileError(f"{where} is truncated or damaged ({' '.join(str(error).split())[:120]})") from None
    if isinstance(loaded, dict) and "features" in loaded:
        loaded = loaded["features"]
    if not isinstance(loaded, torch.Tensor):
        raise DataError(f"{where} holds a {type(loaded).__name__}; a tensor of patches x features is expected")
    return (loaded.float() if loaded.is_floating_point() else loaded).numpy()


def _npy(where: Path) -> np.ndarray:
    from unsnarl.data._array_files import read_array

    return read_array(where)


def _hdf5(where: Path) -> np.ndarray:
    import h5py

    try:
        with h5py.File(where, "r") as file:
            sets = [name for name in file if isinstance(file[name], h5py.Dataset)]
            name = "features" if "features" in sets else sets[0] if len(sets) == 1 else None
            if name is None:
                raise FileError(f"{where} holds {', '.join(sets) or 'no data set'}; one named 'features' is expected")
            return file[name][()]
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{where} is no HDF5 file, or damaged ({' '.join(str(error).split())[:120]})") from None
