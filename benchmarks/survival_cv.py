"""Concordance of survival models on real patients: ridge Cox, a random survival forest and PIBD on the same folds.

Run `python benchmarks/survival_cv.py [SET ...] [--models ridge,forest,pibd] [--folds 5] [--repeats 3]`. Every model is fitted
inside the fold, scaling, one-hot columns, pathways and time bins included. The standard error is corrected for the overlap of the
folds (Nadeau and Bengio 2003); the plain one is in brackets. Where a set has several modalities, ridge Cox is also run on each.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Mapping
from typing import Any

import pandas as pd

from unsnarl.data.survival import SurvivalData, load_survival
from unsnarl.measures.survival import ForestSurvival, RidgeCox, cross_validate_survival, summarize_folds

SETS = ("breast-cancer", "gbsg2", "whas500", "veterans", "aids")


def models(data: SurvivalData, chosen: list[str]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if "ridge" in chosen:
        made["ridge Cox"] = RidgeCox(alpha=100)
        if len(data.modalities) > 1:
            made |= {f"ridge Cox, {name}": RidgeCox(alpha=100, modalities=[name]) for name in data.modalities}
    if "forest" in chosen:
        made["random survival forest"] = ForestSurvival()
    if "pibd" in chosen and len(data.modalities) > 1:
        try:
            made["PIBD"] = importlib.import_module("unsnarl.systems.multimodal.pibd").PIBD()
        except (ImportError, AttributeError) as error:
            print(f"PIBD is left out: {error}", file=sys.stderr)
    return made


def markdown(tables: Mapping[str, pd.DataFrame], facts: Mapping[str, str]) -> str:
    lines = ["| data | model | C-index | s.e. (plain) | seconds a fit |", "|---|---|---|---|---|"]
    for name, table in tables.items():
        for i, (model, row) in enumerate(table.iterrows()):
            head = f"{name} ({facts[name]})" if i == 0 else ""
            lines.append(
                f"| {head} | {model} | {row['mean']:.3f} | {row['se']:.3f} ({row['se_plain']:.3f}) | {row['seconds']:.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", default=SETS)
    parser.add_argument("--models", default="ridge,forest,pibd")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    tables, facts = {}, {}
    for name in given.sets:
        began = time.perf_counter()
        data = load_survival(name)
        scores = cross_validate_survival(
            models(data, given.models.split(",")), data, given.folds, given.repeats, given.seed
        )
        tables[name] = summarize_folds(scores).join(scores.groupby("model")["seconds"].mean())
        facts[name] = f"{len(data):,} patients, {int(data.event.sum()):,} events"
        print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
    print(markdown(tables, facts))


if __name__ == "__main__":
    main()
