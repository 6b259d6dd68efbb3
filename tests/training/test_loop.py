"""The loop: the same numbers after an interruption, what it writes, and how it stops."""

from __future__ import annotations

import errno
import json
import math
import time
from typing import Any

import pytest
import torch
from small_runs import CONFIG, Stop, assert_identical, batches, state, task_of, without_seconds

from unsnarl.errors import CheckpointError, FileError, OptionError, TrainingError
from unsnarl.training import Run, load_checkpoint, read_tensors, save_checkpoint, train

KINDS = ["QLAE", "FactorVAE"]  # one optimiser without randomness; two, with


def stop_at(step: int) -> Any:
    def callback(now: int) -> None:
        if now == step:
            raise Stop

    return callback


# ---- resuming ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stop", [5, 13])
def test_a_run_that_was_interrupted_goes_through_the_same_numbers(kind: str, stop: int, short_run):
    whole, history = short_run(kind, folder="whole")
    with pytest.raises(Stop):
        short_run(kind, callbacks=[stop_at(stop)])
    resumed, again = short_run(kind)
    assert_identical(state(resumed), state(whole))
    assert without_seconds(again) == without_seconds(history)
    assert [row["step"] for row in history] == [3, 6, 9, 12, 15, 18, 20]


@pytest.mark.parametrize("kind", KINDS)
def test_the_checkpoint_holds_the_same_bits(kind: str, short_run, tmp_path):
    task, _ = short_run(kind)
    other = task_of(kind, seed=7)
    optimizers = other.prepare()
    assert (
        load_checkpoint(
            tmp_path / "run/checkpoint/state.safetensors", other, optimizers, Run(tmp_path / "run", CONFIG).digest
        )
        == 20
    )
    assert_identical(state(other), state(task))


def test_a_run_stopped_before_its_first_checkpoint_starts_over(short_run, tmp_path):
    with pytest.raises(Stop):
        short_run(callbacks=[stop_at(4)])
    assert (tmp_path / "run/metrics.jsonl").read_text().count("\n") == 1
    _, history = short_run()
    assert [row["step"] for row in history] == [3, 6, 9, 12, 15, 18, 20]
    assert len((tmp_path / "run/metrics.jsonl").read_text().splitlines()) == 7


def test_a_metrics_line_that_was_cut_short_is_logged_again(short_run, tmp_path):
    _, history = short_run(folder="whole")
    with pytest.raises(Stop):
        short_run(callbacks=[stop_at(13)])
    metrics = tmp_path / "run/metrics.jsonl"
    text = metrics.read_bytes()
    metrics.write_bytes(text[:-20] + b"\xff\xfe")
    _, again = short_run()
    assert without_seconds(again) == without_seconds(history)
    assert [json.loads(line) for line in metrics.read_text().splitlines()] == again


def test_more_steps_continue_a_finished_run(short_run):
    whole, _ = short_run(folder="whole")
    short_run(steps=8)
    longer, history = short_run(steps=20)
    assert_identical(state(longer), state(whole))
    assert [row["step"] for row in history] == [3, 6, 8, 9, 12, 15, 18, 20]


def test_a_finished_run_is_not_run_again(short_run, tmp_path):
    task, history = short_run(steps=20)
    checkpoint = tmp_path / "run/checkpoint/state.safetensors"
    written, calls = checkpoint.stat().st_mtime_ns, []
    began = time.process_time()
    again, same = short_run(steps=20, callbacks=[calls.append])
    fewer, _ = short_run(steps=10)
    assert time.process_time() - began < 1
    assert not calls
    assert same == history
    assert checkpoint.stat().st_mtime_ns == written
    for other in (again, fewer):
        assert_identical(state(other), state(task))


def test_seconds_go_on_where_the_first_call_stopped(short_run):
    with pytest.raises(Stop):
        short_run(callbacks=[lambda step: time.sleep(0.02), stop_at(15)])
    _, history = short_run()
    seconds = [row["seconds"] for row in history]
    assert seconds == sorted(seconds)
    assert seconds[-1] >= 0.2


# ---- randomness -------------------------------------------------------------------------------------------------------


def final(kind: str = "FactorVAE", seed: int = 0, **options: Any) -> dict[str, Any]:
    task = task_of(kind)
    train(task, batches(options.pop("batch_seed", 0)), steps=4, seed=seed, progress=False, **options)
    return state(task)


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others():
    assert_identical(final(seed=1), final(seed=1))
    for other in (final(seed=2), final(seed=1, batch_seed=5)):
        with pytest.raises(AssertionError):
            assert_identical(final(seed=1), other)


def test_the_global_random_state_is_neither_used_nor_touched():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = final()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert_identical(final(), first)


def test_logging_and_checkpoints_do_not_change_the_numbers(tmp_path):
    plain = final()
    often = final(run=Run(tmp_path, CONFIG), log_every=1, checkpoint_every=1)
    assert_identical(plain, often)


# ---- what it writes ---------------------------------------------------------------------------------------------------


