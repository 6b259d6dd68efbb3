"""One HTML file that needs nothing else: styles, pictures and the few lines of script are in it.

Whatever came from data is escaped by the templates. As a second lock the page carries a content security policy under
which a browser loads no file from anywhere and runs no script but the one below, whose hash it states.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from unsnarl.errors import FileError, OptionError
from unsnarl.files import atomic_write
from unsnarl.report import _style
from unsnarl.report._style import PAGE_WIDTH, PHONE_WIDTH, clean

PHONE = "(max-width: 640px)"
DARK = "(prefers-color-scheme: dark)"


@dataclass(frozen=True)
class Source:
    """One rendering of a picture and the screens it is for ("" for all others)."""

    media: str
    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Picture:
    """A picture in the renderings a page needs; the last source is the fallback."""

    sources: list[Source]
    alt: str
    caption: str = ""


def picture(make: Callable[[float], Figure], alt: str, caption: str = "") -> Picture:
    """Render a figure for phone and desktop, light and dark.

    Args:
        make: draws the figure in the light theme's colours for a width in inches.
        alt: the picture in words.
        caption: a line under it.
    """
    sources = []
    for width, screen in ((PHONE_WIDTH, PHONE), (PAGE_WIDTH, "")):
        figure = make(width)
        inches = figure.get_size_inches()
        drawn = _style.svg(figure)
        for text, scheme in ((_style.darkened(drawn), DARK), (drawn, "")):
            media = " and ".join(part for part in (screen, scheme) if part)
            uri = data_uri(text.encode(), "image/svg+xml")
            sources.append(Source(media, uri, round(96 * inches[0]), round(96 * inches[1])))
    return Picture(sources, alt, caption)


def data_uri(content: bytes, kind: str) -> str:
    """The content as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def check_target(to: Any) -> Path:
    """Refuse a target that cannot be written before any work is done; no folder is created.

    Raises:
        OptionError: not a path.
        FileError: a folder, in a folder that does not exist, or not writable.
    """
    if not isinstance(to, str | os.PathLike) or not os.fspath(to):
        raise OptionError(f"to={to!r} must be the path of the file to write, such as 'report.html'")
    target = Path(to)
    if target.is_dir():
        raise FileError(f"cannot write {target}: it is a folder; name a file in it")
    parent = Path(os.path.realpath(target)).parent
    if not parent.is_dir():
        raise FileError(f"cannot write {target}: the folder {parent} does not exist; make it first")
    if not os.access(parent, os.W_OK):
        raise FileError(f"cannot write {target}: the folder {parent} is not writable")
    return target


def write_page(template: str, target: Path, **content: Any) -> Path:
    """Fill a template and write the file whole or not at all."""
    page = environment().get_template(template).render(**content)
    with atomic_write(target, "w") as file:
        file.write(page)
    return target


@cache
def environment() -> Environment:
    """The templates, with escaping switched on for every one of them."""
    made = Environment(
        loader=PackageLoader("unsnarl.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) or not isinstance(value, str) else clean(value),
    )
    script = made.loader.get_source(made, "copy.js")[0].strip() if made.loader else ""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    made.globals.update(
        light=_style.variables("light"),
        dark=_style.variables("dark"),
        shades=[f"{sign}{step}" for sign in "pn" for step in range(1, _style.STEPS + 1)],
        script=Markup(script),
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'",
    )
    return made
