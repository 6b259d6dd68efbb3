import importlib
import sys
import textwrap

import pytest

TINY = """
import numpy as np

from unsnarl.claims import Arm, Claim, Row, Tuning

TABLE = {"gain": 0.5}


def note(context, what):
    with open(context.folder.parents[1] / "ran.log", "a") as file:
        file.write(what + "\\n")


def learner(seed, context, rate=1.0, noise=0.1, gain=None):
    note(context, f"learner {seed} {rate}")
    rng = np.random.default_rng(seed)
    steps = context.steps(200, quick=2)
    for step in range(steps):
        context.report(step + 1, steps)
    gain = TABLE["gain"] if gain is None else gain
    return {"score": gain - (rate - 0.1) ** 2 + noise * rng.standard_normal(), "error": 1.0 + rng.random()}


def peer(seed, context, rate=1.0, noise=0.1):
    note(context, f"peer {seed} {rate}")
    return {"score": noise * np.random.default_rng(seed + 1000).standard_normal(), "error": 3.0}


claim = Claim(
    slug="tiny",
    title="A tiny claim",
    statement="The learner scores higher than its peer.",
    arms={"learner": learner, "peer": peer, "no gain": Arm(learner, gain=0.0)},
    rows=[
        Row("score", metric="score", system="learner", baseline="peer", minimum_effect=0.1),
        Row("error", metric="error", system="learner", baseline="peer", higher_is_better=False, role="guard"),
        Row("noisy", metric="score", system="learner", baseline="peer", condition={"noise": 3.0}, role="extra"),
        Row("ablation", metric="score", system="learner", baseline="no gain", role="ablation"),
        Row("constant", metric="score", system="learner", baseline=0.2, role="extra"),
    ],
    tune=[
        Tuning(arm="learner", grid={"rate": [0.0, 0.1, 1.0]}, metric="score", seeds=[100], also=["no gain"]),
        Tuning(arm="peer", grid={"rate": [0.0, 0.1, 1.0]}, metric="score", seeds=[100]),
    ],
)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module of claims into a folder on the path and import it; call again to change it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    names = []

    def write(source, name="tiny_claim"):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        sys.modules.pop(name, None)
        importlib.invalidate_caches()
        names.append(name)
        return importlib.import_module(name)

    yield write
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def tiny(module):
    """The tiny claim; its arms log every run in `ran.log` of the run folder."""
    return module(TINY)


@pytest.fixture
def ran(tmp_path):
    """The runs that were made, in order."""

    def read(quick=False):
        log = tmp_path / "runs" / "claims" / "tiny" / ("quick" if quick else "") / "ran.log"
        return log.read_text().splitlines() if log.exists() else []

    return read


@pytest.fixture
def source():
    """The tiny claim's source, for tests that change it."""
    return TINY
