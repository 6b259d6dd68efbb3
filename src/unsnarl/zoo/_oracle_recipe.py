"""Recipe of the oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unsnarl.data.scenes import SceneStream, render_scenes, to_signed
from unsnarl.training import EMA, Task
from unsnarl.zoo._degrade import degrade
from unsnarl.zoo._networks import average_writer, read_network
from unsnarl.zoo._oracle import Oracle, OracleNetwork, OracleTargets, oracle_loss, targets_of
from unsnarl.zoo._recipe import Recipe
from unsnarl.zoo._schedule import adamw, restarting_rate, set_rate

BATCH, STEPS, DEGRADED = 32, 21_000, 0.5
RESTART = 9_000  # step at which the learning rate rises again: what it read rightly went on rising with training


class OracleTask(Task):
    """The sum of the oracle's losses; the network kept is the average over the last steps.

    Args:
        steps: over which the learning rate falls, twice if they are more than `restart`.
        lr: highest learning rate.
        degraded: share of the images made worse.
        restart: step at which the learning rate rises again.
    """

    def __init__(self, *, steps: int, lr: float = 2e-3, degraded: float = DEGRADED, restart: int = RESTART):
        super().__init__()
        self.network = OracleNetwork()
        self.average = EMA(self.network, steps=200)
        self.cycles = (restart, steps - restart) if steps > restart else (steps,)
        self.lr, self.degraded = lr, degraded

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """AdamW."""
        optimizer = adamw(self.network, lr=self.lr, weight_decay=0.01, betas=(0.9, 0.99), clip_norm=5.0)
        self.average.follow(self.network, optimizer)
        return {"main": optimizer}

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """All losses and their sum."""
        set_rate(self.optimizers_["main"], restarting_rate(step, self.cycles, 200))
        images, *targets = batch
        losses = oracle_loss(self.network(degrade(images, generator, self.degraded)), OracleTargets(*targets))
        return {"loss": torch.stack(list(losses.values())).sum(), **losses}


class OracleBatches:
    """Step t -> images and `OracleTargets` of its scenes; every tenth scene shows a held-out pair."""

    def __init__(self, batch_size: int, seed: int):
        self.batch_size, self.seed = batch_size, seed
        self.stream, self.held_out = SceneStream(seed), SceneStream(seed, held_out="only")

    def __call__(self, step: int) -> tuple[Tensor, ...]:
        rare = self.batch_size // 10
        scenes = self.stream.scenes(range(step * self.batch_size, (step + 1) * self.batch_size - rare))
        scenes += self.held_out.scenes(range(step * rare, (step + 1) * rare))
        return scene_tensors(scenes)


def scene_tensors(scenes: Any) -> tuple[Tensor, ...]:
    """Signed images and the oracle's targets of scenes."""
    drawn = render_scenes(scenes)
    return to_signed(drawn.images), *targets_of(scenes, drawn).tensors()


def _load(folder: Path) -> Oracle:
    return Oracle(read_network(OracleNetwork(), folder), mirrored=True)


ORACLE = Recipe(
    name="oracle",
    summary="reads every factor of a scene from its image; grades edits",
    make=lambda models, steps: OracleTask(steps=steps),
    batches=lambda models: OracleBatches(BATCH, seed=5),
    export=average_writer("OracleNetwork"),
    load=_load,
    steps=STEPS,
    batch_size=BATCH,
    seed=5,
    settings={"degraded": DEGRADED, "restart": RESTART},
)
