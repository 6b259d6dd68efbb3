import numpy as np
import pytest

from unsnarl.claims import Arm, Claim, Row, Tuning
from unsnarl.errors import OptionError, UnknownNameError


def one(seed, context, rate=1.0, noise=0.0):
    return {"score": rate}


def two(seed, context, rate=1.0):
    return {"score": 0.0}


def make(**changes):
    fields = {
        "slug": "tiny",
        "title": "t",
        "statement": "s",
        "arms": {"one": one, "two": two},
        "rows": [Row("r", metric="score", system="one", baseline="two")],
    }
    return Claim(**(fields | changes))


def test_arms_are_functions_that_other_processes_can_import():
    assert Arm(one, rate=2.0).options == {"rate": 2.0}
    with pytest.raises(OptionError, match="defined with def"):
        Arm(lambda seed, context: {})
    with pytest.raises(OptionError, match="plain JSON"):
        Arm(one, rate=np.zeros(2))
    with pytest.raises(OptionError, match="plain JSON"):
        Arm(one, rate=float("nan"))


def test_row_baselines():
    assert Row("r", metric="m", system="a", baseline="b").baselines == ("b",)
    assert Row("r", metric="m", system="a", baseline=("b", "c")).arms == ("a", "b", "c")
    row = Row("r", metric="m", system="a", baseline=1)
    assert row.constant == 1.0
    assert row.baselines == ()
    with pytest.raises(OptionError, match="with itself"):
        Row("r", metric="m", system="a", baseline="a")
    assert Row("r", metric="m", system="a", baseline="a", baseline_metric="n").arms == ("a",)
    with pytest.raises(OptionError, match="no baseline"):
        Row("r", metric="m", system="a", baseline=())
    with pytest.raises(OptionError, match="rule='mean'"):
        Row("r", metric="m", system="a", baseline="b", rule="mean")
    with pytest.raises(OptionError, match=r"minimum_effect=-0\.1"):
        Row(
            "r",
            metric="m",
            system="a",
            baseline="b",
            minimum_effect=-0.1,
            rule="mean beyond minimum, interval beyond zero",
        )


def test_claim_refuses_what_cannot_run():
    assert isinstance(make().arm("one"), Arm)
    with pytest.raises(UnknownNameError, match="unknown arm 'tow'; did you mean 'two'"):
        make(rows=[Row("r", metric="score", system="one", baseline="tow")])
    with pytest.raises(OptionError, match="same name"):
        make(rows=[Row("r", metric="score", system="one", baseline="two")] * 2)
    with pytest.raises(OptionError, match="no central row"):
        make(rows=[Row("r", metric="score", system="one", baseline="two", role="extra")])
    with pytest.raises(OptionError, match="slug='A B'"):
        make(slug="A B")
    with pytest.raises(OptionError, match="has fixed"):
        make(
            arms={"one": Arm(one, noise=1.0), "two": two},
            rows=[Row("r", metric="score", system="one", baseline="two", condition={"noise": 0.5})],
        )


def test_budgets_are_equal_or_explained():
    ours = Tuning(arm="one", grid={"rate": [1, 2], "noise": [0.0, 1.0]}, metric="score")
    theirs = Tuning(arm="two", grid={"rate": [1, 2]}, metric="score")
    with pytest.raises(OptionError, match="tuned in 4 runs but its baseline 'two' in 2"):
        make(tune=[ours, theirs])
    fair = Tuning(arm="one", grid={"rate": [1, 2], "noise": [0.0, 1.0]}, metric="score", budget=2)
    assert make(tune=[fair, theirs]).trials("one") == 2
    assert len(fair.settings()) == 2
    assert fair.settings() == fair.settings()
    row = Row("r", metric="score", system="one", baseline="two", unequal_budget="two has nothing to tune")
    assert make(tune=[ours], rows=[row]).trials("two") == 0
    both = Tuning(arm="one", grid={"rate": [1, 2]}, metric="score", also=["two"])
    assert make(tune=[both]).trials("two") == 2


def test_tuning_refuses():
    with pytest.raises(OptionError, match="both fixed and tuned"):
        make(arms={"one": Arm(one, rate=1), "two": two}, tune=[Tuning(arm="one", grid={"rate": [1]}, metric="score")])
    with pytest.raises(OptionError, match="empty grid"):
        Tuning(arm="one", grid={"rate": []}, metric="score")
    with pytest.raises(OptionError, match="the choice stated"):
        Tuning(arm="one", grid={"rate": [1]}, metric="score", chosen={"noise": 1})
    with pytest.raises(OptionError, match="grid and its condition"):
        Tuning(arm="one", grid={"rate": [1]}, metric="score", condition={"rate": 1})
