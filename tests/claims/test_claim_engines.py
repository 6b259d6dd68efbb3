import os
import random

import numpy as np
import pytest

from unsnarl.claims import ClaimError, run_claim
from unsnarl.claims._jobs import steady

TORCHED = """
import os
import numpy as np
import torch
from unsnarl.claims import Claim, Row


def ours(seed, context, width=64):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(256, width, generator=generator)
    unasked = float(np.random.rand()) + float(torch.rand(()))  # a library that uses the global generators
    return {
        "score": float((x @ x.T).softmax(1).std()) + unasked,
        "threads": torch.get_num_threads(),
        "pid": os.getpid(),
        "omp": float(os.environ["OMP_NUM_THREADS"]),
        "passive": float(os.environ["OMP_WAIT_POLICY"] == "PASSIVE"),
    }


def peer(seed, context):
    if seed == 3:
        raise ValueError("seed three")
    return {"score": 0.0}


claim = Claim(slug="torched", title="", statement="", arms={"ours": ours, "peer": peer}, rows=[
    Row("r", metric="score", system="ours", baseline="peer"),
    Row("threads", metric="threads", system="ours", baseline=0.0, role="extra"),
    Row("pid", metric="pid", system="ours", baseline=0.0, role="extra"),
    Row("omp", metric="omp", system="ours", baseline=0.0, role="extra"),
    Row("passive", metric="passive", system="ours", baseline=0.0, role="extra"),
])
"""


def test_local_and_processes_give_the_same_numbers(module, tmp_path):
    claim = module(TORCHED, "torched_claim").claim
    local = run_claim(claim, seeds=3, runs=tmp_path / "a", progress=False)
    spread = run_claim(claim, seeds=3, runs=tmp_path / "b", engine="processes", workers=2, progress=False)
    for mine, theirs in zip(local["rows"], spread["rows"], strict=True):
        if mine["name"] != "pid":
            assert mine["system"] == theirs["system"]
            assert mine["difference"] == theirs["difference"]
    assert set(local["rows"][2]["system"]) == {os.getpid()}
    assert os.getpid() not in spread["rows"][2]["system"]
    assert spread["rows"][1]["system"] == spread["rows"][3]["system"] == spread["rows"][4]["system"] == [1.0] * 3
    assert spread["settings"]["engine"] == "processes"

    with pytest.raises(ClaimError, match=r"peer, seed 3 failed \(ValueError: seed three\)"):
        run_claim(claim, seeds=4, runs=tmp_path / "b", engine="processes", workers=2, progress=False)


def test_a_run_leaves_random_states_and_threads_as_they_were():
    import torch

    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    expected = random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    threads, omp = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    with steady(9, 1):
        inside = random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002
    with steady(9, 1):
        assert inside == (random.random(), np.random.rand(), torch.rand(()).item())  # noqa: NPY002
    assert expected == (random.random(), np.random.rand(), torch.rand(()).item())  # noqa: NPY002
    assert (torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")) == (threads, omp)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ray", "dask"])
def test_clusters_give_the_same_numbers(module, tmp_path, engine, monkeypatch):
    pytest.importorskip(engine)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    claim = module(TORCHED, "torched_claim").claim
    local = run_claim(claim, seeds=2, runs=tmp_path / "a", progress=False)
    spread = run_claim(claim, seeds=2, runs=tmp_path / "b", engine=engine, workers=2, progress=False)
    assert local["rows"][0]["system"] == spread["rows"][0]["system"]
    assert os.getpid() not in spread["rows"][2]["system"]
