"""What the training loop costs: `unsnarl.training.train` against a bare PyTorch loop.

Same networks, data, batches, optimiser and clip; blocks of steps of the bare loop, of ours and of ours through a Lightning
Fabric take turns in one process, and each turn gives one ratio. Run `python benchmarks/training.py`.

The targets: at most 5% more time a step where a step takes 5 ms or more, at most 0.15 ms more otherwise.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import numpy as np
import torch

from unsnarl.nn import Architecture
from unsnarl.systems.latents import AE
from unsnarl.training import TensorBatches, as_input, clip_gradients, train


@dataclass
class Case:
    """A model and its data."""

    name: str
    data: torch.Tensor
    network: Architecture | str
    batch_size: int
    block: int  # steps a turn

    def task(self) -> Any:
        """The autoencoder, untrained."""
        shape = tuple(self.data.shape[1:])
        likelihood = "bernoulli" if len(shape) == 3 else "gaussian"
        return AE(8, network=self.network)._build({"shape": shape, "likelihood": likelihood, "n": len(self.data)})


def cases() -> list[Case]:
    """From a step that is all overhead to one that is all work."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2000, 3, 32, 32), generator=generator, dtype=torch.uint8)
    return [
        Case(
            "tiny MLP, 16-32-8",
            torch.randn(2000, 16, generator=generator),
            Architecture("dense", hidden=(32,)),
            64,
            200,
        ),
        Case("MLP, 256-256-256-8", torch.randn(2000, 256, generator=generator), "laptop-dense", 128, 100),
        Case("laptop conv, 3x32x32", images, "laptop", 16, 10),
    ]


class Bare:
    """The loop one would write by hand."""

    def __init__(self, case: Case):
        self.case, self.task = case, case.task().train()
        (self.optimizer,) = self.task.optimizers().values()
        self.generator = torch.Generator().manual_seed(0)
        self.order, self.place = torch.empty(0, dtype=torch.long), 0

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        """What the task's `forward` computes."""
        x = self.task.to_network(x)
        return self.task.reconstruction_loss(self.task.decoder(self.task.encoder(x)), x)

    def __call__(self) -> None:
        data, size, optimizer = self.case.data, self.case.batch_size, self.optimizer
        for _ in range(self.case.block):
            if self.place + size > len(self.order):
                self.order, self.place = torch.randperm(len(data), generator=self.generator), 0
            x = as_input(data[self.order[self.place : self.place + size]])
            self.place += size
            optimizer.zero_grad()
            loss = self.loss(x)
            loss.backward()
            clip_gradients(optimizer)
            optimizer.step()


class Ours:
    """`train`, one call a turn."""

    def __init__(self, case: Case, fabric: Any = None):
        self.case, self.task, self.fabric = case, case.task(), fabric
        self.batches = TensorBatches(case.data, batch_size=case.batch_size)

    def __call__(self) -> None:
        with contextlib.redirect_stderr(io.StringIO()):
            train(self.task, self.batches, steps=self.case.block, fabric=self.fabric)


def turns(loops: dict[str, Callable[[], None]], repeats: int, clock: Callable[[], float]) -> dict[str, np.ndarray]:
    """Seconds of each loop in each turn; who goes first changes from turn to turn."""
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    names = list(loops)
    for repeat in range(repeats + 1):
        for name in names[repeat % len(names) :] + names[: repeat % len(names)]:
            began = clock()
            loops[name]()
            seconds[name].append(clock() - began)
    return {name: np.array(values[1:]) for name, values in seconds.items()}  # the first turn warms up


def line(name: str, ours: np.ndarray, bare: np.ndarray, block: int) -> str:
    """Median and quartiles of the ratio, and the extra milliseconds a step."""
    low, ratio, high = np.percentile(ours / bare, [25, 50, 75])
    step, extra = np.median(bare) / block * 1000, np.median(ours - bare) / block * 1000
    met = ratio <= 1.05 if step >= 5 else extra <= 0.15
    return (
        f"  {name:12} {np.median(ours) / block * 1000:8.3f} ms a step, ratio {ratio:.3f} (quartiles {low:.3f} to {high:.3f}), "
        f"{extra:+.3f} ms a step  {'ok' if met else 'ABOVE THE TARGET'}"
    )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--clock", choices=["cpu", "wall"], default="cpu", help="wall only where nothing else runs")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    options = parser.parse_args()
    from lightning.fabric import Fabric

    clock = time.perf_counter if options.clock == "wall" else time.process_time
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread, {options.clock} time, {options.repeats} turns")
    for case in cases():
        if options.only not in case.name:
            continue
        fabric = Fabric(accelerator="cpu", devices=1)
        loops = {"bare": Bare(case), "train": Ours(case), "with Fabric": Ours(case, fabric)}
        found = turns(loops, options.repeats, clock)
        print(f"{case.name}: bare {np.median(found['bare']) / case.block * 1000:.3f} ms a step")
        for name in ("train", "with Fabric"):
            print(line(name, found[name], found["bare"], case.block))


if __name__ == "__main__":
    main()
