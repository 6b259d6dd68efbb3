"""Recipe of the identity encoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unsnarl.zoo._identity import IdentityBatches, IdentityNetwork, IdentityTask
from unsnarl.zoo._networks import read_network, write_network
from unsnarl.zoo._recipe import Recipe

INSTANCES, VIEWS, STEPS = 24, 4, 2_000


def _export(task: Any, models: Mapping[str, Any], folder: Path) -> None:
    write_network(task.average.module, folder, {"network": "IdentityNetwork"})


def _load(folder: Path) -> IdentityNetwork:
    return read_network(IdentityNetwork(), folder)


IDENTITY = Recipe(
    name="identity",
    summary="a unit vector for who an object is, whatever its place, pose and background",
    make=lambda models, steps: IdentityTask(steps=steps),
    batches=lambda models: IdentityBatches(INSTANCES, VIEWS, seed=6),
    export=_export,
    load=_load,
    steps=STEPS,
    batch_size=INSTANCES * VIEWS,
    seed=6,
)
