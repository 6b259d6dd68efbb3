"""Where a page comes from: the lines of Python that make its model, the versions of what was used, the day."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any

from unsnarl.report._curves import curve_columns

PACKAGES = ("torch", "numpy", "scikit-learn", "lightning")


def today() -> str:
    day = datetime.date.today()
    return f"{day.day} {day:%B %Y}"


def environment(told: Mapping[str, Any], packages: tuple[str, ...] = PACKAGES) -> list[tuple[str, str]]:
    """Names and versions of the library, of Python and of packages that are there, the kind of machine, and what else is told."""
    from unsnarl import __version__

    facts = [("unsnarl", __version__), ("Python", platform.python_version())]
    facts += [(name, version) for name in packages if (version := _version(name))]
    facts.append(("machine", f"{platform.system()} {platform.machine()}"))
    return facts + [(name, one_line(value)) for name, value in told.items()]


def constructor_lines(model: Any, params: Mapping[str, Any]) -> list[str]:
    """The call that makes a model with these parameters, a line each, with the import that it needs."""
    kind = type(model)
    public = kind.__module__.startswith("unsnarl.")
    start = [""] if public else [f"from {kind.__module__} import {kind.__name__}", ""]
    name = f"unsnarl.{kind.__name__}" if public else kind.__name__
    if not params:
        return [*start, f"model = {name}()"]
    return [*start, f"model = {name}(", *(f"    {k}={one_line(v)}," for k, v in params.items()), ")"]


def trained_lines(model: Any) -> list[str]:
    """How far it was trained, which is no parameter of the model."""
    history = getattr(model, "history_", None)
    if history is None or not len(history):
        return []
    return [f"model.fit(...)  # its history ends at step {int(curve_columns(history)[0]['step'].max()):,}"]


def one_line(value: Any, limit: int = 160) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
