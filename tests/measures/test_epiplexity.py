"""Epiplexity: code lengths in closed form, the hull, teacher and student, estimates and frontiers."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unsnarl.data.known._automata import CellularAutomaton
from unsnarl.data.known._markov import MarkovSource
from unsnarl.errors import CheckpointError, DataError, OptionError
from unsnarl.information import EstimatorWarning
from unsnarl.measures.epiplexity import (
    EpiplexityFrontier,
    as_token_rows,
    common_budget,
    estimate_epiplexity,
    lower_hull,
    prequential_bits,
)
from unsnarl.measures.epiplexity._task import EpiplexityTask, log_points, mean_kl
from unsnarl.nn._gpt import GPT

SMALL = {"sizes": [(1, 16)], "batch_size": 8, "held_out": 32, "progress": False}
RULE = CellularAutomaton(90, width=6, steps=1)
SHORT = CellularAutomaton(90, width=3, steps=1)


# --- the area under a loss curve -------------------------------------------------------------------------------------


def test_the_area_of_an_exponential_curve():
    t = np.linspace(1, 5000, 5000)
    bits = prequential_bits(1.5 + 0.8 * np.exp(-t / 300), t)
    area = 0.8 * 300 * (1 - np.exp(-t / 300)) - t * 0.8 * np.exp(-t / 300)
    np.testing.assert_allclose(bits, area / math.log(2), atol=0.6)


def test_the_area_of_window_means_is_exact():
    edges = np.geomspace(1, 10_000, 61)
    means = np.diff(-200 * np.exp(-edges / 200)) / np.diff(edges)
    bits = prequential_bits(means, edges[1:] - 0.0, logged="means")
    total = np.sum(means * np.diff(edges)) + means[0] * edges[0]
    assert bits[-1] == pytest.approx((total - means[-1] * edges[-1]) / math.log(2), rel=1e-12)
    assert prequential_bits(means, edges[1:])[-1] > bits[-1] * 1.01  # trapezoids over means overstate a falling curve


def test_a_flat_curve_has_no_structure_and_units_agree():
    t = np.arange(1, 101)
    assert np.abs(prequential_bits(np.full(100, 0.7), t)).max() < 1e-10
    nats = 1 + np.exp(-t / 20)
    np.testing.assert_allclose(prequential_bits(nats, t), prequential_bits(nats / math.log(2), t, unit="bits"))


def test_bad_curves():
    t, falling = np.arange(1.0, 101), 1 + np.exp(-np.arange(100) / 20)
    for losses, tokens, message in (
        (falling[:5], t, "losses has 5"),
        (np.where(t == 3, np.nan, falling), t, "NaN"),
        (-falling, t, "negative"),
        (falling, t[::-1], "increase"),
        (falling, t - 1, "positive"),
        ([1.0], [1.0], "at least 2"),
    ):
        with pytest.raises(DataError, match=message):
            prequential_bits(losses, tokens)
    with pytest.raises(DataError, match="epochs=3"):
        prequential_bits(falling, t, epochs=3)
    with pytest.raises(DataError, match="in bits"):
        prequential_bits(8 * falling / falling[0], t, vocabulary=256)
    prequential_bits(5.545 * falling / falling[0], t, vocabulary=256)
    with pytest.warns(EstimatorWarning, match="20 logged points"):
        prequential_bits(falling[:20], t[:20])
    rates = np.minimum(t, 10)
    prequential_bits(falling, t, learning_rates=rates)
    with pytest.warns(EstimatorWarning, match="learning rate falls"):
        prequential_bits(falling, t, learning_rates=rates * np.linspace(2, 0, 100))
    with pytest.raises(OptionError, match="learning_rates has 3"):
        prequential_bits(falling, t, learning_rates=[1, 1, 1])


# --- the hull --------------------------------------------------------------------------------------------------------


def on_hull_by_definition(x, y):
    """Points that some positive price of x and of y prefers to all others, strictly below all mixtures."""
    kept = []
    for i in range(len(x)):
        below = False
        for a in range(len(x)):
            if x[a] <= x[i] and y[a] <= y[i] and (x[a] < x[i] or y[a] < y[i]):
                below = True
            for b in range(len(x)):
                if x[a] < x[i] < x[b]:
                    below |= y[a] + (y[b] - y[a]) * (x[i] - x[a]) / (x[b] - x[a]) <= y[i]
        if not below:
            kept.append(i)
    return sorted(kept, key=lambda i: x[i])


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 30)), min_size=1, max_size=12, unique=True))
@settings(max_examples=150, deadline=None)
def test_the_hull_is_what_the_definition_says(points):
    x, y = np.array(points, float).T
    assert lower_hull(x, y).tolist() == on_hull_by_definition(x, y)
    loose = lower_hull(x, y, tolerance=0.2)
    assert set(lower_hull(x, y)) <= set(loose)
    assert (np.diff(y[loose]) < 0).all()
    assert (np.diff(x[loose]) > 0).all()


def test_the_tolerance_is_a_share_of_the_hull():
    x, y = [1, 2, 3], [100, 51.4, 1]  # the hull is 50.5 high at 2
    assert lower_hull(x, y).tolist() == [0, 2]
    assert lower_hull(x, y, tolerance=0.017).tolist() == [0, 2]
    assert lower_hull(x, y, tolerance=0.019).tolist() == [0, 1, 2]
    with pytest.raises(DataError, match="must be positive"):
        lower_hull([1, 2], [1, 0], tolerance=0.1)
    with pytest.raises(DataError):
        lower_hull([], [])


# --- teacher and student ---------------------------------------------------------------------------------------------


def task_of(steps=60, data=None, **options):
    data = as_token_rows(RULE) if data is None else data
    model = GPT(data.vocabulary, data.length - 1, layers=1, width=16, seed=0)
    return EpiplexityTask(model, data, steps=steps, points=log_points(steps), warmup=5, **options)


def rows_of(task, n=8):
    return (task.data.reader(batch_size=n, seed=0)(0),)


def test_the_student_starts_as_the_teachers_twin_and_hears_only_drawn_targets(monkeypatch):
    task = task_of()
    for a, b, c in zip(
        task.teacher.parameters(), task.student.parameters(), task.student_average.parameters(), strict=True
    ):
        assert torch.equal(a, b)
        assert torch.equal(a, c)
        assert a.data_ptr() != b.data_ptr()
    heard = []
    inner = task.student.forward
    monkeypatch.setattr(task.student, "forward", lambda tokens, first=0: heard.append(tokens) or inner(tokens, first))
    batch = rows_of(task, 64)
    task("student", batch, 0, torch.Generator().manual_seed(0))
    assert torch.equal(heard[0][:, :6], batch[0][:, :6])  # real prefixes
    share = (heard[0][:, 6:] == batch[0][:, 6:-1]).float().mean()
    assert 0.35 < share < 0.65  # an untrained teacher tosses coins


def test_the_first_divergence_is_zero_and_later_ones_are_those_of_the_logits():
    task = task_of()
    task.prepare()
    generator = torch.Generator().manual_seed(0)
    assert task("student", rows_of(task), 0, generator)["kl"].item() == 0
    with torch.no_grad():
        for network in (task.teacher_average.module, task.student):
            network.head.weight.normal_(0, 0.3, generator=generator)
    kept = []
    sample = task.teacher_average.module.sample
    task.teacher_average.module.sample = lambda *a, **k: kept.append(sample(*a, **k)) or kept[-1]
    logged = task("student", rows_of(task), 1, torch.Generator().manual_seed(5))["kl"].item()
    rows, _ = kept[0]
    with torch.no_grad():
        p = torch.softmax(task.teacher_average.module(rows[:, :-1])[:, 5:], -1)
        q = torch.softmax(task.student(rows[:, :-1])[:, 5:], -1)
    assert logged == pytest.approx((p * (p / q).log()).sum(-1).mean().item(), rel=1e-4)
    assert task.divergences[1].item() == pytest.approx(logged)


def test_mean_kl_of_two_coins():
    p, q = torch.tensor([[[0.8, 0.2]]]).log(), torch.tensor([[[0.5, 0.5]]]).log()
    assert mean_kl(p, q).item() == pytest.approx(0.8 * math.log(1.6) + 0.2 * math.log(0.4), rel=1e-5)
    assert mean_kl(p + 3, p).item() == pytest.approx(0, abs=1e-7)


def test_the_loss_is_that_of_scored_tokens_only():
    data = as_token_rows(np.random.default_rng(0).integers(0, 3, (40, 8)), scored=[0, 0, 1, 0, 1, 1, 0, 0])
    task = task_of(data=data)
    with torch.no_grad():
        task.teacher.head.weight.normal_(0, 1, generator=torch.Generator().manual_seed(1))
        rows = rows_of(task, 6)[0]
        chances = torch.log_softmax(task.teacher(rows[:, :-1]), -1)
        picked = chances.gather(-1, rows[:, 1:, None])[:, [1, 3, 4], 0]
        assert task.loss(task.teacher, rows).item() == pytest.approx(-picked.mean().item(), rel=1e-5)


def test_warm_up_then_constant_or_falling_and_one_clip_for_all():
    task = task_of(steps=100)
    optimizer = task.prepare()["teacher"]
    assert [task._rate(i) for i in (0, 3, 4, 5, 99)] == pytest.approx([0.2, 0.8, 1, 1, 1])
    falling = task_of(steps=105, decay=True)
    assert [falling._rate(i) for i in (4, 5, 55, 104)] == pytest.approx([1, 1, 0.5, 0.01])
    task._factor = 0.2
    for parameter in task.teacher.parameters():
        parameter.grad = torch.ones_like(parameter)
    task._before_step(optimizer)
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in task.teacher.parameters()))
    assert norm == pytest.approx(1, rel=1e-4)
    assert {g["name"]: g["lr"] for g in optimizer.param_groups}["matrices of 16 inputs"] == pytest.approx(
        0.2 * 0.03 / 16
    )


def test_the_teacher_waits_for_a_student_that_is_behind():
    task = task_of(max_kl=0.1)
    task.prepare()
    assert task.schedule(0) == ("teacher", "student")
    task.divergences[3] = 0.2
    assert task.schedule(4) == ("student",)
    task.divergences[4] = 0.1
    assert task.schedule(5) == ("teacher", "student")
    gated = estimate_epiplexity(SHORT, steps=50, test_tokens=1e4, max_kl=1e-4, **SMALL)
    free = estimate_epiplexity(SHORT, steps=50, test_tokens=1e4, **SMALL)
    last, other = gated.points.iloc[-1], free.points.iloc[-1]
    assert last["compute"] == other["compute"]  # waiting costs the student's compute all the same
    assert gated.teachers.points["tokens"].max() < free.teachers.points["tokens"].max() == other["tokens"]
    assert last["S"] < other["S"]


# --- estimates -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def learned():
    """Rule 15, a shifted complement, on five cells, learned within 160 steps."""
    source = CellularAutomaton(15, width=5, steps=1)
    return estimate_epiplexity(
        source,
        [(1, 16), (1, 32)],
        steps=160,
        batch_size=16,
        test_tokens=1e5,
        ema_steps=20,
        held_out=200,
        progress=False,
    )


def test_a_learnable_rule_becomes_structure(learned):
    for frontier in (learned, learned.teachers):
        found = frontier.at()
        assert found.H_per_token < 0.5
        assert 500 < found.S < 20_000
        assert pytest.approx(found.S + found.H) == found.K
    # a teacher's area prices its whole way, a student that is told less: the second is the tighter bound
    assert learned.at().S < learned.teachers.at().S


def test_coin_tosses_have_no_structure():
    coins = as_token_rows(np.random.default_rng(0).integers(0, 2, (2000, 12)))
    found = estimate_epiplexity(coins, [(1, 16)], batch_size=16, test_tokens=2e4, progress=False).at()
    assert found.H_per_token == pytest.approx(1, abs=0.02)
    assert found.S < 100


def test_a_markov_chain_is_as_random_as_its_entropy_rate():
    chain = MarkovSource([[0.95, 0.05], [0.3, 0.7]])
    found = estimate_epiplexity(
        chain, [(1, 16)], steps=150, batch_size=16, context=16, method="prequential", test_tokens=1e6, progress=False
    ).at()
    assert found.H_per_token == pytest.approx(chain.entropy_rate() / math.log(2), abs=0.06)


def test_every_number_of_a_point_follows_from_its_run(learned):
    for frontier in (learned, learned.teachers):
        p = frontier.points
        np.testing.assert_allclose(p["compute"], 6 * p["parameters"] * p["tokens"] + 2 * p["parameters"] * 1e5)
        np.testing.assert_allclose(p["H"], 1e5 * p["loss"])
        np.testing.assert_allclose(p["K"], p["S"] + p["H"])
        np.testing.assert_allclose(p["tokens"], p["step"] * 16 * 5)
        assert len(p) >= 2 * 50
        assert set(zip(p["layers"], p["width"], strict=True)) == {(1, 16), (1, 32)}
    s = learned.points[learned.points["width"] == 16]["S"].to_numpy()
    assert (np.diff(s) >= 0).all()  # a sum of divergences


def test_the_frontier_is_read_at_the_least_description_not_at_the_lowest_loss():
    points = pd.DataFrame(
        {
            "layers": 1, "width": 8, "step": [1, 2, 3, 4], "tokens": [1, 2, 3, 4], "compute": [1.0, 2.0, 3.0, 4.0],
            "S": [1.0, 5.0, 20.0, 70.0], "H": [99.0, 60.0, 40.0, 30.0], "K": [100.0, 65.0, 60.0, 100.0],
            "loss": [0.99, 0.6, 0.4, 0.3], "train_loss": [1, 0.6, 0.4, 0.3],
        }
    )  # fmt: skip
    frontier = EpiplexityFrontier.of(points, tolerance=0.0, method="prequential", test_tokens=100.0, vocabulary=2)
    assert frontier.K.tolist() == [100, 65, 60]
    assert (frontier.at().S, frontier.at().H, frontier.at().step) == (20, 40, 3)
    assert frontier.at(2.5).S == 5
    assert frontier.at(3.0).H_per_token == 0.4
    with pytest.raises(OptionError, match="pays for no measured program"):
        frontier.at(0.5)
    with pytest.warns(EstimatorWarning, match="exceeds all that was measured"):
        assert frontier.at(1e9).S == 20
    assert frontier.compute.tolist() == [1, 2, 3]
    assert len(frontier.medians()) == 1
    assert frontier.medians()["step"].tolist() == [2]


def test_a_curve_that_ends_early_is_called_a_lower_bound():
    with pytest.warns(EstimatorWarning, match="ends before the plateau.*S is a lower bound"):
        early = estimate_epiplexity(
            CellularAutomaton(90, 8, 1), steps=60, method="prequential", test_tokens=1e7, **SMALL
        )
    assert early.at().lower_bound
    assert early.notes
    assert not early.at(early.compute[0] * 1.001).lower_bound


def test_bad_options():
    for options, error, message in (
        ({"steps": 49}, OptionError, "steps=49 is too few"),
        ({"steps": None}, OptionError, "has no end; say how long"),
        ({"test_tokens": None}, OptionError, "say how many tokens count"),
        ({"epochs": 2}, OptionError, "epochs=2"),
        ({"method": "both"}, OptionError, "method='both'"),
        ({"sizes": []}, OptionError, "at least one size"),
        ({"sizes": [8]}, OptionError, "must be pairs"),
        ({"sizes": [(1, 8), (1, 8)]}, OptionError, "each once"),
        ({"sizes": [(0, 8)]}, OptionError, "layers of sizes=0"),
        ({"max_kl": 0.1, "method": "prequential"}, OptionError, "has none"),
        ({"schedule": "cosine"}, OptionError, "schedule='cosine'"),
        ({"tolerance": 2}, OptionError, "tolerance=2"),
        ({"held_out": 0}, OptionError, "held_out=0"),
    ):
        with pytest.raises(error, match=message):
            estimate_epiplexity(RULE, **({"steps": 60, "test_tokens": 1e4, **SMALL} | options))


def test_one_pass_only():
    options = SMALL | {"held_out": None}  # a tenth of the rows
    data = np.random.default_rng(0).integers(0, 2, (500, 6))
    with pytest.raises(DataError, match=r"enough for 56 steps of 8 .* but steps=57 needs several passes"):
        estimate_epiplexity(data, steps=57, **options)
    with pytest.raises(OptionError, match="held_out=500 leaves nothing"):
        estimate_epiplexity(data, steps=50, **(options | {"held_out": 500}))
    frontier = estimate_epiplexity(data, **options)
    assert frontier.points["step"].max() == 56
    assert frontier.test_tokens == 500 * 5


def test_a_falling_rate_is_warned_of():
    with pytest.warns(EstimatorWarning, match="learning rate falls"):
        estimate_epiplexity(RULE, steps=50, test_tokens=1e3, schedule="linear", method="prequential", **SMALL)


class Stop(Exception):
    pass


@pytest.mark.parametrize("options", [{}, {"max_kl": 1e-3}])
def test_an_interrupted_estimate_ends_with_the_same_numbers(tmp_path, options):
    arguments = {
        "steps": 50,
        "test_tokens": 1e4,
        "checkpoint_every": 10,
        "sizes": [(1, 8), (1, 16)],
        "batch_size": 4,
        "held_out": 16,
    }
    arguments |= {"progress": False, **options}
    whole = estimate_epiplexity(SHORT, **arguments)

    def stop(done, of):
        assert of == 100
        if done == 87:
            raise Stop

    with pytest.raises(Stop):
        estimate_epiplexity(SHORT, run=tmp_path, on_step=stop, **arguments)
    resumed = estimate_epiplexity(SHORT, run=tmp_path, **arguments)
    pd.testing.assert_frame_equal(whole.points, resumed.points, check_exact=True)
    pd.testing.assert_frame_equal(whole.teachers.points, resumed.teachers.points, check_exact=True)
    with pytest.raises(CheckpointError, match="other settings"):
        estimate_epiplexity(SHORT, run=tmp_path, **(arguments | {"lr": 0.01}))


def test_pictures_and_tables(learned):
    figure = learned.plot()
    assert len(figure.axes) == 3
    assert {line.get_label() for line in figure.axes[0].lines} >= {learned.name}
    assert learned.table()["K"].is_monotonic_decreasing


def test_only_like_is_compared_with_like(learned):
    assert common_budget([learned, learned]) == learned.largest_budget
    with pytest.raises(DataError, match=r"method requential but .* has prequential"):
        common_budget([learned, learned.teachers])
    other = EpiplexityFrontier.of(
        learned.points, tolerance=0, method="requential", test_tokens=1e5, vocabulary=3, name="other"
    )
    with pytest.raises(DataError, match="vocabulary 2 but other has 3"):
        common_budget([learned, other])
    with pytest.raises(DataError, match="nothing to compare"):
        common_budget([])
