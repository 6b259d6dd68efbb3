import json
import math

import numpy as np
import pytest

import unsnarl
from unsnarl.claims import ClaimError, available_claims, load_claim, read_record, run_claim, write_record
from unsnarl.errors import FileError, MissingExtraError, OptionError, UnknownNameError


@pytest.fixture
def run(tmp_path):
    def call(claim, **options):
        options = {"seeds": 3, "runs": tmp_path / "runs", "records": tmp_path / "records", "progress": False} | options
        return run_claim(claim, **options)

    return call


def row_of(record, name):
    return next(row for row in record["rows"] if row["name"] == name)


def test_a_claim_from_end_to_end(tiny, run, ran):
    record = run(tiny.claim, seeds=4)
    row = row_of(record, "score")
    assert row["seeds"] == [0, 1, 2, 3]
    # paired by hand: the same seeds, the tuned rate 0.1
    ours = [0.5 + 0.1 * np.random.default_rng(s).standard_normal() for s in range(4)]
    theirs = [0.1 * np.random.default_rng(s + 1000).standard_normal() for s in range(4)]
    np.testing.assert_allclose(row["system"], ours)
    np.testing.assert_allclose(row["baseline"], theirs)
    assert row["difference"]["mean"] == pytest.approx(np.mean(np.subtract(ours, theirs)))
    assert row["verdict"] == "holds"
    assert row["options"]["learner"] == {"rate": 0.1}
    assert row_of(record, "error")["difference"]["low"] > 0  # lower is better, so the gain is positive
    assert row_of(record, "constant")["baseline"] == [0.2] * 4
    assert row_of(record, "ablation")["options"]["no gain"] == {"gain": 0.0, "rate": 0.1}
    assert row_of(record, "noisy")["options"]["peer"]["noise"] == 3.0
    assert record["verdict"] == "holds"
    assert "host" not in json.dumps(record).lower()
    assert set(record["machine"]) == {"cpu", "cores", "memory_gb", "os"}


def test_each_run_is_made_once_and_shared_by_rows(tiny, run, ran):
    run(tiny.claim)
    log = ran()
    # tuning 3 + 3; then for 3 seeds: learner, learner without gain, noisy learner, peer, noisy peer
    assert len(log) == 6 + 3 * 5
    run(tiny.claim)
    assert ran() == log
    run(tiny.claim, seeds=4)  # one more seed: only its five runs
    assert len(ran()) == len(log) + 5


def test_tuning_is_recorded_whole(tiny, run):
    entry = run(tiny.claim)["tuning"][0]
    assert entry["chosen"] == {"rate": 0.1}
    assert [tried["options"]["rate"] for tried in entry["tried"]] == [0.0, 0.1, 1.0]
    noise = 0.1 * np.random.default_rng(100).standard_normal()
    np.testing.assert_allclose([t["mean"] for t in entry["tried"]], [0.49 + noise, 0.5 + noise, -0.31 + noise])
    assert entry["seeds"] == [100]
    assert entry["at_edge"] == []


def test_tuning_seeds_are_not_used_twice(tiny, run):
    with pytest.raises(OptionError, match="seeds has 100, which the tuning"):
        run(tiny.claim, seeds=[99, 100])
    with pytest.raises(OptionError, match="different"):
        run(tiny.claim, seeds=[1, 1])
    with pytest.raises(OptionError, match="seeds=0"):
        run(tiny.claim, seeds=0)


def test_without_tuning_the_choice_comes_from_module_or_record(module, source, run, ran, tmp_path):
    tiny = module(source)
    with pytest.raises(OptionError, match="states what was chosen"):
        run(tiny.claim, tune=False)
    write_record(run(tiny.claim), tmp_path / "records")
    again = run(tiny.claim, tune=False, seeds=[7])
    assert again["tuning"][0]["from"] == "the record"
    assert again["rows"][0]["options"]["learner"] == {"rate": 0.1}
    stated = module(source.replace("seeds=[100]", "seeds=[100], chosen={'rate': 1.0}"))
    record = run(stated.claim, tune=False)
    assert record["tuning"][0]["from"] == "the claim's module"
    assert record["rows"][0]["options"]["learner"] == {"rate": 1.0}


