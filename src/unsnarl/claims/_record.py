"""The outcome of a claim as a JSON file: what it holds, how it is checked, written and read."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import math
import os
import platform
import subprocess
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from unsnarl.claims._statistics import COMPARISONS, RULES, VERDICTS, overall, paired_gains, verdict
from unsnarl.errors import DataError, FileError, OptionError
from unsnarl.files import atomic_write, check_readable

PACKAGES = ("unsnarl", "torch", "numpy", "scipy", "scikit-learn")
DECIDING = ("central", "guard")

_TOP: dict[str, tuple[type, ...]] = {
    "slug": (str,),
    "title": (str,),
    "statement": (str,),
    "verdict": (str,),
    "rows": (list,),
    "tuning": (list,),
    "settings": (dict,),
    "machine": (dict,),
    "versions": (dict,),
    "date": (str,),
    "seconds": (int, float),
    "notes": (str,),
}
_ROW: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "metric": (str,),
    "higher_is_better": (bool,),
    "seeds": (list,),
    "system": (list,),
    "baseline": (list,),
    "minimum_effect": (int, float),
    "difference": (dict,),
    "verdict": (str,),
}


def write_record(record: Mapping[str, Any], folder: str | os.PathLike[str] = "docs/claims") -> Path:
    """Check a record and write it as `folder/SLUG.json`, whole or not at all.

    Raises:
        OptionError: the record is of a quick run, whose numbers mean nothing.
        DataError: the record is not what `check_record` asks for.
        FileError: it cannot be written.
    """
    if record.get("quick"):
        raise OptionError("a quick run is a smoke test and is never recorded; run the claim without quick")
    check_record(record)
    where = Path(folder)
    try:
        where.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot make the folder {folder}: {error.strerror}") from None
    path = where / f"{record['slug']}.json"
    with atomic_write(path, "w") as file:
        json.dump(record, file, indent=1, allow_nan=False)
        file.write("\n")
    return path


def read_record(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A claim's record from its JSON file, checked as when it was written.

    Raises:
        FileError: the file is missing, damaged, or says something that its own numbers do not.
    """
    where = check_readable(path)
    try:
        record = json.loads(where.read_text(encoding="utf-8"), parse_constant=_refuse)
        check_record(record)
    except (ValueError, RecursionError) as error:  # JSONDecodeError, UnicodeDecodeError and DataError are ValueErrors
        raise FileError(f"{os.fspath(path)} is not a claim's record: {error}") from None
    return record


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not allowed, a number that does not exist is null")


def check_record(record: Any) -> None:
    """Refuse a record with a missing or wrong entry, or whose means or verdicts do not follow from its numbers.

    Raises:
        DataError: names the entry.
    """
    _check_entries(record, _TOP, "the record")
    _check_numbers(record, "the record")
    if not record["rows"]:
        raise DataError("the record has no rows")
    for row in record["rows"]:
        _check_entries(row, _ROW, "a row")
        _check_row(row)
    names = [row["name"] for row in record["rows"]]
    if len(set(names)) < len(names):
        raise DataError("two rows have the same name")
    deciding = [row["verdict"] for row in record["rows"] if row.get("role", "central") in DECIDING]
    if not deciding:
        raise DataError("no row is central")
    expected = "inconclusive" if record.get("unmet_gates") else overall(deciding)
    if record["verdict"] != expected:
        raise DataError(f"the verdict is {record['verdict']!r} but its rows and gates say {expected!r}")


def _check_entries(entry: Any, wanted: Mapping[str, tuple[type, ...]], what: str) -> None:
    if not isinstance(entry, Mapping):
        raise DataError(f"{what} is not an object")
    for name, types in wanted.items():
        if name not in entry:
            raise DataError(f"{what} lacks {name!r}")
        value = entry[name]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise DataError(f"{what} has {name}={value!r}, which is not {' or '.join(t.__name__ for t in types)}")


