"""Letters in real font faces: what is written (character) apart from how (family, weight, slant, size) and where.

Bold and italic are the type designer's own font files, never a thickened or sheared regular face. Each character of
each face is rasterised once at high resolution and shrunk to every size by exact area averaging; an image is then a
copy of such a mask to whole-pixel positions, so moving a glyph moves its pixels unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from os import PathLike, fspath
from pathlib import Path
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float, Int, UInt8
from numba import njit
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from unsnarl.arrays import check_range
from unsnarl.data._shapes3d import check_factor_indices
from unsnarl.data._simulator import Simulator, images
from unsnarl.errors import DataError, OptionError, UnknownNameError

LATIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
WEIGHTS = ("regular", "bold")
SLANTS = ("upright", "italic")

# The families matplotlib ships whole: regular and bold, upright and italic (or oblique), each a file of its own.
FAMILIES = ("DejaVu Sans", "DejaVu Sans Mono", "DejaVu Serif", "STIXGeneral")
MATPLOTLIB_FONTS = (
    *(
        f"DejaVu{kind}{style}.ttf"
        for kind in ("Sans", "SansMono")
        for style in ("", "-Bold", "-Oblique", "-BoldOblique")
    ),
    *(f"DejaVuSerif{style}.ttf" for style in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"STIXGeneral{style}.ttf" for style in ("", "Bol", "Italic", "BolIta")),
)

SMALLEST, LARGEST = 0.3, 0.6  # size of the font's em square as a share of the image's height
FINE_EM = 256  # pixels of the em square in which glyphs are rasterised, or more for large images

Face = tuple[str, str, str]  # family, weight, slant


def matplotlib_fonts() -> list[str]:
    """Paths of the font files that `Glyphs` uses by default.

    Examples:
        >>> len(matplotlib_fonts())
        16
    """
    import matplotlib

    return [str(Path(matplotlib.get_data_path(), "fonts", "ttf", name)) for name in MATPLOTLIB_FONTS]


def font_faces(fonts: Iterable[str | PathLike[str]]) -> dict[Face, str]:
    """(family, weight, slant) -> path, by what the font files say about themselves.

    The weight is "regular", "bold" or what else the file is named ("light", "semibold"); the slant "upright" or
    "italic", which stands for oblique too; a width such as "Condensed" belongs to the family. Of two files with the
    same face the first one counts.

    Raises:
        DataError: a file does not exist or is not a font.
    """
    faces: dict[Face, str] = {}
    for font in fonts:
        path = fspath(font)
        family, style = _open_font(path, 16).getname()
        words = re.findall(r"[A-Za-z][a-z]*|\d+", style or "")
        width = [w for w in words if w.lower() in ("condensed", "semicondensed", "narrow", "expanded", "extended")]
        slant = "italic" if any(w.lower() in ("italic", "oblique") for w in words) else "upright"
        weight = "".join(w.lower() for w in words if w not in width and w.lower() not in ("italic", "oblique"))
        weight = "regular" if weight in ("", "book", "roman", "normal", "regular") else weight
        faces.setdefault((" ".join([family or Path(path).stem, *width]), weight, slant), path)
    return faces


@dataclass(frozen=True)
class GlyphOptions:
    """The factors of a set of glyph images, checked; what `Glyphs` and `render_glyphs` share."""

    image_size: int
    characters: tuple[str, ...]
    families: tuple[str, ...]
    weights: tuple[str, ...]
    slants: tuple[str, ...]
    sizes: int
    pos_x: int
    pos_y: int
    files: tuple[str, ...]  # of every (family, weight, slant), the slant changing fastest

    @classmethod
    def of(
        cls,
        image_size: int = 64,
        *,
        characters: str | Sequence[str] = LATIN,
        families: Sequence[str] | None = None,
        weights: Sequence[str] = WEIGHTS,
        slants: Sequence[str] = SLANTS,
        sizes: int = 6,
        pos_x: int = 5,
        pos_y: int = 5,
        fonts: Iterable[str | PathLike[str]] | None = None,
    ) -> GlyphOptions:
        """Check the options and find a font file for every face.

        Raises:
            DataError: a font file is missing or not a font, a face is missing, or a face has no glyph for a character.
            UnknownNameError: a family that no font file belongs to.
            OptionError: an option outside its range.
        """
        check_range(image_size, "image_size", low=16, integer=True)
        for count, name in ((sizes, "sizes"), (pos_x, "pos_x"), (pos_y, "pos_y")):
            check_range(count, name, low=1, integer=True)
        named = {"characters": tuple(characters), "weights": _listed(weights), "slants": _listed(slants)}
        if families is not None:
            named["families"] = _listed(families)
        for name, entries in named.items():
            if not entries or len(set(entries)) < len(entries) or not all(isinstance(e, str) for e in entries):
                raise OptionError(f"{name}={entries!r} must be one or more different names")
        for character in named["characters"]:
            if len(character) != 1 or character.isspace() or not character.isprintable():
                raise OptionError(f"characters holds {character!r}; each must be one visible character")
        faces = font_faces(matplotlib_fonts() if fonts is None else fonts)
        wanted = [(w, s) for w in named["weights"] for s in named["slants"]]
        known = list(dict.fromkeys(family for family, _, _ in faces))
        if "families" not in named:
            whole = [f for f in known if all((f, w, s) in faces for w, s in wanted)]
            if not whole:
                found = "; ".join(f"{f} {w} {s}" for f, w, s in faces) or "none"
                raise DataError(
                    f"no font family has all of {', '.join(f'{w} {s}' for w, s in wanted)} (faces found: {found})"
                )
            named["families"] = tuple(whole)
        for family in named["families"]:
            if family not in known:
                raise UnknownNameError("font family", family, known)
            missing = [f"{w} {s}" for w, s in wanted if (family, w, s) not in faces]
            if missing:
                raise DataError(f"font family {family!r} has no {', '.join(missing)} face; add its file to fonts=")
        files = tuple(faces[family, w, s] for family in named["families"] for w, s in wanted)
        for path in dict.fromkeys(files):
            _check_has_glyphs(path, named["characters"])
        return cls(int(image_size), **named, sizes=int(sizes), pos_x=int(pos_x), pos_y=int(pos_y), files=files)

    @property
    def grid(self) -> dict[str, np.ndarray]:
        """Factor name -> its values in order; factors with a single value are held and left out.

        Raises:
            OptionError: no factor has two values.
        """
        grid = {
            "character": np.array(self.characters),
            "family": np.array(self.families),
            "weight": np.array(self.weights),
            "slant": np.array(self.slants),
            "size": self.em_shares,
            "pos_x": _spread(self.pos_x),
            "pos_y": _spread(self.pos_y),
        }
        grid = {name: values for name, values in grid.items() if len(values) > 1}
        if not grid:
            raise OptionError("every factor has a single value; give at least one of them two")
        return grid

    @property
    def em_shares(self) -> Float[np.ndarray, " size"]:
        """Font sizes: the em square as a share of the image's height."""
        return SMALLEST + (LARGEST - SMALLEST) * _spread(self.sizes)


