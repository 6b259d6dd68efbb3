"""A process that is killed in the middle of a run, and another that goes on where it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from small_runs import TABLE, assert_identical, learner, without_seconds

from unsnarl.training import read_tensors

HERE = Path(__file__).parent


def last_step(metrics: Path) -> int:
    lines = metrics.read_text().splitlines() if metrics.exists() else []
    return json.loads(lines[-1])["step"] if lines else 0


@pytest.mark.parametrize("kind", ["QLAE", "FactorVAE"])
def test_a_run_killed_in_the_middle_goes_on_to_the_same_bits(kind: str, tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "killed_run.py"), str(killed), kind]
    process = subprocess.Popen(command, cwd=HERE, env=environment, stderr=subprocess.PIPE)
    options = {"steps": 60, "log_every": 3, "checkpoint_every": 10}
    expected = learner(kind, batch_size=16).fit(TABLE, run=whole, **options)
    deadline = time.monotonic() + 120
    while last_step(killed / "metrics.jsonl") < 24:
        assert process.poll() is None, process.stderr.read().decode()  # type: ignore[union-attr]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stderr.close()  # type: ignore[union-attr]

    checkpoint = "checkpoint/state.safetensors"
    assert 20 <= int(read_tensors(killed / checkpoint)[1]["step"]) < 60
    steps: list[int] = []
    model = learner(kind, batch_size=16).fit(
        TABLE, run=killed, callbacks=[lambda step, _: steps.append(step)], **options
    )
    assert 20 < steps[0] < 60
    ours, theirs = ({n: t.numpy() for n, t in read_tensors(run / checkpoint)[0].items()} for run in (killed, whole))
    assert any(name.startswith("optimizer.") for name in ours)
    assert_identical(ours, theirs)
    assert np.array_equal(model.transform(TABLE), expected.transform(TABLE))
    assert without_seconds(model.history_.to_dict("records")) == without_seconds(expected.history_.to_dict("records"))
