"""Checking the zoo: every gate of every model that is there, with a record that claims read."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from unsnarl.claims.gates._gate import Gate
from unsnarl.claims.gates._generators import Report, generator_gates
from unsnarl.claims.gates._graders import clip_gates, identity_gates, oracle_gates
from unsnarl.claims.gates._personal import personal_gates
from unsnarl.claims.gates._sprites import sprite_gates
from unsnarl.errors import FileError, UnknownNameError
from unsnarl.files import atomic_write
from unsnarl.zoo._card import GATES, asked, read_gates, weights_digest, write_card
from unsnarl.zoo._recipe import find_folder
from unsnarl.zoo._shelf import load, recipe, recipes

GENERATORS = {"sd-tiny-32", "sd3-tiny-32"}


def check_model(
    name: str, *, trained: str | Path | None = None, share: float = 1.0, report: Report | None = None
) -> list[Gate]:
    """Every gate of one model of the zoo.

    Args:
        name: of the model.
        trained: a folder of your own trainings, looked into first.
        share: of the observations, for a quick look.
        report: told (what, done, all).

    Raises:
        UnknownNameError: no such model.
        FileError: the weights of the model, or of one that grades it, are not there.
    """
    model = load(name, trained=trained)
    plain = recipe(name).name

    def grader(which: str) -> Any:
        return load(which, trained=trained)

    if plain == "oracle":
        return oracle_gates(model, max(50, round(1000 * share)))
    if plain == "identity":
        instances = max(20, round(120 * share))
        try:
            oracle = grader("oracle")
        except FileError:
            oracle = None
        return identity_gates(model, None, instances) + (identity_gates(model, oracle, instances) if oracle else [])
    if plain in ("clip-tiny", "clip-eval"):
        from unsnarl.zoo._tokenizer import scene_tokenizer

        return clip_gates(plain, model, scene_tokenizer(), max(2, round(32 * share)))
    if plain in GENERATORS:
        oracle = grader("oracle")
        given = (oracle, grader("identity"), grader("clip-eval")) if plain == "sd-tiny-32" else ()
        gates = generator_gates(plain, model, oracle, share=share, report=report)
        if given:
            gates += personal_gates(plain, model, *given, instances=max(1, round(12 * share)), report=report)
        return gates
    if plain in ("gan-tiny-32", "gan-correlated-32", "gan-regressors"):
        return sprite_gates(plain, model, grader("gan-regressors"), max(300, round(4000 * share)))
    return []  # parts of others, which are graded with them


def check_zoo(
    names: Sequence[str] | None = None,
    *,
    trained: str | Path | None = None,
    share: float = 1.0,
    record: bool = False,
    report: Callable[[str, str, int, int], None] | None = None,
) -> dict[str, list[Gate] | str]:
    """The gates of several models; in their place a sentence for a model whose weights, or whose graders', are not there.

    Args:
        names: of the models; all when absent.
        trained: a folder of your own trainings, looked into first.
        share: of the observations, for a quick look.
        record: write each model's gates beside its weights, where claims look.
        report: told (model, what, done, all).

    Raises:
        UnknownNameError: no such model.
    """
    found: dict[str, list[Gate] | str] = {}
    for name in names or recipes():
        one = recipe(name)
        plain = one.name
        try:
            folder = find_folder(plain, trained)
            start = time.perf_counter()
            told = None if report is None else partial(report, plain)
            gates = check_model(plain, trained=trained, share=share, report=told)
        except FileError as error:
            found[plain] = str(error)
            continue
        found[plain] = gates
        if record:
            write_gates(folder, gates, time.perf_counter() - start, share=share)
            write_card(one, folder)
    return found


def write_gates(folder: Path, gates: Sequence[Gate], seconds: float, *, share: float = 1.0) -> Path:
    """A model's gates as JSON in its folder, with the weights that they are of."""
    told = {
        "weights": weights_digest(folder),
        "share": share,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "seconds": round(seconds, 1),
        "gates": [gate.to_json() for gate in gates],
    }
    path = folder / GATES
    with atomic_write(path, "w") as file:
        file.write(json.dumps(told, indent=1) + "\n")
    return path


def unmet_gates(needed: Mapping[str, Sequence[str]]) -> list[str]:
    """Sentences about gates of shipped models that are not met, or were not measured in full on these weights.

    A claim that needs them is inconclusive. A generator's gates are what the oracle reads, so they need the oracle's bounded ones.

    Args:
        needed: model -> names of its gates; no names stand for all of them.

    Raises:
        UnknownNameError: no such model, or a gate that was not measured under this name.
        FileError: the weights of a model are not there.
    """
    out = []
    wanted_of = {recipe(name).name: wanted for name, wanted in needed.items()}
    if wanted_of.keys() & GENERATORS:
        wanted_of.setdefault("oracle", ())
    for plain, wanted in wanted_of.items():
        folder = find_folder(plain)
        told = read_gates(folder)
        if told is None:
            out.append(f"the gates of zoo/{plain} were not measured")
            continue
        if told.get("share", 1) < 1:
            out.append(f"the gates of zoo/{plain} were only measured on a share of {told['share']:g}")
        if told.get("weights") != weights_digest(folder):
            out.append(f"the gates of zoo/{plain} were measured on other weights")
        gates = {gate["name"]: gate for gate in told["gates"]}
        for one in wanted or gates:
            if one not in gates:
                raise UnknownNameError(f"gate of zoo/{plain}", one, list(gates))
            gate = gates[one]
            if not gate["met"]:
                value = "not a number" if gate["value"] is None else f"{gate['value']:.3f}"
                out.append(f"zoo/{plain}: {one} is {value}, asked is {asked(gate)}")
    return out
