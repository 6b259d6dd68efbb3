"""The card of a model of the zoo, beside its weights: what it is, how it came about, what it can and cannot do."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unsnarl.files import atomic_write
from unsnarl.zoo._recipe import Recipe

CURVE, GATES, CARD = "curve.csv", "gates.json", "README.md"
CURVE_ROWS = 150


def write_curve(metrics: Sequence[dict[str, Any]], folder: Path) -> None:
    """Losses of a training as a table of at most 150 rows, each the mean of its stretch; the step is the stretch's last."""
    rows = [row for row in metrics if any(name.rpartition(".")[2] == "loss" for name in row)]
    if not rows:
        return
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in ("seconds", "step")]
    length = -(-len(rows) // CURVE_ROWS)
    with atomic_write(folder / CURVE, "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", *names])
        for start in range(0, len(rows), length):
            part = rows[start : start + length]
            writer.writerow([part[-1]["step"], *(_mean([row[name] for row in part if name in row]) for name in names)])


def _mean(values: Sequence[float]) -> str:
    return f"{math.fsum(values) / len(values):.5g}" if values else ""  # what is not computed at every step


def write_card(recipe: Recipe, folder: Path) -> Path:
    """README.md of a model's folder, with its gates if they were measured.

    Raises:
        FileError: the folder cannot be written.
    """
    path = folder / CARD
    with atomic_write(path, "w") as file:
        file.write(card_text(recipe, folder))
    return path


def card_text(recipe: Recipe, folder: Path) -> str:
    """The text of the card."""
    lines = [
        "---",
        "license: apache-2.0",
        "library_name: unsnarl",
        "tags: [disentangling, synthetic-scenes]",
        "---",
        f"# zoo/{recipe.name}",
        "",
        f"{recipe.summary[0].upper()}{recipe.summary[1:]}.",
        "",
        f'Load it with `unsnarl.zoo.load("{recipe.name}")`; train it again with `unsnarl zoo train {recipe.name}`.',
        "",
        "## Training",
        "",
        f"- data: {recipe.data}, endless and synthetic, seed {recipe.seed}",
        f"- {recipe.steps:,} steps of {recipe.batch_size} observations",
    ]
    if recipe.needs:
        lines.append(f"- stands on {', '.join(f'zoo/{name}' for name in recipe.needs)}")
    lines += [f"- {name}: `{json.dumps(value)}`" for name, value in recipe.settings.items()]
    if (folder / CURVE).is_file():
        lines.append(f"- losses over the steps: {CURVE}")
    lines += ["", "## Gates", ""]
    gates = read_gates(folder)
    if gates is None:
        lines.append("Not measured yet; `unsnarl zoo check` measures them.")
    else:
        partly = (
            ""
            if gates.get("share", 1) >= 1
            else f" on a share of {gates['share']:g} of the observations, which is not enough"
        )
        lines += [
            f"Measured on {gates['date']} by `unsnarl zoo check`{partly}; those without a bound are told, not asked.",
            "",
        ]
        lines += ["| what | value | standard error | asked | n |", "|---|---|---|---|---|"]
        lines += [_row(gate) for gate in gates["gates"]]
    lines += [
        "",
        "## Limits",
        "",
        "It knows small rendered images, the words of their captions where there are any, and nothing of photographs or language. Its use is to try",
        "methods where the truth behind every image is known.",
        "",
    ]
    return "\n".join(lines)


def weights_digest(folder: Path) -> str:
    """A digest of all weights in a model's folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        digest.update(path.relative_to(folder).as_posix().encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def read_gates(folder: Path) -> dict[str, Any] | None:
    """The recorded gates of a model's folder; None if there are none."""
    path = folder / GATES
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def asked(gate: dict[str, Any]) -> str:
    """What a recorded gate asks: "at least 0.9", "0.45 to 0.55", or nothing."""
    low, high = gate["low"], gate["high"]
    if low is None and high is None:
        return ""
    if high is None:
        return f"at least {low:g}"
    return f"at most {high:g}" if low is None else f"{low:g} to {high:g}"


def _row(gate: dict[str, Any]) -> str:
    value, error = ("" if v is None else f"{v:.3f}" for v in (gate["value"], gate["error"]))
    missed = "" if gate["met"] else " (not met)"
    return f"| {gate['name']} | {value}{missed} | {error} | {asked(gate)} | {gate['n'] or ''} |"
