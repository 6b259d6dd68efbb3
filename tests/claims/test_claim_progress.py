import pytest

from unsnarl.claims._context import Context
from unsnarl.claims._jobs import Job, Outcome
from unsnarl.claims._progress import Progress


def arm(seed, context):
    return {"m": 1.0}


def jobs(tmp_path, names):
    return [Job("tiny", name, seed, {}, arm, tmp_path, "f") for seed, name in enumerate(names)]


def test_nothing_is_promised_before_a_run_has_ended(tmp_path):
    progress = Progress("tiny", shown=False)
    progress.start("runs", jobs(tmp_path, "ab"), [])
    assert progress.estimate() is None
    assert "unknown" in progress.remaining()


def test_time_left_by_hand(tmp_path):
    progress = Progress("tiny", shown=False)
    todo = jobs(tmp_path, ["a", "a", "b", "b", "c"])
    progress.start("runs", todo, [], later=["a"])
    progress.finished(Outcome(todo[0].key, {"m": 1.0}, seconds=10))
    progress.finished(Outcome(todo[2].key, {"m": 1.0}, seconds=30))
    # left: a (10), b (30), c unseen (20, the mean of a and b), and a later a (10)
    assert progress.estimate() == pytest.approx(70)
    Context(todo[3].folder).report(1, 2)  # b is half done
    assert progress.estimate() == pytest.approx(55)
    assert "b seed 3 50%" in progress.line()
    Context(todo[4].folder).report(0, 2)  # just begun: nothing can be told from that
    assert progress.remaining() == "about 55.0 s left, guessing at c"
    progress.workers = 2
    assert progress.estimate() == pytest.approx(27.5)


def test_an_arm_that_has_not_ended_counts_by_how_far_it_is(tmp_path):
    progress = Progress("tiny", shown=False)
    todo = jobs(tmp_path, ["a", "b"])
    progress.start("runs", todo, [])
    progress.finished(Outcome(todo[0].key, {"m": 1.0}, seconds=0.1))
    context = Context(todo[1].folder)
    context._started -= 30
    progress.began -= 60
    context.report(1, 4)  # a quarter in 30 seconds
    assert progress.estimate() == pytest.approx(90, abs=1)


def test_failed_runs_do_not_count_as_quick_ones(tmp_path):
    progress = Progress("tiny", shown=False)
    todo = jobs(tmp_path, "aa")
    progress.start("runs", todo, [])
    progress.finished(Outcome(todo[0].key, {}, failed="no", seconds=0.1))
    assert progress.estimate() is None


def test_log_lines_where_there_is_no_terminal(tmp_path, capsys):
    progress = Progress("tiny")
    todo = jobs(tmp_path, "ab")
    with progress.show():
        progress.start("runs", todo, [Outcome(todo[0].key, {"m": 1.0}, seconds=60)])
        progress.finished(Outcome(todo[1].key, {"m": 0.25, "n": None}, seconds=90))
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "tiny: runs, 2 runs, 1 of them done before",
        "tiny: [2/2] b, seed 1: 1 min 30 s; m 0.25, n -; about 0.0 s left",
    ]