def test_config_and_metrics(short_run, tmp_path):
    _, history = short_run("FactorVAE", steps=7)
    folder = tmp_path / "run"
    assert json.loads((folder / "config.json").read_text()) == CONFIG
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert rows == history
    assert [row["step"] for row in rows] == [3, 6, 7]
    names = {"vae.loss", "vae.reconstruction", "vae.kl", "vae.total_correlation", "discriminator.loss"}
    assert all(row.keys() == {"step", "seconds"} | names for row in rows)
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert sorted(p.name for p in folder.rglob("*")) == [
        "checkpoint",
        "config.json",
        "metrics.jsonl",
        "state.safetensors",
    ]


def test_metrics_are_there_while_the_run_goes_on(short_run, tmp_path):
    seen = []
    short_run(
        steps=9,
        callbacks=[
            lambda step: seen.append(
                (tmp_path / "run/metrics.jsonl").exists()
                and len((tmp_path / "run/metrics.jsonl").read_text().splitlines())
            )
        ],
    )
    assert seen == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]


def test_callbacks_run_at_step_0_and_after_every_step(short_run):
    calls: list[tuple[str, int]] = []
    short_run(steps=3, callbacks=[lambda step: calls.append(("a", step)), lambda step: calls.append(("b", step))])
    assert calls == [(name, step) for step in range(4) for name in "ab"]
    calls.clear()
    with pytest.raises(Stop):
        short_run(folder="other", callbacks=[stop_at(6)])
    short_run(folder="other", steps=7, callbacks=[lambda step: calls.append(("a", step))])
    assert calls == [("a", 6), ("a", 7)]


def test_the_networks_learn_in_training_mode_and_are_left_in_evaluation_mode(short_run):
    task = task_of()
    modes = []
    short_run(task=task, steps=2, callbacks=[lambda step: modes.append(task.training)])
    assert modes == [True] * 3
    assert not task.training
    with pytest.raises(Stop):
        short_run(folder="other", task=task, callbacks=[stop_at(1)])
    assert not task.training


def test_resume_false_starts_over(short_run, tmp_path):
    short_run(steps=8)
    Run(tmp_path / "run", CONFIG | {"lr": 1.0}, resume=False)
    assert not (tmp_path / "run/checkpoint/state.safetensors").exists()
    assert not (tmp_path / "run/metrics.jsonl").exists()
    assert json.loads((tmp_path / "run/config.json").read_text())["lr"] == 1.0


def test_steps_may_be_a_whole_float():
    task = task_of()
    assert train(task, batches(), steps=2e0, progress=False)[-1]["step"] == 2  # type: ignore[arg-type]


# ---- how it stops -----------------------------------------------------------------------------------------------------


def poison(task: Any, at: int, value: float) -> Any:
    def callback(now: int) -> None:
        if now == at:
            with torch.no_grad():
                next(task.encoder.parameters())[0, 0] = value

    return callback


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(value: float, short_run, tmp_path):
    good, _ = short_run(steps=10, folder="good")
    task = task_of()
    with pytest.raises(TrainingError) as caught:
        short_run(task=task, callbacks=[poison(task, 12, value)])
    folder = tmp_path / "run"
    assert str(caught.value) == (
        f"the loss is no longer finite at step 12; the last good checkpoint, of step 10, is in {folder}; "
        "try a smaller learning rate"
    )
    kept = task_of(seed=3)
    assert (
        load_checkpoint(folder / "checkpoint/state.safetensors", kept, kept.prepare(), Run(folder, CONFIG).digest) == 10
    )
    assert_identical(state(kept), state(good))


def test_weights_that_are_not_finite_never_reach_a_checkpoint(short_run, tmp_path):
    task = task_of()
    with pytest.raises(TrainingError) as caught:
        short_run(task=task, callbacks=[poison(task, 10, float("nan"))])
    assert str(caught.value) == (
        f"the weights are no longer finite at step 10; the last good checkpoint, of step 5, is in {tmp_path / 'run'}; "
        "try a smaller learning rate"
    )
    assert read_tensors(tmp_path / "run/checkpoint/state.safetensors")[1]["step"] == "5"


def test_a_huge_learning_rate_is_reported_without_a_run():
    task = task_of("FactorVAE", lr=1e6)
    with pytest.raises(
        TrainingError,
        match=r"^the (vae|discriminator) loss is no longer finite at step \d+; try a smaller learning rate$",
    ):
        train(task, batches(), steps=50, progress=False)


def test_weights_lost_in_the_last_step_are_noticed_without_a_run():
    task = task_of()
    with pytest.raises(
        TrainingError, match=r"^the weights are no longer finite at step 2; try a smaller learning rate$"
    ):
        train(task, batches(), steps=2, progress=False, callbacks=[poison(task, 2, float("nan"))])


def test_a_loss_that_is_not_finite_says_which_phase(short_run):
    task = task_of("FactorVAE")

    def callback(now: int) -> None:
        if now == 1:
            with torch.no_grad():
                task.discriminator[-1].bias[:] = torch.tensor([float("nan"), 0.0])
            task.gamma = 0.0

    task.forward = _without_discriminator(task)  # the VAE's own loss stays finite
    with pytest.raises(TrainingError, match=r"^the discriminator loss is no longer finite at step 1;"):
        train(task, batches(), steps=4, progress=False, callbacks=[callback])


