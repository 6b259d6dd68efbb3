"""Recipe of the identity encoder."""

from __future__ import annotations

from pathlib import Path

from unsnarl.zoo._identity import IdentityBatches, IdentityNetwork, IdentityTask
from unsnarl.zoo._networks import average_writer, read_network
from unsnarl.zoo._recipe import Recipe

INSTANCES, VIEWS, STEPS = 24, 4, 2_000


def _load(folder: Path) -> IdentityNetwork:
    return read_network(IdentityNetwork(), folder)


IDENTITY = Recipe(
    name="identity",
    summary="a unit vector for who an object is, whatever its place, pose and background",
    make=lambda models, steps: IdentityTask(steps=steps),
    batches=lambda models: IdentityBatches(INSTANCES, VIEWS, seed=6),
    export=average_writer("IdentityNetwork"),
    load=_load,
    steps=STEPS,
    batch_size=INSTANCES * VIEWS,
    seed=6,
)
