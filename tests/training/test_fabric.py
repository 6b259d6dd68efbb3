"""Training through Lightning Fabric: the same numbers on one device, and as many processes as it starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lightning.fabric import Fabric
from small_runs import TABLE, assert_identical, learner, without_seconds

from unsnarl.training import read_tensors

HERE = Path(__file__).parent


@pytest.mark.parametrize("kind", ["QLAE", "FactorVAE"])
def test_one_device_through_fabric_gives_the_same_bits(kind: str, tmp_path):
    options = {"steps": 12, "log_every": 4, "checkpoint_every": 5}
    plain = learner(kind, batch_size=16).fit(TABLE, run=tmp_path / "plain", **options)
    fabric = Fabric(accelerator="cpu", devices=1)
    learner(kind, batch_size=16).fit(TABLE, run=tmp_path / "fabric", fabric=fabric, **{**options, "steps": 7})
    through = learner(kind, batch_size=16).fit(TABLE, run=tmp_path / "fabric", fabric=fabric, **options)  # resumed
    tensors = [read_tensors(tmp_path / name / "checkpoint/state.safetensors")[0] for name in ("plain", "fabric")]
    assert_identical(*({name: t.numpy() for name, t in found.items()} for found in tensors))
    assert np.array_equal(plain.transform(TABLE), through.transform(TABLE))
    rows = [model.history_.to_dict("records") for model in (plain, through)]
    assert without_seconds(rows[0]) == [row for row in without_seconds(rows[1]) if row["step"] != 7]


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