def _without_discriminator(task: Any) -> Any:
    original = task.forward

    def forward(phase: str, *rest: Any) -> dict[str, torch.Tensor]:
        losses = original(phase, *rest)
        return losses | {"loss": losses["reconstruction"]} if phase == "vae" else losses

    return forward


# ---- checkpoints that cannot be used ----------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty"])
def test_a_damaged_checkpoint_is_refused_in_one_sentence(damage: str, short_run, tmp_path):
    short_run(steps=10)
    checkpoint = tmp_path / "run/checkpoint/state.safetensors"
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(
        {"truncated": content[: len(content) // 2], "garbage": b"\x93NUMPY" * 50, "empty": b""}[damage]
    )
    with pytest.raises(CheckpointError) as caught:
        short_run()
    message = str(caught.value)
    assert message.startswith(f"{checkpoint} is truncated or not a safetensors file (")
    assert message.endswith("); delete it to start anew")
    assert "\n" not in message


def test_other_hyperparameters_are_named(short_run, tmp_path):
    short_run(steps=5)
    with pytest.raises(CheckpointError) as caught:
        short_run(config=CONFIG | {"lr": 0.5, "extra": [1]})
    assert str(caught.value) == (
        f"{tmp_path / 'run'} holds a run with other settings (extra: None there, [1] here; lr: 0.01 there, 0.5 here); "
        "choose another folder or pass resume=False to start over"
    )


def test_a_missing_or_damaged_config_is_refused(short_run, tmp_path):
    short_run(steps=5)
    config = tmp_path / "run/config.json"
    for content in (b"{", None):
        config.write_bytes(content) if content else config.unlink()
        with pytest.raises(CheckpointError) as caught:
            short_run()
        assert str(caught.value) == f"{config} is missing or damaged, so the run cannot be resumed"


def test_a_checkpoint_of_another_run_or_model_is_refused(short_run, tmp_path):
    short_run(steps=5)
    short_run(steps=5, folder="other", config=CONFIG | {"lr": 1.0})
    checkpoint, task = tmp_path / "run/checkpoint/state.safetensors", task_of()
    with pytest.raises(CheckpointError, match="belongs to a run with other settings; choose another run folder"):
        load_checkpoint(checkpoint, task, task.prepare(), "0" * 16)
    digest = Run(tmp_path / "run", CONFIG).digest
    wider = task_of("FactorVAE")
    with pytest.raises(CheckpointError, match=r"do not fit this model: (Missing|size mismatch)"):
        load_checkpoint(checkpoint, wider, wider.prepare(), digest)
    with pytest.raises(CheckpointError, match="there is no checkpoint at"):
        read_tensors(tmp_path / "nothing.safetensors")


# ---- disks ------------------------------------------------------------------------------------------------------------


def test_a_full_disk_leaves_the_old_checkpoint_whole(short_run, tmp_path, monkeypatch):
    good, _ = short_run(steps=5, folder="good")

    def fill(now: int) -> None:
        if now == 8:
            monkeypatch.setattr("os.fsync", full)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(FileError) as caught:
        short_run(callbacks=[fill])
    checkpoint = tmp_path / "run/checkpoint/state.safetensors"
    assert str(caught.value) == f"cannot write {checkpoint}: no space left on device"
    monkeypatch.undo()
    assert [p.name for p in checkpoint.parent.iterdir()] == [checkpoint.name]
    kept = task_of(seed=3)
    assert load_checkpoint(checkpoint, kept, kept.prepare(), Run(tmp_path / "run", CONFIG).digest) == 5
    assert_identical(state(kept), state(good))
    resumed, _ = short_run()
    assert_identical(state(resumed), state(short_run(folder="whole")[0]))


def test_a_full_disk_while_logging(tmp_path):
    run = Run(tmp_path, CONFIG)
    run.metrics_path.symlink_to("/dev/full")
    with pytest.raises(FileError) as caught:
        train(task_of(), batches(), steps=4, run=run, log_every=2, progress=False)
    assert str(caught.value) == f"cannot write {run.metrics_path}: no space left on device"


def test_a_run_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileError) as caught:
        Run(tmp_path / "file", CONFIG)
    assert str(caught.value) == f"cannot make the run folder {tmp_path / 'file'}: file exists"
    (tmp_path / "checkpoint").write_text("x")
    task = task_of()
    with pytest.raises(FileError) as caught:
        save_checkpoint(tmp_path / "checkpoint/state.safetensors", task, task.prepare(), 0, "")
    assert str(caught.value) == f"cannot make the folder {tmp_path / 'checkpoint'}: file exists"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": -1}, "steps=-1 must be an integer at least 0"),
        ({"steps": 1.5}, "steps=1.5 must be an integer at least 0"),
        ({"steps": 1, "log_every": 0}, "log_every=0 must be an integer at least 1"),
        ({"steps": 1, "checkpoint_every": 0}, "checkpoint_every=0 must be an integer at least 1"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str):
    with pytest.raises(OptionError) as caught:
        train(task_of(), batches(), **options)
    assert str(caught.value) == message
