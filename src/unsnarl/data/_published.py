"""The field's published data sets, read from files that are already on the disk: each keeps its own factors and values.

Where the format allows, a subset is read without the rest: `size=` draws one, `indices=` names the rows.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from unsnarl.arrays import check_choice, check_range
from unsnarl.data._array_files import (
    PathLike,
    _damage,
    _stream_rows,
    array_keys,
    array_shape,
    read_array,
    read_rows,
    split_key,
)
from unsnarl.data._dataset import FactorDataset, rows_of
from unsnarl.data._factors import DISCRETE, FactorTable
from unsnarl.errors import DataError, FileError
from unsnarl.files import check_readable

ALL_AT_ONCE = 4 << 30  # bytes of images that are read without being asked for by size= or indices=
BLOCK = 1 << 24  # bytes read from an HDF5 file at a time

SPRITE_SHAPES = np.array(["square", "ellipse", "heart"])
ROOM_SHAPES = np.array(["cube", "cylinder", "sphere", "capsule"])

MPI3D_FACTORS = (
    "object_color",
    "object_shape",
    "object_size",
    "camera_height",
    "background_color",
    "horizontal_axis",
    "vertical_axis",
)
MPI3D_SIZES = {460_800: (4, 4, 2, 3, 3, 40, 40), 1_036_800: (6, 6, 2, 3, 3, 40, 40)}

NORB_CATEGORIES = np.array(["animal", "human", "airplane", "truck", "car"])
NORB_TYPES = {0x1E3D4C51: "<f4", 0x1E3D4C53: "<f8", 0x1E3D4C54: "<i4", 0x1E3D4C55: "u1", 0x1E3D4C56: "<i2"}
NORB_PARTS = {"train": "training", "test": "testing"}


def read_dsprites(path: PathLike, *, size: int | None = None, seed: int = 0, indices: Any = None) -> FactorDataset:
    """The dSprites set (Matthey et al. 2017): white squares, ellipses and hearts; 737,280 images of 64 x 64.

    Factors shape, scale, orientation (radians), pos_x, pos_y with the file's values; the colour, which never changes,
    is left out. The file's pickled `metadata` entry is not touched.

    Args:
        path: the published .npz with `imgs`, `latents_values` and `latents_classes`.
        size: number of images drawn without replacement; None reads all (3 GB).
        seed: seed of the draw.
        indices: the rows to read instead (integers, a mask or a slice).

    Raises:
        FileError: the file is missing, damaged, or no dSprites file.
        OptionError: a size out of range.
    """
    shown = os.fspath(path)
    _require_keys(shown, ("imgs", "latents_values", "latents_classes"))
    shape, dtype = array_shape(path, "imgs")
    values, classes = read_array(path, "latents_values"), read_array(path, "latents_classes")
    if len(shape) not in (3, 4) or values.shape != (shape[0], 6) or classes.shape != values.shape:
        raise FileError(f"{shown} is no dSprites file: imgs has shape {shape}, latents_values {values.shape}")
    rows = _choose(shown, shape, dtype, size, seed, indices)
    images = read_rows(path, "imgs", rows)
    images = images[:, None] if images.ndim == 3 else images  # a coloured variant has its channels first already
    if images.dtype == np.uint8 and images.max(initial=0) <= 1:
        images *= 255  # stored as 0 and 1
    shapes = np.unique(classes[:, 1])
    if shapes[0] < 0 or shapes[-1] >= len(SPRITE_SHAPES):
        raise FileError(f"{shown} is no dSprites file: shape classes {shapes[0]} to {shapes[-1]}")
    columns = {"shape": SPRITE_SHAPES[classes[:, 1].astype(int)]}
    columns |= {name: values[:, i] for i, name in enumerate(("scale", "orientation", "pos_x", "pos_y"), start=2)}
    return _dataset(images, columns, rows)


def read_3dshapes(path: PathLike, *, size: int | None = None, seed: int = 0, indices: Any = None) -> FactorDataset:
    """3D Shapes (Burgess and Kim 2018): an object in a room; 480,000 images of 64 x 64 x 3 in one HDF5 file.

    Factors floor_hue, wall_hue, object_hue, scale, shape, orientation (degrees) with the file's values. The file is read
    in blocks, of which only the wanted rows are kept.

    Args:
        path: the published .h5 file with `images` and `labels`.
        size: number of images drawn without replacement; all of them (5.9 GB) only when asked for by number.
        seed: seed of the draw.
        indices: the rows to read instead (integers, a mask or a slice).

    Raises:
        FileError: the file is missing, damaged, or no 3D Shapes file.
        DataError: neither `size` nor `indices` was given and the file is larger than 4 GB.
    """
    import h5py

    where, shown = check_readable(path), os.fspath(path)
    if not h5py.is_hdf5(where):
        raise FileError(f"{shown} is damaged or no HDF5 file (3D Shapes is published as 3dshapes.h5)")
    with _damage(shown), h5py.File(where, "r") as file:
        missing = [name for name in ("images", "labels") if not isinstance(file.get(name), h5py.Dataset)]
        if missing:
            raise FileError(f"{shown} has no {missing[0]!r}; it holds {', '.join(map(str, file)) or 'nothing'}")
        stored, values = file["images"], file["labels"][()]
        if stored.ndim != 4 or values.shape != (stored.shape[0], 6):
            raise FileError(f"{shown} is no 3D Shapes file: images have shape {stored.shape}, labels {values.shape}")
        rows = _choose(shown, stored.shape, stored.dtype, size, seed, indices)
        images = _channels_first(_read_blocks(stored, rows))
    kinds = values[:, 4].astype(int)
    if kinds.min() < 0 or kinds.max() >= len(ROOM_SHAPES):
        raise FileError(f"{shown} is no 3D Shapes file: shape labels {kinds.min()} to {kinds.max()}")
    names = ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")
    columns = {name: values[:, i] for i, name in enumerate(names)} | {"shape": ROOM_SHAPES[kinds]}
    return _dataset(images, columns, rows)


def read_mpi3d(path: PathLike, *, size: int | None = None, seed: int = 0, indices: Any = None) -> FactorDataset:
    """MPI3D (Gondal et al. 2019): a robot arm that holds an object; toy, realistic, complex and real recordings.

    Factors object_color, object_shape, object_size, camera_height, background_color, horizontal_axis, vertical_axis as
    the published numbers 0, 1, 2, ... The number of images tells the grid: 460,800 (toy, realistic, complex: 4 colours
    and 4 shapes) or 1,036,800 (real: 6 and 6).

    Args:
        path: the published .npz with `images`, in row-major order of the factors.
        size: number of images drawn without replacement; all of them only when asked for by number.
        seed: seed of the draw.
        indices: the rows to read instead (integers, a mask or a slice).

    Raises:
        FileError: the file is missing, damaged, or no MPI3D file.
        DataError: neither `size` nor `indices` was given and the file is larger than 4 GB.
    """
    path, key = split_key(path)
    if key is None:
        _require_keys(path, ("images",))
        key = "images"
    shape, dtype = array_shape(path, key)
    if len(shape) != 4 or shape[0] not in MPI3D_SIZES:
        known = " or ".join(f"{n:,}" for n in MPI3D_SIZES)
        raise FileError(f"{path} is no MPI3D file: {key} has shape {shape}, but the sets hold {known} images")
    rows = _choose(path, shape, dtype, size, seed, indices)
    images = _channels_first(read_rows(path, key, rows))
    places = np.unravel_index(np.arange(shape[0]), MPI3D_SIZES[shape[0]])
    return _dataset(images, dict(zip(MPI3D_FACTORS, places, strict=True)), rows)


def read_cars3d(
    path: PathLike, *, image_size: int | None = 64, size: int | None = None, seed: int = 0, indices: Any = None
) -> FactorDataset:
    """Cars3D (Fidler et al. 2012; Reed et al. 2015): 183 car models from 4 elevations and 24 azimuths, 17,568 images.

    Factors elevation, azimuth, object_type as numbers from 0; object_type counts the files in the order of their names.
    Images are in the order of the files, then azimuth, then elevation.

    Args:
        path: the folder with the `.mat` files (or one above: `cars`, `data/cars`), or the published .tar.gz.
        image_size: height and width the images are resized to, as is usual; None keeps the file's 128.
        size: number of images drawn without replacement; None reads all.
        seed: seed of the draw.
        indices: the rows to read instead (integers, a mask or a slice).

    Raises:
        FileError: no car files there, or a damaged one.
    """
    _check_image_size(image_size)
    shown = os.fspath(path)
    with _car_models(path) as (names, load):
        height, width, channels, azimuths, elevations = load(0).shape
        side = (height, width) if image_size is None else (image_size, image_size)
        grid = (len(names), azimuths, elevations)
        total = int(np.prod(grid))
        rows = _choose(shown, (total, *side, channels), np.dtype(np.uint8), size, seed, indices)
        images = np.empty((len(rows), *side, channels), dtype=np.uint8)
        models, azimuth, elevation = np.unravel_index(rows, grid)
        for model in np.unique(models):
            mesh = load(int(model))
            if mesh.shape != (height, width, channels, azimuths, elevations):
                raise FileError(f"{names[model]} in {shown} holds images of shape {mesh.shape}, unlike the first file")
            for slot in np.flatnonzero(models == model):
                images[slot] = _resized(mesh[:, :, :, azimuth[slot], elevation[slot]], image_size)
    object_type, azimuth, elevation = np.unravel_index(np.arange(total), grid)
    columns = {"elevation": elevation, "azimuth": azimuth, "object_type": object_type}
    return _dataset(_channels_first(images), columns, rows)


def read_smallnorb(
    path: PathLike,
    *,
    split: str = "all",
    camera: str = "left",
    image_size: int | None = 64,
    size: int | None = None,
    seed: int = 0,
    indices: Any = None,
) -> FactorDataset:
    """SmallNORB (LeCun, Huang and Bottou 2004): photographs of 50 toys; 24,300 pairs of 96 x 96 to train, as many to test.

    Factors category, instance (0 to 9 within its category), elevation and azimuth (degrees), lighting. The published
    split puts instances 4, 6, 7, 8, 9 of every category into the training part. Each toy is a group.

    Args:
        path: the folder with the published files `smallnorb-...-{training,testing}-{dat,cat,info}.mat`, also with `.gz`.
        split: "train", "test" or "all".
        camera: "left" (as is usual), "right", or "both" as two channels.
        image_size: height and width the images are resized to, as is usual; None keeps the file's 96.
        size: number of images drawn without replacement; None reads all.
        seed: seed of the draw.
        indices: the rows to read instead (integers, a mask or a slice).

    Raises:
        FileError: a file is missing or damaged.
        OptionError: an option that is not among those named.
    """
    check_choice(split, ("all", "train", "test"), "split")
    check_choice(camera, ("left", "right", "both"), "camera")
    _check_image_size(image_size)
    shown, folder = os.fspath(path), _folder(path)
    parts = ["train", "test"] if split == "all" else [split]
    files = {part: _norb_files(folder, NORB_PARTS[part], shown) for part in parts}
    shapes = {part: _norb_shape(files[part]["dat"]) for part in parts}
    counts = [shapes[part][0] for part in parts]
    if len({shape[1:] for shape in shapes.values()}) > 1:
        raise FileError(f"the two parts of SmallNORB in {shown} hold images of different shapes")
    inner = shapes[parts[0]][1:]
    if len(inner) != 3 or inner[0] != 2:
        raise FileError(f"{files[parts[0]]['dat']} is no SmallNORB file: it holds an array of shape {shapes[parts[0]]}")
    chosen = {"left": [0], "right": [1], "both": [0, 1]}[camera]
    side = inner[1:] if image_size is None else (image_size, image_size)
    total = sum(counts)
    rows = _choose(shown, (total, len(chosen), *side), np.dtype(np.uint8), size, seed, indices)
    images = np.empty((len(rows), len(chosen), *side), dtype=np.uint8)
    labels = np.empty((total, 5), dtype=np.int64)
    start = 0
    for part, count in zip(parts, counts, strict=True):
        labels[start : start + count] = _norb_labels(files[part], count)
        slots = np.flatnonzero((rows >= start) & (rows < start + count))
        for block in np.array_split(slots, len(slots) // 1024 + 1):
            pairs = _read_norb(files[part]["dat"], rows[block] - start)
            for slot, pair in zip(block, pairs, strict=True):
                for place, which in enumerate(chosen):
                    images[slot, place] = _resized(pair[which], image_size)
        start += count
    category, instance, elevation, azimuth, lighting = labels.T
    columns = {
        "category": NORB_CATEGORIES[category],
        "instance": instance,
        "elevation": 30 + 5 * elevation,
        "azimuth": 10 * azimuth,
        "lighting": lighting,
    }
    toys = np.char.add(np.char.add(NORB_CATEGORIES[category], " "), instance.astype(str))
    return _dataset(images, columns, rows, groups=toys, split=np.repeat(parts, counts))


def _dataset(
    images: np.ndarray, columns: dict[str, np.ndarray], rows: np.ndarray, **labels: np.ndarray
) -> FactorDataset:
    """The chosen rows; the levels of each factor are those of the whole file."""
    frame = pd.DataFrame({n: c.astype(object) if c.dtype.kind == "U" else c for n, c in columns.items()})
    table = FactorTable(frame, dict.fromkeys(columns, DISCRETE)).rows(rows)
    return FactorDataset(images, table, **{name: label[rows] for name, label in labels.items()})


def _choose(
    shown: str, shape: tuple[int, ...], dtype: np.dtype, size: int | None, seed: int, indices: Any
) -> np.ndarray:
    """The rows to read of `shape[0]` stored ones."""
    n = shape[0]
    if indices is not None:
        if size is not None:
            raise DataError("give size= or indices=, not both")
        return rows_of(indices, n)
    if size is not None:
        check_range(size, "size", low=1, high=n, integer=True)
        return np.random.default_rng(seed).permutation(n)[: int(size)]
    needed = int(np.prod(shape)) * dtype.itemsize
    if needed > ALL_AT_ONCE:
        raise DataError(
            f"{shown} holds {n:,} images, {needed / 2**30:.1f} GB in memory; pass size= for a random subset, "
            f"indices= for chosen rows, or size={n} for all"
        )
    return np.arange(n)


def _require_keys(shown: str, keys: tuple[str, ...]) -> None:
    found = array_keys(shown)
    for key in keys:
        if key not in found:
            raise FileError(f"{shown} has no array {key!r}; it holds {', '.join(found) or 'nothing'}")


def _check_image_size(image_size: int | None) -> None:
    if image_size is not None:
        check_range(image_size, "image_size", low=1, integer=True)


def _channels_first(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(images, -1, 1))


def _resized(image: np.ndarray, image_size: int | None) -> np.ndarray:
    if image_size is None or image.shape[:2] == (image_size, image_size):
        return image
    picture = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(picture.resize((image_size, image_size), Image.Resampling.LANCZOS))


def _read_blocks(stored: Any, rows: np.ndarray) -> np.ndarray:
    """Rows of an HDF5 array in the order given, read in whole chunks of which only the wanted rows are kept."""
    width = int(np.prod(stored.shape[1:])) * stored.dtype.itemsize
    chunk = stored.chunks[0] if stored.chunks else 1
    step = max(chunk, BLOCK // max(width, 1) // chunk * chunk, 1)
    order = np.argsort(rows, kind="stable")
    wanted = rows[order]
    out = np.empty((len(rows), *stored.shape[1:]), stored.dtype)
    for start in np.unique(wanted // step) * step:
        low, high = np.searchsorted(wanted, [start, start + step])
        inside = wanted[low:high] - start
        block = stored[start + inside[0] : start + inside[-1] + 1]
        out[order[low:high]] = block[inside - inside[0]]
    return out


def _folder(path: PathLike) -> Path:
    shown, folder = os.fspath(path), Path(path)
    if not folder.exists():
        raise FileError(f"there is no folder {shown}")
    if not folder.is_dir():
        raise FileError(f"{shown} is a file; name the folder that holds the data set")
    return folder


@contextlib.contextmanager
def _car_models(path: PathLike) -> Iterator[tuple[list[str], Callable[[int], np.ndarray]]]:
    """The names of the `.mat` files, and a function that reads the images of one."""
    shown, where = os.fspath(path), Path(path)
    if where.exists() and not where.is_dir():
        check_readable(path)
        with contextlib.ExitStack() as stack:
            with _damage(shown):
                archive = stack.enter_context(tarfile.open(where))
                listed = archive.getmembers()
            members = {m.name: m for m in listed if m.isfile() and m.name.endswith(".mat")}
            members = {n: m for n, m in members.items() if "cars" in Path(n).parts[:-1]} or members
            names = sorted(members)
            if not names:
                raise FileError(f"{shown} holds no .mat files")
            yield names, lambda i: _car_images(archive.extractfile(members[names[i]]), f"{names[i]} in {shown}")
        return
    _folder(path)
    found = next(
        (sorted(d.glob("*.mat")) for d in (where, where / "cars", where / "data/cars") if any(d.glob("*.mat"))), []
    )
    if not found:
        raise FileError(f"{shown} holds no .mat files of cars")
    yield (
        [f.name for f in found],
        lambda i: _car_images(io.BytesIO(check_readable(found[i]).read_bytes()), str(found[i])),
    )


def _car_images(file: Any, name: str) -> np.ndarray:
    """Images of one model: (height, width, channel, azimuth, elevation)."""
    import scipy.io

    with _damage(name):
        try:
            content = scipy.io.loadmat(io.BytesIO(file.read()), variable_names=["im"])
        except NotImplementedError:
            raise FileError(f"{name} is a MATLAB 7.3 file; save it again as version 7") from None
    mesh = content.get("im")
    if not isinstance(mesh, np.ndarray) or mesh.ndim != 5 or mesh.shape[2] != 3 or mesh.dtype != np.uint8:
        what = "no array 'im'" if mesh is None else f"'im' of shape {np.shape(mesh)}"
        raise FileError(
            f"{name} is no Cars3D file: it holds {what}, not bytes of height x width x 3 x azimuth x elevation"
        )
    return mesh


def _norb_files(folder: Path, part: str, shown: str) -> dict[str, Path]:
    files = {}
    for kind in ("dat", "cat", "info"):
        found = sorted(folder.glob(f"*{part}-{kind}.mat")) or sorted(folder.glob(f"*{part}-{kind}.mat.gz"))
        if not found:
            raise FileError(f"{shown} holds no file smallnorb-...-{part}-{kind}.mat (or .mat.gz)")
        files[kind] = found[0]
    return files


@contextlib.contextmanager
def _open_norb(path: Path) -> Iterator[tuple[Any, tuple[int, ...], np.dtype]]:
    """The file behind its header, with shape and dtype: little-endian magic number, number of axes, at least 3 sizes."""
    check_readable(path)
    with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
        with _damage(str(path)):
            magic, axes = (int(v) for v in np.frombuffer(file.read(8), "<i4"))
            if magic not in NORB_TYPES or not 0 < axes < 9:
                raise FileError(f"{path} is no binary matrix file of the NORB kind (magic number {magic:#x})")
            sizes = np.frombuffer(file.read(4 * max(3, axes)), "<i4")[:axes]
        yield file, tuple(int(s) for s in sizes), np.dtype(NORB_TYPES[magic])


def _norb_shape(path: Path) -> tuple[int, ...]:
    with _open_norb(path) as (_, shape, _):
        return shape


def _read_norb(path: Path, rows: np.ndarray) -> np.ndarray:
    with _open_norb(path) as (file, shape, dtype), _damage(str(path)):
        if path.suffix == ".gz":
            return _stream_rows(file, shape, dtype, rows)
        return np.memmap(file, dtype=dtype, mode="r", offset=file.tell(), shape=shape)[rows]


def _norb_labels(files: dict[str, Path], count: int) -> np.ndarray:
    category, details = (_read_norb(files[kind], np.arange(count)) for kind in ("cat", "info"))
    labels = np.column_stack([category.reshape(count, -1), details.reshape(count, -1)])
    if labels.shape != (count, 5):
        raise FileError(
            f"{files['info']} is no SmallNORB file: with the categories it has {labels.shape[1]} columns, not 5"
        )
    if labels[:, 0].min() < 0 or labels[:, 0].max() >= len(NORB_CATEGORIES):
        raise FileError(f"{files['cat']} is no SmallNORB file: categories {labels[:, 0].min()} to {labels[:, 0].max()}")
    return labels
