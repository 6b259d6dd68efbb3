"""What code a result came from: a digest of the modules an arm depends on, so that stale results are not reused.

Only what runs counts: comments, docstrings and layout do not, and neither does the `claim = Claim(...)` statement
(arms' options are part of a result's key; titles, notes and rows do not change a run).
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from unsnarl.errors import OptionError

NUMERICAL = ("torch", "numpy", "scipy", "scikit-learn")
"""Packages whose version is part of the fingerprint."""

AROUND = ("unsnarl.errors", "unsnarl.lazy", "unsnarl.files", "unsnarl.catalog", "unsnarl.cli", "unsnarl.report")
"""Modules that surround a run without touching its numbers, left out when imports are followed."""

ENGINE = (
    "unsnarl",
    "unsnarl.claims",
    *(
        f"unsnarl.claims._{part}"
        for part in (
            "assemble",
            "bench",
            "claim",
            "context",
            "engine",
            "fingerprint",
            "jobs",
            "progress",
            "record",
            "statistics",
        )
    ),
)


def fingerprint(module: str, sources: Sequence[str] | None = None) -> str:
    """A short digest of the code that results of a claim depend on, and of the numerical packages' versions.

    Args:
        module: the module that defines the arms.
        sources: further modules, a package standing for all its files; None follows the imports of `module` within
            its own package and unsnarl, names that a package passes on being traced to where they are defined.

    Raises:
        OptionError: a listed module does not exist.
    """
    if sources is None:
        files = _closure(module)
    else:
        files = _files(module)
        for name in sources:
            found = _files(name)
            if not found:
                raise OptionError(f"sources names the module {name!r}, which does not exist")
            files |= found
    digest = hashlib.sha256()
    for package in NUMERICAL:
        digest.update(f"{package} {_version(package)}\n".encode())
    for name in sorted(files):
        digest.update(f"{name}\n{_read(name, files[name]).code}\n".encode())
    return digest.hexdigest()[:16]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _files(name: str) -> dict[str, Path]:
    """Module name -> source file, for a module or for all modules of a package."""
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    if module is None or spec is None:
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            spec = None
    origin = getattr(module, "__file__", None) or (spec.origin if spec else None)
    if not origin or not origin.endswith(".py"):
        return {}
    files = {name: Path(origin)}
    if Path(origin).name == "__init__.py":
        root = Path(origin).parent
        for path in root.rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            files[".".join((name, *(p for p in parts if p != "__init__")))] = path
    return files


def _file(name: str) -> Path | None:
    return _files(name).get(name)


class _Source(NamedTuple):
    """What is of interest in a file: its code without prose, and each (module, name taken from it) that it imports."""

    code: str
    imports: tuple[tuple[str, str], ...]


def _read(name: str, path: Path) -> _Source:
    stat = path.stat()
    return _parsed(name, path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=1024)
def _parsed(name: str, path: Path, changed: int, size: int) -> _Source:
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=path.name)
    imports = tuple(dict.fromkeys(_imports(name, path, tree)))
    tree.body = [statement for statement in tree.body if not _makes_claim(statement)]
    return _Source(ast.dump(_NoDocstrings().visit(tree)), imports)


def _makes_claim(statement: ast.stmt) -> bool:
    """Whether a statement is `claim = Claim(...)`."""
    if not isinstance(statement, ast.Assign | ast.AnnAssign) or not isinstance(statement.value, ast.Call):
        return False
    return ast.unparse(statement.value.func).rpartition(".")[2] == "Claim"


class _NoDocstrings(ast.NodeTransformer):
    """Drop statements that are only a string."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        is_prose = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_prose else self.generic_visit(node)


def _closure(module: str) -> dict[str, Path]:
    """The modules that a module reaches by imports within its own top package and unsnarl."""
    tops = {module.partition(".")[0], "unsnarl"}
    files: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = None if name in files or _is_around(name) else _file(name)
        if path is None:
            continue
        files[name] = path
        for base, imported in _read(name, path).imports:
            if base.partition(".")[0] in tops:
                waiting.extend(name for name in _defined_in(base, imported) if name.partition(".")[0] in tops)
    return files


def _is_around(name: str) -> bool:
    return name in ENGINE or any(name == around or name.startswith(around + ".") for around in AROUND)


def _imports(name: str, path: Path, tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Each (module, name taken from it) that a file imports; the name is empty where the module itself is imported."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in _running(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            above = parents[: len(parents) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((base, alias.name) for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "unsnarl":
            yield "unsnarl", node.attr


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield child
        yield from _running(child)


def _defined_in(base: str, name: str) -> Iterator[str]:
    """The module that defines a name imported from `base`; all of a package when the name is one, or cannot be told."""
    if base == "unsnarl" and not name:  # what is used of it shows as `unsnarl.name`
        return
    if not name:
        yield from _files(base)
        return
    yield base
    try:
        value = getattr(importlib.import_module(base), name)
    except (ImportError, AttributeError):
        yield from _files(f"{base}.{name}") or _files(base)
        return
    if isinstance(value, ModuleType):
        yield from _files(value.__name__)
        return
    home = getattr(value, "__module__", None)
    if isinstance(home, str) and home.partition(".")[0] == base.partition(".")[0] and _file(home):
        yield home
    else:  # a constant or an alias does not know where it was defined
        yield from _files(base)
