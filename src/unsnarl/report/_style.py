"""One look for every page and picture: two themes, one colour ramp, and the way to SVG.

Blue and vermilion stay apart for every common kind of colour blindness (Okabe and Ito 2008), and no picture says
anything by colour alone.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import unicodedata
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from unsnarl.arrays import check_choice

Look = Literal["light", "dark"]

PHONE_WIDTH = 3.73  # inches of 96 px: the text column of a phone 390 px wide
PAGE_WIDTH = 7.2
STEPS = 20  # shades of the heat-map ramp on a page
UI_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', Arial, sans-serif"


@dataclass(frozen=True)
class Theme:
    """The colours of a page and of the pictures on it; every pair of text and ground has a contrast of at least 4.5."""

    surface: str
    raised: str
    ink: str
    muted: str
    rule: str
    accent: str
    second: str
    positive: str  # deep end of the ramp for values above zero
    negative: str  # and for values below


THEMES: dict[str, Theme] = {
    "light": Theme(
        surface="#fcfbf9",
        raised="#f3f1ec",
        ink="#1a1d21",
        muted="#5a616a",
        rule="#dcd8d0",
        accent="#0b64a0",
        second="#b8440c",
        positive="#075386",
        negative="#9c3606",
    ),
    "dark": Theme(
        surface="#14171b",
        raised="#1e2329",
        ink="#e9e7e2",
        muted="#a6adb6",
        rule="#363d46",
        accent="#74bdf2",
        second="#ffa06b",
        positive="#8fd0ff",
        negative="#ffb48a",
    ),
}


def theme(look: str) -> Theme:
    """The theme of that name.

    Raises:
        OptionError: neither "light" nor "dark".
    """
    check_choice(look, tuple(THEMES), "look")
    return THEMES[look]


@contextlib.contextmanager
def drawing(look: str) -> Iterator[Theme]:
    """Matplotlib's settings while a picture is made; they are put back afterwards."""
    colours = theme(look)
    settings: Any = {
        "font.family": "DejaVu Sans",  # ships with matplotlib; a page's SVG asks for the reader's own font instead
        "font.size": 9,
        "axes.titlesize": 9.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlecolor": colours.ink,
        "axes.labelcolor": colours.muted,
        "axes.edgecolor": colours.rule,
        "axes.facecolor": "none",
        "axes.grid": False,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.unicode_minus": True,
        "figure.facecolor": colours.surface,
        "grid.color": colours.rule,
        "grid.linewidth": 0.7,
        "lines.solid_capstyle": "round",
        "text.color": colours.ink,
        "text.parse_math": False,  # a factor named "a$b$c" is a name, not a formula
        "text.usetex": False,
        "xtick.color": colours.rule,
        "xtick.labelcolor": colours.muted,
        "ytick.color": colours.rule,
        "ytick.labelcolor": colours.muted,
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "svg.fonttype": "none",
        "svg.hashsalt": "unsnarl",  # the same picture gives the same bytes
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield colours


def new_figure(width: float, height: float) -> Figure:
    """A figure of its own, on the Agg canvas and unknown to pyplot; inches."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def svg(figure: Figure) -> str:
    """The figure as an SVG document with real text in the reader's interface font and a transparent ground."""
    buffer = io.StringIO()
    fonts = logging.getLogger("matplotlib.font_manager")
    level = fonts.level
    fonts.setLevel(logging.ERROR)
    try:
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "unsnarl"}), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            figure.savefig(buffer, format="svg", facecolor="none", edgecolor="none", metadata={"Date": None})
    finally:
        fonts.setLevel(level)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    return text.replace("'DejaVu Sans'", UI_FONTS)


def darkened(drawn: str) -> str:
    """The SVG of a figure in the light theme with the dark theme's colours; half the cost of drawing it twice."""
    names = ("surface", "raised", "ink", "muted", "rule", "accent", "second")
    swap = {getattr(THEMES["light"], name): getattr(THEMES["dark"], name) for name in names}
    return re.sub(r"((?:fill|stroke): )(#[0-9a-f]{6})", lambda m: f"{m[1]}{swap.get(m[2], m[2])}", drawn)


