"""What several commands share: options, words of the command line, places to write to."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from unsnarl.errors import FileError, OptionError

Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Bootstrap = Annotated[
    int | None,
    typer.Option(help="Half-samples for the 95% intervals; 0 for none. When left out: as many as a minute allows."),
]


def pair(text: str, option: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise OptionError(f"{option} {text!r} must have the form NAME=VALUE")
    return name.strip(), value.strip()


def value_of(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"True": True, "False": False, "None": None}.get(text, text)


def check_writable(*paths: Path | None) -> None:
    """Complain about a place that cannot be written before the long work, not after."""
    for path in paths:
        if path is None:
            continue
        if path.is_dir():
            raise FileError(f"{path} is a directory; name a file in it, such as {path / 'report.html'}")
        if not path.parent.is_dir():
            raise FileError(f"the directory {path.parent} does not exist; make it first")


def write_json(path: Path, value: Any) -> None:
    from unsnarl.files import atomic_write

    with atomic_write(path, "w") as file:
        file.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def command_line() -> str:
    import shlex

    return "unsnarl " + " ".join(shlex.quote(word) for word in sys.argv[1:])
