"""The training loop: one, readable, on Lightning Fabric.

Every random number of a step comes from a generator seeded by (seed, phase, step), and the batch is a function of
(seed, step): so a run that is killed and resumed goes through the same numbers as one that never stopped, and a
checkpoint needs no random state.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from unsnarl.arrays import check_range
from unsnarl.errors import TrainingError
from unsnarl.training._batches import stream_seed
from unsnarl.training._checkpoint import load_checkpoint, save_checkpoint
from unsnarl.training._progress import Progress
from unsnarl.training._run import Run
from unsnarl.training._task import Task, clip_gradients

Callback = Callable[[int], None]


def train(
    task: Task,
    batches: Callable[[int], tuple[Tensor, ...]],
    *,
    steps: float,
    seed: int = 0,
    run: Run | None = None,
    fabric: Any = None,
    log_every: int = 100,
    checkpoint_every: int = 1000,
    progress: bool = True,
    label: str = "training",
    callbacks: Sequence[Callback] = (),
) -> list[dict[str, Any]]:
    """Train a task for a number of steps, from its run's checkpoint if it has one.

    Args:
        task: networks, optimisers and losses.
        batches: step -> batch.
        steps: total number of steps, those of earlier calls included.
        seed: seed of all randomness in the losses.
        run: folder to log to and resume from; None keeps everything in memory.
        fabric: a `lightning.fabric.Fabric` that is launched; None trains in float32 on the device of the task.
        log_every: log the losses every so many steps.
        checkpoint_every: write a checkpoint every so many steps, and at the end.
        progress: show progress on stderr.
        label: what the progress bar calls it.
        callbacks: each is called with the number of steps done, at step 0 and after every step.

    Returns:
        The logged rows: {"step", "seconds", losses...}.

    Raises:
        TrainingError: a loss or a weight is no longer finite; the last good checkpoint is kept.
    """
    check_range(steps, "steps", low=0, integer=True)
    check_range(log_every, "log_every", low=1, integer=True)
    check_range(checkpoint_every, "checkpoint_every", low=1, integer=True)
    steps = int(steps)
    optimizers = task.prepare()
    if fabric is not None:
        task.to(fabric.device)
    done, history = 0, []
    if run is not None and run.checkpoint_path.exists():
        done = load_checkpoint(run.checkpoint_path, task, optimizers, run.digest)
        history = run.rewind(done)
    if done >= steps:
        return history

    forward: Any = task
    active: dict[str, Any] = dict(optimizers)
    backward: Callable[[Tensor], None] = torch.Tensor.backward
    unscale: Callable[[torch.optim.Optimizer], None] | None = None
    if fabric is not None and not _hands_through(fabric):
        forward, *wrapped = fabric.setup(task, *optimizers.values())
        active = dict(zip(optimizers, wrapped, strict=True))
        backward, unscale = fabric.backward, fabric.strategy.precision.unscale_gradients
    leader = fabric is None or fabric.is_global_zero
    if not leader:
        seed = stream_seed(seed, 3, fabric.global_rank)  # every process draws its own noise
    device = next(task.parameters()).device
    generator = torch.Generator(device=device)
    check_every = 1 if device.type == "cpu" else log_every  # reading a loss back from an accelerator waits for it
    bar = Progress(steps, label, start=done, show=progress and leader)
    began = time.monotonic() - (history[-1]["seconds"] if history else 0.0)
    last_saved = done

    task.train()
    try:
        for callback in callbacks if done == 0 else ():
            callback(0)
        for step in range(done, steps):
            batch = batches(step)
            logged: dict[str, Tensor] = {}
            for place, phase in enumerate(task.schedule(step)):
                generator.manual_seed(stream_seed(seed, 2, place, step))
                losses = forward(phase, batch, step, generator)
                loss = losses["loss"]
                if step % check_every == 0 and not _finite(loss):
                    raise TrainingError(_not_finite(phase, step, run, last_saved))
                optimizer = active[phase]
                optimizer.zero_grad()
                backward(loss)
                if unscale is not None:  # half precision multiplies the loss; the clip is not meant for that
                    unscale(optimizers[phase])
                clip_gradients(optimizers[phase])
                optimizer.step()
                if len(active) > 1:
                    losses = {f"{phase}.{name}": value for name, value in losses.items()}
                logged.update(losses)
            now = step + 1
            if now % log_every == 0 or now == steps:
                row: dict[str, Any] = {"step": now, "seconds": round(time.monotonic() - began, 3)}
                row.update({name: value.item() for name, value in logged.items()})
                history.append(row)
                if run is not None and leader:
                    run.log(row)
                bar.update(now, loss=next(v for k, v in row.items() if k.endswith("loss")))
            else:
                bar.update(now)
            for callback in callbacks:
                callback(now)
            if now == steps or (run is not None and now % checkpoint_every == 0):
                if not all(_finite(p.detach().sum()) for p in task.parameters()):
                    raise TrainingError(_not_finite("weights", now, run, last_saved))
                if run is not None and leader:
                    save_checkpoint(run.checkpoint_path, task, optimizers, now, run.digest)
                    last_saved = now
    finally:
        bar.close()
        if run is not None:
            run.close()
        task.eval()
    return history


def _hands_through(fabric: Any) -> bool:
    """Whether Fabric's wrappers have nothing to do but cost a tenth of a millisecond a step: one device, full precision."""
    from lightning.fabric.plugins.precision import Precision
    from lightning.fabric.strategies import SingleDeviceStrategy

    return type(fabric.strategy) is SingleDeviceStrategy and type(fabric.strategy.precision) is Precision


def _finite(value: Tensor) -> bool:
    return math.isfinite(value.item())  # one kernel less than torch's isfinite


def _not_finite(what: str, step: int, run: Run | None, saved: int) -> str:
    kept = f"; the last good checkpoint, of step {saved}, is in {run.folder}" if run is not None and saved else ""
    name = "weights are" if what == "weights" else "loss is" if what == "main" else f"{what} loss is"
    return f"the {name} no longer finite at step {step}{kept}; try a smaller learning rate"