def _check_row(row: Mapping[str, Any]) -> None:
    what = f"row {row['name']!r}"
    for name in ("system", "baseline"):
        if not all(value is None or _is_number(value) for value in row[name]):
            raise DataError(f"{what}: {name} must hold numbers or null")
    if not all(isinstance(seed, int) and not isinstance(seed, bool) for seed in row["seeds"]):
        raise DataError(f"{what}: seeds must be integers")
    n = len(row["seeds"])
    if not n or len(set(row["seeds"])) < n:
        raise DataError(f"{what}: seeds must be different and at least one")
    if len(row["system"]) != n or len(row["baseline"]) != n:
        raise DataError(
            f"{what} has {n} seeds, {len(row['system'])} numbers of the system and {len(row['baseline'])} of the baseline"
        )
    difference = row["difference"]
    for name in ("mean", "low", "high"):
        if name not in difference or not (difference[name] is None or _is_number(difference[name])):
            raise DataError(f"{what}: difference must have {name!r}, a number or null")
    rule, compare = row.get("rule", RULES[0]), row.get("compare", COMPARISONS[0])
    if row["verdict"] not in VERDICTS or rule not in RULES or compare not in COMPARISONS:
        raise DataError(f"{what} has an unknown verdict, rule or comparison")
    gains = paired_gains(
        _numbers(row["system"]), _numbers(row["baseline"]), higher_is_better=row["higher_is_better"], compare=compare
    )
    found = [gain for gain in gains.tolist() if math.isfinite(gain)]
    mean = math.fsum(found) / len(found) if found else None
    told = difference["mean"]
    if (mean is None) != (told is None) or (mean is not None and not math.isclose(mean, told, abs_tol=1e-9)):
        raise DataError(f"{what} gives the mean difference {told} where its numbers give {mean}")
    low, high = difference["low"], difference["high"]
    if (low is None) != (high is None) or (low is not None and not low - 1e-9 <= told <= high + 1e-9):
        raise DataError(f"{what} has an interval that does not enclose its mean")
    if row["verdict"] != row_verdict(told, low, high, row["minimum_effect"], rule, complete=len(found) == n):
        raise DataError(f"{what} is called {row['verdict']!r}, which is not what its numbers say")


def row_verdict(
    mean: float | None, low: float | None, high: float | None, minimum_effect: float, rule: str, *, complete: bool
) -> str:
    """The verdict of a row; one that lacks a seed's number is inconclusive, since the missing ones may be the worst."""
    if mean is None or not complete:
        return "inconclusive"
    return verdict(low, high, minimum_effect, mean=mean, rule=rule)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _numbers(values: list[float | None]) -> list[float]:
    return [math.nan if value is None else float(value) for value in values]


def _check_numbers(value: Any, what: str) -> None:
    """Refuse NaN and infinity anywhere, and keys that JSON would change."""
    if isinstance(value, float) and not math.isfinite(value):
        raise DataError(f"{what} holds {value}; a number that does not exist is None")
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise DataError(f"{what} has the key {name!r}, which is not a string")
            _check_numbers(inner, f"{what}'s {name}")
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_numbers(inner, what)
    elif not (value is None or isinstance(value, str | int | float)):
        raise DataError(f"{what} holds a {type(value).__name__}, which is not a plain value")


def today() -> str:
    """The day in UTC, such as "2025-01-31"."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def versions() -> dict[str, str]:
    """The versions of Python and of the packages the numbers depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """The kind of machine this is: processor model, cores, memory, operating system; nothing that tells which one."""
    memory = _memory_bytes()
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count() or 1,
        "memory_gb": round(memory / 2**30, 1) if memory else None,
        "os": f"{platform.system()} {platform.machine()}",
    }


@lru_cache(maxsize=1)
def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lower().startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    except OSError:
        pass
    if platform.system() == "Darwin":
        asked = subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, timeout=5, check=False
        )
        if asked.stdout.strip():
            return asked.stdout.strip()
    return platform.processor() or platform.machine() or "unknown"


def _memory_bytes() -> int | None:
    try:
        return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # not a POSIX system
        return None