def test_one_seed_gives_no_interval(tiny, run):
    record = run(tiny.claim, seeds=1)
    assert record["rows"][0]["difference"]["low"] is None
    assert record["rows"][0]["difference"]["high"] is None
    assert record["rows"][0]["difference"]["mean"] is not None
    assert record["verdict"] == "inconclusive"
    assert "one seed gives no interval" in record["notes"]


def test_a_missing_number_keeps_a_row_from_holding(module, source, run):
    broken = source.replace("def peer(", "def peer_(").replace(
        "claim = Claim(",
        "def peer(seed, context, rate=1.0, noise=0.1):\n"
        "    return {'score': float('nan') if seed == 2 else 0.0, 'error': 3.0}\n\n\nclaim = Claim(",
    )
    record = run(module(broken).claim, seeds=5)
    row = row_of(record, "score")
    assert row["baseline"][2] is None
    assert row["verdict"] == "inconclusive"
    assert row["difference"]["low"] > 0.1  # what there is would have held
    assert "no finite number for seed 2" in record["notes"]


def test_the_hardest_of_several_baselines_counts(module, run):
    several = module("""
        from unsnarl.claims import Claim, Row

        def ours(seed, context):
            return {"acc": 0.9, "loss": 0.1}

        def a(seed, context):
            return {"acc": [0.1, 0.8, 0.3][seed], "loss": [0.5, 0.2, 0.5][seed]}

        def b(seed, context):
            return {"acc": [0.7, 0.2, 0.4][seed], "loss": [0.3, 0.6, 0.4][seed]}

        claim = Claim(slug="tiny", title="", statement="", arms={"ours": ours, "a": a, "b": b}, rows=[
            Row("acc", metric="acc", system="ours", baseline=("a", "b")),
            Row("loss", metric="loss", system="ours", baseline=("a", "b"), higher_is_better=False),
            Row("own", metric="acc", system="ours", baseline="ours", baseline_metric="loss"),
        ])
    """)
    record = run(several.claim)
    assert row_of(record, "acc")["baseline"] == [0.7, 0.8, 0.4]
    assert row_of(record, "acc")["baseline_arms"] == ["b", "a", "b"]
    assert row_of(record, "loss")["baseline"] == [0.3, 0.2, 0.4]
    assert row_of(record, "own")["difference"]["mean"] == pytest.approx(0.8)
    assert "no width" in row_of(record, "own")["note"]


def test_a_failing_arm_is_named_and_the_others_are_kept(module, source, run, ran, tmp_path):
    failing = source.replace(
        '    note(context, f"peer {seed} {rate}")\n',
        '    note(context, f"peer {seed} {rate}")\n    if seed == 1:\n        raise ValueError("no\\nsuch luck")\n',
    )
    tiny = module(failing)
    with pytest.raises(ClaimError) as caught:
        run(tiny.claim)
    text = str(caught.value)
    assert "\n" not in text
    assert "peer, seed 1" in text
    assert "and 1 more failed" in text  # the noisy condition of the same arm
    assert "ValueError: no such luck" in text
    assert [failure[:2] for failure in caught.value.failures] == [("peer", 1), ("peer", 1)]
    errors = list((tmp_path / "runs").rglob("error.txt"))
    assert len(errors) == 2
    assert "Traceback" in errors[0].read_text()
    made = len(ran())
    with pytest.raises(ClaimError):
        run(tiny.claim)
    assert len(ran()) == made + 2  # only the failed ones were tried again


