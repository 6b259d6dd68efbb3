"""The page of one explained prediction: the sample, the prototypes it was likened to, where, the scores, and how sure it is.

It takes plain data, so that every classifier with prototypes can have its page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from unsnarl.arrays import check_finite, to_numpy
from unsnarl.errors import DataError, OptionError
from unsnarl.report._images import LARGEST_SIDE, png_bytes, reduced, tile, to_pixels
from unsnarl.report._page import Picture, check_target, data_uri, picture, write_page
from unsnarl.report._style import PAGE_WIDTH, PHONE_WIDTH, drawing, fitted, new_figure, number, theme

KEYS = (
    "prediction",
    "prototypes",
    "probabilities",
    "words",
    "reconstruction",
    "samples",
    "samples_name",
    "votes",
    "votes_name",
    "uncertainty",
)
PROTOTYPE_KEYS = ("name", "image", "class", "scores", "note", "heat_map", "box", "importance")
SMALL = 48  # pixels; smaller images are shown with sharp pixels
MOST_BARS = 12


def write_explanation_page(sample: Any, explanation: Any, to: Any, *, title: str | None = None) -> Path:
    """Write one HTML file that shows why a sample got its class.

    Args:
        sample: the image, of shape (channels, height, width) or (height, width), uint8 or floats in [0, 1].
        explanation: a mapping, or an object whose `to_page()` gives one, with these entries (the first two are needed):

            - "prediction": name of the predicted class;
            - "prototypes": a list of mappings with "name" and "image" (of any size, as `sample`), and optionally "class",
              "scores" (name -> number), "note", "heat_map" (height, width: how much each place of the sample resembles the
              prototype), "box" (top, bottom, left, right on the sample, ends excluded) and "importance" (name -> number: of
              hue, shape, texture and so on, for the likeness);
            - "probabilities": class -> probability;
            - "words": sentences on what was found, the most important first;
            - "reconstruction": an image, what the model's code keeps of the sample;
            - "samples" and "samples_name": a batch of further images and what they are;
            - "votes" and "votes_name": name -> number, what each prototype adds, and to what;
            - "uncertainty": a list of mappings with "name", "value" and "meaning".
        to: the file to write; its folder must exist.
        title: of the page.

    Returns:
        The path of the file.

    Raises:
        OptionError: the explanation lacks an entry or has an unknown one.
        DataError: something that should be an image is none, or a heat map is not finite.
        FileError: the file cannot be written.
    """
    target = check_target(to)
    found = _checked(explanation)
    pixels = _pixels(sample, "sample")
    prediction = str(found["prediction"])
    words = [str(line) for line in found.get("words", ())]
    chances = {str(name): float(p) for name, p in found.get("probabilities", {}).items()}
    votes = {str(name): float(v) for name, v in found.get("votes", {}).items()}
    cards = [_card(shown, pixels, i) for i, shown in enumerate(found["prototypes"])]
    lead = words[0] if words else f"The model says {prediction}."
    return write_page(
        "prototypes.html",
        target,
        eyebrow="unsnarl explanation",
        title=title or f"Why this is {prediction} to the model",
        meta=[f"{len(cards)} prototype{'s' if len(cards) != 1 else ''} shown"],
        lead=lead,
        finding=words[1:],
        sample=_shown(pixels, "The sample", f"The sample, which the model calls {prediction}"),
        reconstruction=None
        if found.get("reconstruction") is None
        else _shown(
            _pixels(found["reconstruction"], "reconstruction"),
            "What its code keeps",
            "The sample decoded from its own code",
        ),
        prototypes=cards,
        maps=any(card["map"] for card in cards),
        chances=_bars(chances, "Probability of each class", "") if chances else None,
        votes=_bars(votes, str(found.get("votes_name", "What each prototype adds")), "signed") if votes else None,
        votes_name=str(found.get("votes_name", "what each prototype adds")),
        uncertainty=[_uncertain(row) for row in found.get("uncertainty", ())],
        samples=_strip(found) if found.get("samples") is not None and len(found["samples"]) else None,
    )


def _checked(explanation: Any) -> Mapping[str, Any]:
    if callable(getattr(explanation, "to_page", None)):
        explanation = explanation.to_page()
    if not isinstance(explanation, Mapping):
        raise OptionError(
            f"explanation is a {type(explanation).__name__}; pass a mapping, or an object with a method to_page"
        )
    _check_keys(explanation, KEYS, ("prediction", "prototypes"), "explanation")
    if not len(explanation["prototypes"]):
        raise OptionError("explanation['prototypes'] is empty; there is nothing to show")
    for i, shown in enumerate(explanation["prototypes"]):
        _check_keys(shown, PROTOTYPE_KEYS, ("name", "image"), f"prototype {i}")
    for i, row in enumerate(explanation.get("uncertainty", ())):
        _check_keys(row, ("name", "value", "meaning"), ("name", "value"), f"uncertainty {i}")
    return explanation


def _check_keys(given: Mapping[str, Any], known: Sequence[str], needed: Sequence[str], what: str) -> None:
    unknown = [key for key in given if key not in known]
    if unknown:
        raise OptionError(f"{what} has the entry {unknown[0]!r}; it may have {', '.join(map(repr, known))}")
    absent = [key for key in needed if key not in given]
    if absent:
        raise OptionError(f"{what} has no entry {absent[0]!r}")


# ---- pictures ---------------------------------------------------------------------------------------------------------


def _pixels(image: Any, what: str) -> UInt8[np.ndarray, "height width 3"]:
    array = to_numpy(image, what)
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3:
        raise DataError(f"{what} must be one image (channels, height, width), got shape {array.shape}")
    return to_pixels(array[None], what)[0]


def _shown(pixels: np.ndarray, label: str, alt: str) -> dict[str, Any]:
    small = reduced(pixels[None])[0]
    return {
        "label": label,
        "alt": alt,
        "uri": data_uri(png_bytes(small), "image/png"),
        "width": small.shape[1],
        "height": small.shape[0],
        "small": max(small.shape[:2]) < SMALL,
    }


def _card(shown: Mapping[str, Any], sample: np.ndarray, i: int) -> dict[str, Any]:
    name, of_class = str(shown["name"]), str(shown.get("class", ""))
    heat, box = shown.get("heat_map"), shown.get("box")
    box = None if box is None else _box(box, sample, name)
    where = None
    if heat is not None or box is not None:
        alt = f"The sample; marked is where it resembles {name}"
        alt += "" if box is None else f", rows {box[0]} to {box[1] - 1}, columns {box[2]} to {box[3] - 1}"
        where = _shown(overlaid(sample, heat, box), "where the sample resembles it", alt)
    scores = {str(k): number(float(v)) for k, v in (shown.get("scores") or {}).items() if v is not None}
    importance = {str(k): float(v) for k, v in (shown.get("importance") or {}).items()}
    label = name[:1].upper() + name[1:]
    return {
        "image": _shown(_pixels(shown["image"], f"the image of prototype {i}"), label, f"{label} of class {of_class}"),
        "name": label,
        "class": of_class,
        "scores": list(scores.items()),
        "note": str(shown.get("note") or ""),
        "map": where,
        "importance": _bars(importance, f"Why {name} looks alike", "signed", PHONE_WIDTH) if importance else None,
    }


def _box(box: Any, sample: np.ndarray, name: str) -> tuple[int, int, int, int]:
    top, bottom, left, right = (int(v) for v in box)
    height, width = sample.shape[:2]
    if not (0 <= top < bottom <= height and 0 <= left < right <= width):
        raise DataError(f"the box of {name} is {(top, bottom, left, right)}, outside the sample of {height} x {width}")
    return top, bottom, left, right


def overlaid(
    sample: UInt8[np.ndarray, "height width 3"], heat_map: Any = None, box: tuple[int, int, int, int] | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """The sample in grey with a heat map laid over it, strongest where it is highest, and a box around a part.

    Args:
        sample: RGB bytes.
        heat_map: numbers of any scale (height, width); their lowest is shown as nothing, their highest as full colour.
        box: top, bottom, left, right; ends excluded.

    Raises:
        DataError: the heat map is not 2-D or not finite.
    """
    enlarge = max(1, LARGEST_SIDE // max(sample.shape[:2]))
    base = sample.repeat(enlarge, 0).repeat(enlarge, 1).astype(np.float64)
    height, width = base.shape[:2]
    colour = np.array(to_rgb(theme("light").second)) * 255
    if heat_map is not None:
        heat = to_numpy(heat_map, "heat_map").astype(np.float64)
        if heat.ndim != 2:
            raise DataError(f"heat_map must have shape (height, width), got {heat.shape}")
        check_finite(heat, "heat_map")
        spread = heat.max() - heat.min()
        level = (heat - heat.min()) / spread if spread > 0 else np.zeros_like(heat)
        image = Image.fromarray(level.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
        strength = 0.75 * np.asarray(image, dtype=np.float64)[:, :, None]
        grey = base.mean(2, keepdims=True).repeat(3, 2)
        base = (1 - strength) * grey + strength * colour
    if box is not None:
        top, bottom, left, right = (v * enlarge for v in box)
        line = max(1, min(height, width) // 64)
        for inset, shade in ((0, 0.0), (line, 255.0)):  # black outside white: visible on any ground
            frame = np.zeros((height, width), bool)
            frame[top + inset : bottom - inset, left + inset : right - inset] = True
            frame[top + inset + line : bottom - inset - line, left + inset + line : right - inset - line] = False
            base[frame] = shade
    return np.rint(base.clip(0, 255)).astype(np.uint8)


def _strip(found: Mapping[str, Any]) -> dict[str, Any]:
    label = str(found.get("samples_name", "further images"))
    shown = reduced(to_pixels(found["samples"], "samples"))
    sheet = tile(shown, 8, fill=True)
    return {
        "label": label[:1].upper() + label[1:],
        "note": "",
        "alt": f"{len(shown)} {label}",
        "uri": data_uri(png_bytes(sheet), "image/png"),
        "width": sheet.shape[1],
        "height": sheet.shape[0],
        "small": max(shown.shape[1:3]) < SMALL,
    }


# ---- numbers ----------------------------------------------------------------------------------------------------------


def _uncertain(row: Mapping[str, Any]) -> tuple[str, str, str]:
    meaning = str(row.get("meaning", ""))
    value = float(row["value"])
    return str(row["name"]), "not defined" if math.isnan(value) else number(value), meaning[:1].upper() + meaning[1:]


def _bars(values: Mapping[str, float], what: str, kind: str, widest: float = PAGE_WIDTH) -> Picture:
    """A picture of named numbers as bars; only the largest where there are many."""
    kept = sorted(values, key=lambda name: -abs(values[name]))[:MOST_BARS]
    if kind == "signed":
        kept.sort(key=lambda name: -values[name])
    rest = len(values) - len(kept)
    words = ", ".join(f"{name} {number(values[name])}" for name in kept)
    caption = f"{rest} smaller one{'s' if rest > 1 else ''} left out." if rest else ""
    shown = {name: values[name] for name in kept}
    return picture(lambda width: bars(shown, width=min(width, widest)), f"{what}: {words}.", caption)


def bars(values: Mapping[str, float], *, width: float = PAGE_WIDTH, look: str = "light") -> Figure:
    """Named numbers as horizontal bars, each with its number; those below zero go left in another colour."""
    names = list(values)
    numbers = np.array([values[name] for name in names], dtype=np.float64)
    with drawing(look) as colours:
        figure = new_figure(width, 0.35 + 0.26 * len(names))
        figure.set_layout_engine("constrained")
        axes = figure.add_subplot()
        places = np.arange(len(names))[::-1]
        axes.barh(places, numbers, height=0.62, color=[colours.accent if v >= 0 else colours.second for v in numbers])
        low, high = min(0.0, float(numbers.min())), max(0.0, float(numbers.max()))
        room = max(0.16, 0.9 / width) * max(high - low, 1e-12)  # for the numbers, which are as wide on a phone
        axes.set_xlim(low - (room if low < 0 else 0), high + (room if high > 0 else room * 0.2))
        if low < 0:
            axes.axvline(0, color=colours.muted, linewidth=0.8)
        for place, value in zip(places, numbers, strict=True):
            axes.annotate(
                number(float(value)),
                (value, place),
                (4 if value >= 0 else -4, 0),
                textcoords="offset points",
                va="center",
                ha="left" if value >= 0 else "right",
                fontsize=8,
                color=colours.ink,
            )
        axes.set_yticks(places, [fitted(name, 0.3 * width, 8.5) for name in names])
        axes.tick_params(length=0)
        axes.set_xticks([])
        for side in axes.spines.values():
            side.set_visible(False)
    return figure