def render_glyphs(
    factor_indices: Int[np.ndarray, "n factor"], image_size: int = 64, **options: Any
) -> UInt8[np.ndarray, "n channel height width"]:
    """White glyphs on black, one channel; the same factors give the same pixels in any batch.

    Args:
        factor_indices: one row an image; columns are character, family, weight, slant, size, pos_x, pos_y, without
            those that have a single value.
        image_size: height and width in pixels, at least 16.
        options: `characters`, `families`, `weights`, `slants`, `sizes`, `pos_x`, `pos_y`, `fonts` as `Glyphs` takes
            them.

    Raises:
        DataError: wrong shape, an index outside its factor's range, or fonts as in `GlyphOptions.of`.
        OptionError, UnknownNameError: as in `GlyphOptions.of`.

    Cost: O(n * pixels), and once a few milliseconds for each (character, face).
    """
    return _render(factor_indices, GlyphOptions.of(image_size, **options))


class Glyphs(Simulator):
    """Characters in font families with real regular and bold, upright and italic faces.

    The factors are character, family, weight, slant, size (the em square as a share of the image's height), pos_x and
    pos_y (0 is left or top, 1 right or bottom, of the range in which every glyph stays inside). A character stands on
    its baseline: half the cap height above the baseline, in the middle of its advance, lies the position. A factor
    with a single value is held and not in the table.

    Args:
        size: number of images drawn; None renders the whole grid once, in order.
        image_size: height and width in pixels.
        characters: the characters, as text or a list.
        families: font families; None takes every family of `fonts` that has all weights and slants.
        weights: of "regular", "bold" and what other weights the files have.
        slants: of "upright" and "italic" (which stands for oblique too).
        sizes: number of sizes, from 0.3 to 0.6.
        pos_x: number of horizontal positions.
        pos_y: number of vertical positions.
        fonts: font files; None uses those that matplotlib ships (DejaVu Sans, Sans Mono, Serif and STIX).
        seed: seed of the draws.
        correlate: pairs of factors drawn together, see `Simulator`.
        leave_out: factor combinations never drawn, see `Simulator`.
        only_left_out: draw only from the combinations left out.

    Raises:
        DataError: a font file is missing or not a font, a face is missing, or a face has no glyph for a character.

    Examples:
        >>> letters = Glyphs(size=8, characters="AB", families=["DejaVu Sans", "DejaVu Serif"], pos_y=1)
        >>> letters.factor_names
        ['character', 'family', 'weight', 'slant', 'size', 'pos_x']
        >>> tuple(letters.observations.shape)
        (8, 1, 64, 64)
    """

    def __init__(
        self,
        size: int | None = 10_000,
        *,
        image_size: int = 64,
        characters: str | Sequence[str] = LATIN,
        families: Sequence[str] | None = None,
        weights: Sequence[str] = WEIGHTS,
        slants: Sequence[str] = SLANTS,
        sizes: int = 6,
        pos_x: int = 5,
        pos_y: int = 5,
        fonts: Iterable[str | PathLike[str]] | None = None,
        seed: int = 0,
        correlate: Mapping[tuple[str, str], float] | None = None,
        leave_out: Iterable[Mapping[str, Any]] = (),
        only_left_out: bool = False,
    ):
        self.image_size = image_size
        self.options = GlyphOptions.of(
            image_size,
            characters=characters,
            families=families,
            weights=weights,
            slants=slants,
            sizes=sizes,
            pos_x=pos_x,
            pos_y=pos_y,
            fonts=fonts,
        )
        self.grid = self.options.grid
        super().__init__(size, seed=seed, correlate=correlate, leave_out=leave_out, only_left_out=only_left_out)

    def render_indices(self, indices: Int[np.ndarray, "n factor"]) -> Tensor:
        """Images of shape (n, 1, image_size, image_size), uint8."""
        return images(_render(indices, self.options))