def clean(text: object) -> str:
    """A name as one printable line: control characters and lone surrogates, which no file format takes, become "\N{REPLACEMENT CHARACTER}"."""
    return "".join("�" if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" else c for c in str(text))


def short(text: object, limit: int = 28) -> str:
    """A name that fits in a picture: one line, cut in the middle with an ellipsis when longer than `limit`.

    Examples:
        >>> short("a very long factor name indeed", 16)
        'a very lo…indeed'
    """
    line = " ".join(clean(text).split())
    if len(line) <= limit:
        return line or "(no name)"
    head = (limit - 1) * 3 // 5
    return line[:head] + "…" + line[-(limit - 1 - head) :]


@cache
def text_width(text: str, size: float = 9, weight: str = "normal") -> float:
    """How wide a text is in a picture, in inches; the reader's own font is mostly narrower."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        font = FontProperties(family="DejaVu Sans", size=size, weight=weight)
        return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) / 72


def fitted(text: object, inches: float, size: float = 9, weight: str = "normal") -> str:
    """A name cut in the middle until it is no wider than that."""
    limit = 80
    while text_width(short(text, limit), size, weight) > inches and limit > 5:
        limit = min(limit, len(short(text, limit))) - 1
    return short(text, limit)


def number(value: float, digits: int = 3) -> str:
    """A number for reading: fixed digits near one, few significant digits elsewhere, a true minus sign.

    Examples:
        >>> number(0.12345), number(-2.5), number(12345.678), number(0.00001234), number(0.0)
        ('0.123', '−2.500', '12,346', '1.23e-05', '0.000')
    """
    if value != value:
        return "–"
    size = abs(value)
    if size == float("inf"):
        text = "∞"
    elif size >= 1000:
        text = f"{size:,.0f}"
    elif size >= 10 or size == 0 or size >= 10**-digits:
        text = f"{size:.{max(digits - 1, 1) if size >= 10 else digits}f}"
    else:
        text = f"{size:.3g}"
    return ("−" if value < 0 else "") + text


@cache
def ramp(look: str) -> LinearSegmentedColormap:
    """Colours for -1..1: the negative end, the page's ground at zero, the positive end."""
    colours = theme(look)
    return LinearSegmentedColormap.from_list(f"unsnarl-{look}", [colours.negative, colours.surface, colours.positive])


def luminance(colour: Any) -> float:
    """Relative luminance as WCAG 2 defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: Any, other: Any) -> float:
    """Contrast ratio as WCAG 2 defines it, 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def readable_on(ground: Any) -> str:
    """Black or white, whichever stands out more on that ground (at least 4.58, for any ground)."""
    return max(("#000000", "#ffffff"), key=lambda text: contrast(text, ground))


def variables(look: str) -> dict[str, str]:
    """The theme as CSS variables, with the ground and the text colour of every shade of the ramp."""
    colours = theme(look)
    names = {name: getattr(colours, name) for name in ("surface", "raised", "ink", "muted", "rule", "accent", "second")}
    for step in range(1, STEPS + 1):
        for sign, prefix in ((1, "p"), (-1, "n")):
            rgb = ramp(look)(0.5 + sign * 0.5 * step / STEPS)[:3]
            names[f"{prefix}{step}"] = matplotlib.colors.to_hex(rgb)
            names[f"{prefix}{step}-ink"] = readable_on(rgb)
    return names


def shade(value: float, scale: float) -> str:
    """The CSS class of a heat-map cell: "" for about zero, else "p1".."p20" above zero or "n1".."n20" below."""
    if value != value or scale <= 0:
        return ""
    step = round(STEPS * min(abs(value) / scale, 1.0))
    return f"{'p' if value > 0 else 'n'}{step}" if step else ""
