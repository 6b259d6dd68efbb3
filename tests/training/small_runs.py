"""Very small runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from unsnarl.nn import Architecture
from unsnarl.systems.latents import QLAE, FactorVAE
from unsnarl.training import TensorBatches

TABLE = torch.from_numpy(np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32))
NETWORK = Architecture(kind="dense", hidden=(8,))
CONFIG = {"system": "test", "lr": 0.01}


def learner(kind: str, **options: Any) -> Any:
    if kind == "FactorVAE":
        return FactorVAE(3, network=NETWORK, discriminator_width=8, **options)
    return QLAE(3, levels=4, network=NETWORK, **options)


def task_of(kind: str = "QLAE", **options: Any) -> Any:
    return learner(kind, **options)._build({"shape": (5,), "likelihood": "gaussian", "n": len(TABLE)})


def batches(seed: int = 0) -> Callable[[int], tuple[torch.Tensor, ...]]:
    first, second = (TensorBatches(TABLE, batch_size=16, seed=seed, stream=i) for i in range(2))
    return lambda step: (*first(step), *second(step))


def state(task: torch.nn.Module) -> dict[str, np.ndarray]:
    """Weights and optimiser state, to be compared bit by bit."""
    found = {name: value.numpy().copy() for name, value in task.state_dict().items()}
    for phase, optimizer in task.optimizers_.items():  # type: ignore[union-attr,operator]
        for index, moments in optimizer.state_dict()["state"].items():
            found |= {f"{phase}.{index}.{key}": value.numpy().copy() for key, value in moments.items()}
    return found


def assert_identical(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    different = [name for name in a if a[name].tobytes() != b[name].tobytes()]
    assert not different


def without_seconds(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


class Stop(Exception):
    """Raised by a callback to end a run in the middle."""
