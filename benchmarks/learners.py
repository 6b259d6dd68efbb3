"""The learners on several modalities and on images: what our loop costs them, and what predicting for many rows costs.

python benchmarks/learners.py            # training against a bare loop
python benchmarks/learners.py --many     # also predictions for 1,000 and 10,000 rows: seconds and peak memory

*Training.* Every learner is asked to fit; its task and its batches are caught where they enter `unsnarl.training.train`, and blocks of
steps of a bare PyTorch loop on the same task, batches, optimisers and clips take turns with ours. The target: at most 5% more time a
step where a step takes 5 ms or more, at most 0.15 ms more otherwise.

*Predictions.* Each in a fresh process; the peak is what the process holds beyond what it held with the data in memory.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import time
import warnings
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import numpy as np
import torch

import unsnarl.systems._learner as base
from unsnarl.training import clip_gradients, train

BLOCK = 8


def patients(n: int) -> Any:
    """Bags of 16 to 24 patches of 64 numbers, and six pathways."""
    from unsnarl.data import simulate_bags

    return simulate_bags(n, seed=0, patches=(16, 24), features=64)


def sentences(n: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Twenty words: vectors, voice and face."""
    rng = np.random.default_rng(0)
    sizes = {"text": 384, "audio": 24, "vision": 35}
    values = {name: rng.normal(size=(n, 20, d)).astype(np.float32) for name, d in sizes.items()}
    return values, np.clip(rng.normal(size=n), -3, 3).astype(np.float32)


def pictures(n: int, side: int, channels: int) -> tuple[torch.Tensor, np.ndarray]:
    """Noise of ten classes."""
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.random((n, channels, side, side), dtype=np.float32)), np.arange(n) % 10


def learner(name: str, n: int) -> tuple[Any, tuple[Any, ...]]:
    """A learner and what it is fitted on."""
    import unsnarl
    from unsnarl.systems.multimodal import LateFusionSurvival

    if name == "PIBD":
        return unsnarl.PIBD(z_dim=64, epochs=1), (patients(n),)
    if name == "late fusion":
        return LateFusionSurvival(z_dim=64, epochs=1), (patients(n),)
    if name == "ITHP":
        return unsnarl.ITHPRegressor(None), sentences(n)
    if name == "DLF":
        modalities, y = sentences(n)
        return unsnarl.DLF(None, d=32, heads=4, kernel=3), (modalities, None, None, y)
    if name == "Prob-PSENN":
        return unsnarl.ProbPSENN(network="dense", z_dim=10, pretrain_epochs=1, epochs=1), pictures(n, 8, 1)
    return unsnarl.ProtoPNet(per_class=4, epochs=2, warm_epochs=1, push_start=1, last_epochs=1), pictures(n, 64, 3)


NAMES = ("PIBD", "late fusion", "ITHP", "DLF", "Prob-PSENN", "ProtoPNet")


class Caught(Exception):
    """Carries the task and its batches out of `fit`."""


def caught(name: str) -> tuple[Any, Any, int]:
    """Task, batches and seed of the first training of a learner."""

    def catch(task: Any, batches: Any, *, seed: int = 0, **_: Any) -> Any:
        raise Caught(task, batches, seed)

    model, data = learner(name, 256)
    keep, base.train = base.train, catch
    try:
        model.fit(*data)
    except Caught as found:
        return found.args  # type: ignore[return-value]
    finally:
        base.train = keep
    raise SystemExit(f"{name} did not train")


class Bare:
    """The loop one would write by hand around a task."""

    def __init__(self, name: str):
        self.task, self.batches, _ = caught(name)
        self.optimizers = self.task.prepare()
        self.generator, self.step = torch.Generator(), 0

    def __call__(self) -> None:
        self.task.train()
        for _ in range(BLOCK):
            batch = self.batches(self.step % BLOCK)
            for phase in self.task.schedule(self.step % BLOCK):
                self.generator.manual_seed(self.step)
                loss = self.task(phase, batch, self.step % BLOCK, self.generator)["loss"]
                optimizer = self.optimizers[phase]
                optimizer.zero_grad()
                loss.backward()
                clip_gradients(optimizer)
                optimizer.step()
            self.step += 1


class Ours:
    """`train`, one call a turn."""

    def __init__(self, name: str):
        self.task, self.batches, self.seed = caught(name)

    def __call__(self) -> None:
        train(self.task, self.batches, steps=BLOCK, seed=self.seed, progress=False)


def training(repeats: int) -> None:
    """A line a learner."""
    for name in NAMES:
        loops = {"bare": Bare(name), "ours": Ours(name)}
        seconds: dict[str, list[float]] = {key: [] for key in loops}
        for repeat in range(repeats + 1):
            for key in list(loops)[:: 1 if repeat % 2 else -1]:
                began = time.process_time()
                loops[key]()
                seconds[key].append(time.process_time() - began)
        bare, ours = (np.array(seconds[key][1:]) for key in ("bare", "ours"))  # the first turn warms up
        low, ratio, high = np.percentile(ours / bare, [25, 50, 75])
        step, extra = 1000 * np.median(bare) / BLOCK, 1000 * np.median(ours - bare) / BLOCK
        met = ratio <= 1.05 if step >= 5 else extra <= 0.15
        print(
            f"{name:<12}{step:>9.2f} ms a step, ratio {ratio:.3f} (quartiles {low:.3f} to {high:.3f}), {extra:+.3f} ms"
            f"  {'ok' if met else 'ABOVE THE TARGET'}",
            flush=True,
        )


def predictions(name: str, n: int) -> tuple[float, float]:
    """Seconds, and MiB of peak memory beyond the data."""
    warnings.simplefilter("ignore")
    model, small = learner(name, 200)
    model.fit(*small)
    _, data = learner(name, n)
    given = data[0]
    if name not in ("PIBD", "late fusion"):
        model.predict(given[:8] if isinstance(given, torch.Tensor) else {k: v[:8] for k, v in given.items()})
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    model.risk(given) if name in ("PIBD", "late fusion") else model.predict(given)
    return time.perf_counter() - began, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held) / 1024


def many() -> None:
    """Seconds and memory for 1,000 and 10,000 rows."""
    for name in NAMES:
        parts = []
        for n in (1_000, 10_000):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                seconds, memory = pool.apply(predictions, (name, n))
            parts.append(f"{n:,} rows {seconds:.2f} s, {memory:.0f} MiB")
        print(f"{name:<12}{'; '.join(parts)}", flush=True)


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--many", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    training(options.repeats)
    if options.many:
        many()


if __name__ == "__main__":
    main()