def test_an_arm_must_return_numbers(module, source, run):
    with pytest.raises(ClaimError, match="score='high', which is not a number"):
        run(module(source.replace('{"score": noise *', '{"score": "high", "other": noise *')).claim)
    with pytest.raises(ClaimError, match="returned no 'score'; it returned other, error"):
        run(module(source.replace('{"score": noise *', '{"other": noise *')).claim)


def test_a_setting_that_fails_is_recorded_and_not_chosen(module, source, run):
    tiny = module(
        source.replace(
            "    rng = np.random.default_rng(seed)\n    steps",
            '    if rate == 0.1:\n        raise RuntimeError("diverged")\n    rng = np.random.default_rng(seed)\n    steps',
        )
    )
    entry = run(tiny.claim)["tuning"][0]
    assert entry["chosen"] == {"rate": 0.0}
    assert entry["at_edge"] == ["rate"]
    assert entry["tried"][1] == {
        "options": {"rate": 0.1}, "values": [None], "mean": None, "failed": "RuntimeError: diverged"
    }  # fmt: skip
    always = module(source.replace('    note(context, f"learner', '    1 / 0\n    note(context, f"learner'))
    with pytest.raises(ClaimError, match="no setting of 'learner' gave a finite score"):
        run(always.claim)


def test_changed_code_makes_results_stale_but_prose_does_not(module, source, run, ran):
    run(module(source).claim)
    made = len(ran())
    prose = source.replace("def peer", "# a comment\ndef peer").replace("A tiny claim", "Another title")
    prose = prose.replace(
        'noise=0.1):\n    note(context, f"peer', 'noise=0.1):\n    """Prose."""\n    note(context, f"peer'
    )
    assert prose.count("Prose") == 1
    assert run(module(prose).claim)["title"] == "Another title"
    assert len(ran()) == made
    record = run(module(source.replace('"gain": 0.5', '"gain": 0.6')).claim)
    assert len(ran()) == 2 * made
    assert row_of(record, "score")["difference"]["mean"] > 0.5


def test_quick_is_never_recorded(tiny, run, ran, tmp_path):
    record = run(tiny.claim, quick=True)
    assert record["quick"] is True
    assert len(ran(quick=True)) == 21
    assert ran() == []  # nothing of it stands in for a real run
    with pytest.raises(OptionError, match="never recorded"):
        write_record(record, tmp_path / "records")
    assert not (tmp_path / "records").exists()


def test_a_claim_that_is_being_run_is_refused(tiny, run, tmp_path):
    from filelock import FileLock

    root = tmp_path / "runs" / "claims" / "tiny"
    root.mkdir(parents=True)
    with FileLock(str(root / ".running")), pytest.raises(FileError, match="is being run"):
        run(tiny.claim)
    run(tiny.claim)


def test_record_round_trip(tiny, run, tmp_path):
    record = run(tiny.claim)
    path = write_record(record, tmp_path / "records")
    assert path.name == "tiny.json"
    assert read_record(path) == record
    assert not any(isinstance(v, float) and not math.isfinite(v) for v in json.loads(path.read_text()).values())


def test_engines_are_checked(tiny, run):
    with pytest.raises(OptionError, match="engine='threads' is not allowed"):
        run(tiny.claim, engine="threads")
    with pytest.raises(OptionError, match="workers=0"):
        run(tiny.claim, engine="processes", workers=0)


@pytest.mark.parametrize("engine", ["ray", "dask"])
def test_an_absent_cluster_names_its_extra(tiny, run, engine, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == engine else find(name, *a))
    with pytest.raises(MissingExtraError, match=r"unsnarl\[cluster\]"):
        run(tiny.claim, engine=engine)


def test_the_room_lists_its_claims():
    assert all(slug == slug.lower() and "_" not in slug for slug in available_claims())
    with pytest.raises(UnknownNameError, match="unknown claim 'no-such-system'"):
        load_claim("no-such-system")
    with pytest.raises(UnknownNameError):
        load_claim("_engine")
    assert unsnarl.claims.run_claim is run_claim
