import json

import numpy as np
import pytest

from unsnarl.claims import Context
from unsnarl.errors import OptionError


def test_steps_scale_only_in_a_quick_run(tmp_path):
    assert Context(tmp_path).steps(5000, quick=3) == 5000
    quick = Context(tmp_path, quick=True)
    assert quick.steps(5000) == 50
    assert quick.steps(5000, quick=3) == 3
    assert quick.steps(2, quick=30) == 2
    with pytest.raises(OptionError, match="full=0"):
        quick.steps(0)


def test_arrays_are_built_once_and_shared(tmp_path):
    built = []

    def build():
        built.append(1)
        return {"x": np.arange(6.0).reshape(2, 3), "empty": np.zeros((0, 2)), "one": np.float32(3)}

    a = Context(tmp_path / "a", common=tmp_path / "common", fingerprint="f")
    b = Context(tmp_path / "b", common=tmp_path / "common", fingerprint="f")
    first, second = a.arrays("data", build, size=6), b.arrays("data", build, size=6)
    assert len(built) == 1
    np.testing.assert_array_equal(second["x"], [[0, 1, 2], [3, 4, 5]])
    assert second["empty"].shape == (0, 2)
    assert second["one"].dtype == np.float32
    first["x"][0, 0] = 99  # a run may write to its own copy
    assert b.arrays("data", build, size=6)["x"][0, 0] == 0
    b.arrays("data", build, size=7)
    Context(tmp_path / "c", common=tmp_path / "common", fingerprint="other").arrays("data", build, size=6)
    Context(tmp_path / "c", common=tmp_path / "common", fingerprint="f", quick=True).arrays("data", build, size=6)
    assert len(built) == 4
    with pytest.raises(OptionError, match="plain JSON"):
        a.arrays("data", build, size=np.zeros(2))
    with pytest.raises(OptionError, match="name='a/b'"):
        a.arrays("a/b", build)


def test_a_builder_that_fails_leaves_nothing(tmp_path):
    context = Context(tmp_path / "a", common=tmp_path / "common")

    def broken(folder):
        (folder / "half").write_text("")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        context.shared("host", broken)
    folder = context.shared("host", lambda folder: (folder / "whole").write_text("yes"))
    assert [path.name for path in folder.iterdir()] == ["whole"]


def test_report_is_throttled_and_keeps_finite_numbers(tmp_path):
    context = Context(tmp_path / "run")
    for step in range(1000):
        context.report(step, 1000, loss=0.5, broken=float("nan"))
    beat = json.loads((tmp_path / "run" / "progress.json").read_text())
    assert beat["share"] == 0  # within a second only the first is written
    assert beat["numbers"] == {"loss": 0.5}
    context.report(1000, 1000)
    assert json.loads((tmp_path / "run" / "progress.json").read_text())["share"] == 1
