"""Public names that import their module only when they are first used, so that `import unsnarl` stays quick."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def attach(
    package: str, names: Mapping[str, str], rooms: Iterable[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` for a package whose public names live in other modules.

    Args:
        package: the package's `__name__`.
        names: public name -> the module that holds it, relative (".data") or absolute.
        rooms: subpackages that are attributes too (`unsnarl.information.entropy` without a second import).
    """
    rooms = tuple(rooms)

    def __getattr__(name: str) -> Any:
        if name in names:
            value = getattr(importlib.import_module(names[name], package), name)
        elif name in rooms:
            value = importlib.import_module(f".{name}", package)
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:
        return sorted({*names, *rooms, *vars(sys.modules[package])})

    return __getattr__, __dir__, sorted(names)
