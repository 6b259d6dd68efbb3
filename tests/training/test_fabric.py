"""Training through Lightning Fabric: the same numbers on one device, and as many processes as it starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from lightning.fabric.strategies import SingleDeviceStrategy
from small_runs import TABLE, assert_identical, batches, learner, task_of, without_seconds

from unsnarl.training import read_tensors, train

HERE = Path(__file__).parent


class Wrapping(SingleDeviceStrategy):
    """One device, but not known to be harmless, so that the loop goes through all of Fabric's wrappers."""


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("kind", ["QLAE", "FactorVAE"])
def test_one_device_through_fabric_gives_the_same_bits(kind: str, wrapped: bool, tmp_path):
    options = {"steps": 12, "log_every": 4, "checkpoint_every": 5}
    plain = learner(kind, batch_size=16).fit(TABLE, run=tmp_path / "plain", **options)
    fabric = Fabric(strategy=Wrapping(torch.device("cpu"))) if wrapped else Fabric(accelerator="cpu", devices=1)
    learner(kind, batch_size=16).fit(TABLE, run=tmp_path / "fabric", fabric=fabric, **{**options, "steps": 7})
    through = learner(kind, batch_size=16).fit(TABLE, run=tmp_path / "fabric", fabric=fabric, **options)  # resumed
    tensors = [read_tensors(tmp_path / name / "checkpoint/state.safetensors")[0] for name in ("plain", "fabric")]
    assert_identical(*({name: t.numpy() for name, t in found.items()} for found in tensors))
    assert np.array_equal(plain.transform(TABLE), through.transform(TABLE))
    rows = [model.history_.to_dict("records") for model in (plain, through)]
    assert without_seconds(rows[0]) == [row for row in without_seconds(rows[1]) if row["step"] != 7]


def test_half_precision():
    exact = learner("QLAE", batch_size=16).fit(TABLE, steps=20)
    mixed = learner("QLAE", batch_size=16).fit(
        TABLE, steps=20, fabric=Fabric(accelerator="cpu", precision="bf16-mixed")
    )
    assert {p.dtype for p in mixed.task_.parameters()} == {torch.float32}
    assert mixed.history_["loss"].iloc[-1] == pytest.approx(exact.history_["loss"].iloc[-1], rel=0.05)
    assert not torch.equal(mixed.task_.encoder.head.weight, exact.task_.encoder.head.weight)


class Worker:
    """A fabric that changes nothing, as one of several processes sees it."""

    def __init__(self, rank: int) -> None:
        self.global_rank, self.is_global_zero, self.device = rank, rank == 0, "cpu"
        self.strategy = SimpleNamespace(precision=SimpleNamespace(unscale_gradients=lambda optimizer: None))

    def setup(self, *parts: Any) -> tuple[Any, ...]:
        return parts

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()


def test_every_process_draws_its_own_noise():
    found = []
    for fabric in (None, Worker(0), Worker(1), Worker(2)):
        task = task_of("FactorVAE")
        train(task, batches(), steps=2, fabric=fabric, progress=False)
        found.append(task.encoder.head.weight.detach())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[1], found[2])
    assert not torch.equal(found[2], found[3])


def test_gradients_are_unscaled_before_they_are_clipped():
    """Half precision scales losses up; the clip of [-1, 1] is meant for gradients without that scale."""
    task, worker = task_of("QLAE"), Worker(0)
    seen = []

    def unscale(optimizer: torch.optim.Optimizer) -> None:
        gradient = task.encoder.head.weight.grad
        seen.append(float(gradient.abs().max()))
        gradient.div_(1000)

    worker.backward = lambda loss: (loss * 1000).backward()
    worker.strategy.precision.unscale_gradients = unscale
    train(task, batches(), steps=1, fabric=worker, progress=False)
    assert seen[0] > 1
    assert float(task.encoder.head.weight.grad.abs().max()) < 1


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "two_processes.py"), str(tmp_path)]
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    first, second = (
        {n: t.numpy() for n, t in read_tensors(tmp_path / f"rank{r}.safetensors")[0].items()} for r in (0, 1)
    )
    assert_identical(first, second)
    alone = learner("QLAE", batch_size=16).fit(TABLE, steps=12, log_every=4).task_.state_dict()
    for name, value in alone.items():  # half a batch each, gradients averaged: one whole batch up to rounding
        np.testing.assert_allclose(first[name], value.numpy(), rtol=2e-3, atol=2e-4, err_msg=name)
    lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [4, 8, 12]  # written once
