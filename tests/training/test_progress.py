"""What people see of a run while it goes on."""

from __future__ import annotations

import io
import re

import pytest
from small_runs import batches, task_of

from unsnarl.training import Progress, clock, train


class Clock:
    """A clock that only moves when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watch(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock)
    return clock


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1:00 min"),
        (187, "3:07 min"),
        (3599, "59:59 min"),
        (3720, "1:02 h"),
        (90000, "25:00 h"),
    ],
)
def test_clock(seconds: float, text: str):
    assert clock(seconds) == text


def test_away_from_a_terminal_there_is_a_line_now_and_then_and_one_at_the_end(watch, capsys):
    progress = Progress(1000, "QLAE")
    for step in range(1, 1001):
        watch.now += 0.04
        progress.update(step, **({"loss": 1 / step} if step % 100 == 0 else {}))
    progress.close()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "QLAE: 375 of 1,000 steps, 15 s so far, about 25 s left  loss 0.003333",
        "QLAE: 750 of 1,000 steps, 30 s so far, about 10 s left  loss 0.001429",
        "QLAE: 1,000 of 1,000 steps, 40 s so far, about 0 s left  loss 0.001",
    ]


def test_on_a_terminal_there_is_a_bar_ten_times_a_second(watch, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    progress = Progress(100, "QLAE")
    for step in range(1, 101):
        watch.now += 0.02
        progress.update(step, **({"loss": 0.5} if step == 3 else {}))
    progress.close()
    text = terminal.getvalue()
    frames = text.split("\r\x1b[K")[1:]
    assert 15 <= len(frames) <= 22
    assert frames[0].startswith("[....................] QLAE: 1 of 100 steps")
    assert frames[-1] == "[####################] QLAE: 100 of 100 steps, 2 s so far, about 0 s left  loss 0.5\n"
    assert all("loss 0.5" in frame for frame in frames[1:])  # shown until there is a newer one


def test_the_estimate_of_a_resumed_run_comes_from_its_own_steps(watch, capsys):
    progress = Progress(1000, "QLAE", start=900)
    watch.now += 20
    progress.update(920)
    assert capsys.readouterr().err == "QLAE: 920 of 1,000 steps, 20 s so far, about 1:20 min left\n"


def test_quiet_when_asked_and_when_nothing_is_left(capsys):
    for progress in (Progress(10, "QLAE", show=False), Progress(10, "QLAE", start=10)):
        progress.update(10, loss=1.0)
        progress.close()
    train(task_of(), batches(), steps=2, progress=False)
    captured = capsys.readouterr()
    assert captured.err == captured.out == ""


def test_the_loop_reports_its_last_step(capsys):
    train(task_of(), batches(), steps=3, progress=True, label="small task")
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"small task: 3 of 3 steps, \d+ s so far, about 0 s left  loss [\d.]+", line)