def _listed(names: Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _spread(count: int) -> Float[np.ndarray, " count"]:
    return np.linspace(0.0, 1.0, count) if count > 1 else np.array([0.5])


def _open_font(path: str, em: int) -> ImageFont.FreeTypeFont:
    if not Path(path).exists():
        raise DataError(f"font file {path} does not exist")
    try:
        return ImageFont.truetype(path, em, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise DataError(f"{path} is not a font file that can be read ({error})") from None


def _check_has_glyphs(path: str, characters: Iterable[str]) -> None:
    from matplotlib.ft2font import FT2Font

    font = FT2Font(path)
    missing = [c for c in characters if font.get_char_index(ord(c)) == 0]
    if missing:
        raise DataError(f"{Path(path).name} has no glyph for {', '.join(map(repr, missing[:5]))}")


@dataclass(frozen=True)
class _Mask:
    """One glyph at high resolution, and where its anchor (half the advance, half the cap height) lies in it."""

    ink: UInt8[np.ndarray, "height width"]
    anchor_x: float
    anchor_y: float


def _rasterise(font: ImageFont.FreeTypeFont, character: str) -> _Mask:
    left, top, right, bottom = (int(edge) for edge in font.getbbox(character, anchor="ls"))
    canvas = Image.new("L", (right - left + 2, bottom - top + 2))
    ImageDraw.Draw(canvas).text((1 - left, 1 - top), character, fill=255, font=font, anchor="ls")
    box = canvas.getbbox()
    if box is None:
        raise DataError(f"{font.getname()[0]} draws nothing for {character!r}")
    cap_height = -font.getbbox("H", anchor="ls")[1]
    return _Mask(
        np.asarray(canvas.crop(box)),
        font.getlength(character) / 2 + (1 - left) - box[0],
        (1 - top) - cap_height / 2 - box[1],
    )


def _shrink(
    mask: _Mask, factors: Float[np.ndarray, " size"], box: tuple[int, int], anchor: tuple[int, int]
) -> UInt8[np.ndarray, "size height width"]:
    """The mask scaled by each factor into a box, its anchor on the given pixel corner, each pixel the mean it covers.

    The integral image of a mask of constant pixels is linear between pixel corners, so interpolating it at the corners
    of the large pixels and taking differences gives exact means.
    """
    whole = np.pad(mask.ink, ((1, 0), (1, 0))).astype(np.float64).cumsum(axis=0).cumsum(axis=1)
    out = np.empty((len(factors), *box), dtype=np.uint8)
    for size, factor in enumerate(factors):
        integral = whole
        for axis, at in enumerate((mask.anchor_y, mask.anchor_x)):
            corners = at + (np.arange(box[axis] + 1) - anchor[axis]) / factor
            corners = np.clip(corners, 0, mask.ink.shape[axis])
            low = np.minimum(corners.astype(np.int64), mask.ink.shape[axis] - 1)
            part = np.expand_dims(corners - low, 1 - axis)
            integral = integral.take(low, axis) * (1 - part) + integral.take(low + 1, axis) * part
            integral = np.diff(integral, axis=axis) * factor
        out[size] = np.round(np.clip(integral, 0, 255))
    return out


@dataclass(frozen=True)
class _Atlas:
    """All masks of the options in boxes of one size, and the pixel corners on which their anchor can lie."""

    masks: UInt8[np.ndarray, "mask height width"]  # character, family, weight, slant, size; the size changes fastest
    up: int  # from the anchor to the top edge of the box
    left: int
    rows: Int[np.ndarray, " pos_y"]
    columns: Int[np.ndarray, " pos_x"]


@lru_cache(maxsize=4)
def _atlas(options: GlyphOptions) -> _Atlas:
    em = max(FINE_EM, options.image_size)
    fonts = {path: _open_font(path, em) for path in dict.fromkeys(options.files)}
    drawn = [_rasterise(fonts[path], character) for character in options.characters for path in options.files]
    factors = options.em_shares * options.image_size / em
    # how far any glyph of the largest size reaches from its anchor, in whole pixels
    up = ceil(factors.max() * max(m.anchor_y for m in drawn))
    down = ceil(factors.max() * max(m.ink.shape[0] - m.anchor_y for m in drawn))
    left = ceil(factors.max() * max(m.anchor_x for m in drawn))
    right = ceil(factors.max() * max(m.ink.shape[1] - m.anchor_x for m in drawn))
    masks = np.concatenate([_shrink(m, factors, (up + down, left + right), (up, left)) for m in drawn])
    return _Atlas(
        masks,
        up,
        left,
        _places(options.image_size, up, down, options.pos_y, "pos_y"),
        _places(options.image_size, left, right, options.pos_x, "pos_x"),
    )


def _places(image_size: int, before: int, after: int, count: int, name: str) -> Int[np.ndarray, " count"]:
    """Pixel corners on which the anchor may lie: equal steps about the middle, as wide as the glyphs allow."""
    margin = max(before, after)
    room = image_size - 2 * margin
    if room < count - 1:
        raise OptionError(
            f"{name}={count} positions need {count - 1} pixels, but at image_size={image_size} the glyphs leave "
            f"{max(room, 0)}; use fewer positions or a larger image"
        )
    step = room // max(count - 1, 1)
    return (image_size - step * (count - 1)) // 2 + step * np.arange(count)


def _render(
    factor_indices: Int[np.ndarray, "n factor"], options: GlyphOptions
) -> UInt8[np.ndarray, "n channel height width"]:
    grid = options.grid
    indices = check_factor_indices(factor_indices, grid, [len(values) for values in grid.values()])
    zero = np.zeros(len(indices), dtype=np.int64)
    at = {name: indices[:, column] for column, name in enumerate(grid)}
    atlas = _atlas(options)
    mask = at.get("character", zero)
    for name, count in (
        ("family", len(options.families)),
        ("weight", len(options.weights)),
        ("slant", len(options.slants)),
        ("size", options.sizes),
    ):
        mask = mask * count + at.get(name, zero)
    out = np.zeros((len(indices), 1, options.image_size, options.image_size), dtype=np.uint8)
    tops = atlas.rows[at.get("pos_y", zero)] - atlas.up
    lefts = atlas.columns[at.get("pos_x", zero)] - atlas.left
    _copy(atlas.masks, mask, tops, lefts, out)
    return out


@njit(cache=True, nogil=True)
@no_type_check
def _copy(masks, mask, tops, lefts, out):
    height, width = masks.shape[1:]
    for i in range(len(mask)):
        top, left = tops[i], lefts[i]
        for y in range(height):
            for x in range(width):
                out[i, 0, top + y, left + x] = masks[mask[i], y, x]
