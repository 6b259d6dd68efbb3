import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from unsnarl.claims import run_claim

SLOW = """
import time
import numpy as np
from unsnarl.claims import Claim, Row


def note(context, what):
    with open(context.folder.parents[1] / "ran.log", "a") as file:
        file.write(what + "\\n")


def ours(seed, context):
    checkpoint = context.folder / "step.txt"
    first = int(checkpoint.read_text()) if checkpoint.exists() else 0
    note(context, f"start {seed} {first}")
    for step in range(first, 10):
        checkpoint.write_text(str(step + 1))
        context.report(step + 1, 10)
        if seed == 2 and first == 0 and step == 4:
            note(context, "waiting")
            time.sleep(60)
    note(context, f"end {seed}")
    return {"score": 1.0 + 0.1 * np.random.default_rng(seed).random()}


def peer(seed, context):
    note(context, f"peer {seed}")
    return {"score": 0.1 * np.random.default_rng(seed).random()}


claim = Claim(slug="slow", title="", statement="", arms={"ours": ours, "peer": peer}, rows=[
    Row("r", metric="score", system="ours", baseline="peer", minimum_effect=0.5)])
"""

DRIVER = """
import sys
sys.path.insert(0, {folder!r})
from unsnarl.claims import run_claim
import slow_claim
run_claim(slow_claim.claim, seeds=4, runs={runs!r}, engine={engine!r}, workers=1)
"""


@pytest.mark.parametrize("engine", ["local", "processes"])
def test_killed_in_the_middle_nothing_finished_is_lost(module, tmp_path, engine):
    slow = module(SLOW, "slow_claim")
    runs = tmp_path / "runs"
    log = runs / "claims" / "slow" / "ran.log"
    driver = DRIVER.format(folder=str(tmp_path), runs=str(runs), engine=engine)
    with subprocess.Popen([sys.executable, "-c", driver], stderr=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            deadline = time.monotonic() + 60
            while not (log.exists() and "waiting" in log.read_text()):
                assert process.poll() is None, "the claim ended by itself"
                assert time.monotonic() < deadline
                time.sleep(0.05)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    before = log.read_text().splitlines()
    assert before == ["start 0 0", "end 0", "peer 0", "start 1 0", "end 1", "peer 1", "start 2 0", "waiting"]

    record = run_claim(slow.claim, seeds=4, runs=runs, progress=False)
    # the run that was under way goes on from its own checkpoint; the five finished ones are not made again
    after = log.read_text().splitlines()[len(before) :]
    assert after == ["start 2 5", "end 2", "peer 2", "start 3 0", "end 3", "peer 3"]
    np.testing.assert_allclose(
        record["rows"][0]["system"], [1 + 0.1 * np.random.default_rng(s).random() for s in range(4)]
    )
    assert record["verdict"] == "holds"


def test_a_damaged_result_is_made_again(tiny, tmp_path, ran):
    options = {"seeds": 3, "runs": tmp_path / "runs", "progress": False}
    first = run_claim(tiny.claim, **options)
    made = len(ran())
    results = sorted((tmp_path / "runs").rglob("result.json"))
    results[0].write_text(results[0].read_text()[:40])
    results[1].write_text("[]")
    again = run_claim(tiny.claim, **options)
    assert len(ran()) == made + 2
    assert again["rows"] == first["rows"]
