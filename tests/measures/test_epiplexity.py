"""Epiplexity: code lengths in closed form, the hull, rows of tokens, teacher and student, estimates, rankings."""

import json
import math
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unsnarl.data.known._automata import CellularAutomaton
from unsnarl.data.known._markov import MarkovSource
from unsnarl.errors import CheckpointError, DataError, FileError, MissingExtraError, OptionError
from unsnarl.information import EstimatorWarning
from unsnarl.measures.epiplexity import (
    EpiplexityFrontier,
    as_token_rows,
    common_budget,
    estimate_epiplexity,
    lower_hull,
    pair_rows,
    prequential_bits,
    rank_files,
    read_dataset,
    read_tokens,
    tokenize,
)
from unsnarl.measures.epiplexity._task import EpiplexityTask, log_points, mean_kl
from unsnarl.nn._gpt import GPT

SMALL = {"sizes": [(1, 16)], "batch_size": 8, "progress": False}
RULE = CellularAutomaton(90, width=6, steps=1)


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


# --- rows of tokens --------------------------------------------------------------------------------------------------


def test_a_stream_is_cut_and_rows_are_kept():
    stream = as_token_rows(np.arange(1000) % 9, context=30)
    assert stream.rows.shape == (33, 30)
    assert (stream.vocabulary, stream.scored_per_row) == (9, 29)
    rows = as_token_rows(np.zeros((5, 7), np.uint8), scored=[0, 0, 1, 1, 0, 1, 1])
    assert (rows.vocabulary, rows.first, rows.scored_per_row) == (256, 2, 4)
    images = as_token_rows(np.zeros((4, 8, 8, 3), np.uint8), context=64)
    assert images.rows.shape == (12, 64)
    assert as_token_rows(stream) is stream


def test_every_row_is_read_once_and_held_out_rows_never():
    data = as_token_rows(np.arange(600).reshape(60, 10))
    reader = data.reader(batch_size=5, seed=1, held_out=10)
    seen = torch.cat([reader(i) for i in range(10)] + [reader.held_out])[:, 0].tolist()
    assert sorted(seen) == list(range(0, 600, 10))
    assert torch.equal(reader(3), data.reader(batch_size=5, seed=1, held_out=10)(3))
    assert not torch.equal(reader(3), data.reader(batch_size=5, seed=2, held_out=10)(3))
    with pytest.raises(DataError, match="another pass"):
        reader(10)


def test_endless_sources_of_either_kind():
    reader = as_token_rows(RULE).reader(batch_size=4, seed=0)
    assert reader(0).shape == (4, 12)
    assert not torch.equal(reader(0), reader(1))
    chain = as_token_rows(MarkovSource([[0.9, 0.1], [0.5, 0.5]]), context=20)
    assert chain.reader(batch_size=4, seed=0)(7).shape == (4, 20)
    assert chain.scored_per_row == 19


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ([0.5, 1.0], {}, "whole numbers"),
        (np.zeros(300, int) - 1, {}, "negative token -1"),
        (np.arange(300), {"vocabulary": 10}, "allows 0 to 9"),
        (np.arange(20), {"context": 16}, "1 row of 16 tokens"),
        (np.zeros((4, 1), int), {}, "4 rows of 1 tokens"),
        (np.zeros((4, 3), int), {"scored": [1, 0, 0]}, "nothing to predict"),
        (np.zeros((4, 3), int), {"scored": [1, 0]}, "one mark a column"),
        (np.zeros((4, 3, 2), int), {}, "only images"),
        (np.zeros(0, int), {}, "shape"),
    ],
)
def test_data_that_are_no_rows(data, options, message):
    with pytest.raises(DataError, match=message):
        as_token_rows(np.asarray(data), **options)


def test_pairs_are_joined_and_scored():
    x, y = np.arange(8).reshape(4, 2), np.arange(12).reshape(4, 3)
    given_x = pair_rows(x, y)
    np.testing.assert_array_equal(given_x.rows, np.concatenate([x, y], axis=1))
    assert given_x.scored.tolist() == [False, False, True, True, True]
    assert pair_rows(y, x, score="both").scored_per_row == 4
    with pytest.raises(DataError, match="one row a pair"):
        pair_rows(x, y[:2])


def test_files_of_every_kind(tmp_path):
    (tmp_path / "a.txt").write_text("grüß " * 60, encoding="utf-8")
    text = read_tokens(tmp_path / "a.txt", context=32)
    assert bytes(text.rows.reshape(-1)[:7].astype(np.uint8)).decode() == "grüß "
    assert (text.vocabulary, text.unit) == (256, "bytes")
    np.save(tmp_path / "t.npy", np.arange(500) % 40)
    tokens = read_tokens(tmp_path / "t.npy", context=50)
    assert (tokens.vocabulary, tokens.unit, tokens.count) == (40, "tokens", 10)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    colour = read_tokens(tmp_path / "p.png", context=30, color=True)
    np.testing.assert_array_equal(colour.rows.reshape(-1), pixels.reshape(-1))
    grey = read_tokens(tmp_path / "p.png", context=30)
    assert grey.rows.shape == (20, 30)
    (tmp_path / "many").mkdir()
    for name in "ab":
        Image.fromarray(pixels).save(tmp_path / "many" / f"{name}.png")
    np.testing.assert_array_equal(read_tokens(tmp_path / "many", context=30).rows, np.concatenate([grey.rows] * 2))
    assert read_tokens(tmp_path / "a.txt", context=32, limit=64).count == 2


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "empty.txt").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "broken.png").write_bytes(b"no image at all")
    (tmp_path / "latin.txt").write_bytes("grüß".encode("latin-1") * 50)
    np.save(tmp_path / "real.npy", np.ones(400))
    (tmp_path / "short.txt").write_text("short")
    for name, error, message in (
        ("absent.txt", FileError, "there is no file"),
        ("empty.txt", FileError, "empty"),
        ("broken.png", FileError, "cannot read the image"),
        ("real.npy", DataError, "real.npy: data must hold tokens"),
        ("short.txt", DataError, "short.txt: data gives 0 rows"),
        ("folder", FileError, "holds no images"),
    ):
        with pytest.raises(error, match=message):
            read_tokens(tmp_path / name)
    with pytest.raises(FileError, match="not UTF-8"):
        read_tokens(tmp_path / "latin.txt", tokenizer=Words())
    with pytest.raises(FileError, match="cannot load the tokenizer"):
        read_tokens(tmp_path / "short.txt", tokenizer=str(tmp_path / "no-tokenizer"))


class Words:
    """A tokenizer with the two methods that are needed: one token a letter."""

    name_or_path = "letters"

    def __len__(self):
        return 128

    def encode(self, text, add_special_tokens=True):
        assert not add_special_tokens
        return [ord(c) for c in text]


def test_tokenizers_and_published_sets(monkeypatch):
    data = tokenize(["abc" * 30, "de" * 30], Words(), context=50)
    assert (data.vocabulary, data.unit, data.count) == (128, "tokens of letters", 3)
    assert tokenize(["abc" * 30], Words(), context=10, limit=45).count == 4
    with pytest.raises(DataError, match="found a int"):
        tokenize([3], Words())
    with pytest.raises(OptionError, match="tokenizer is a int"):
        tokenize(["abc"], 3)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match="datasets"):
        read_dataset("Skylion007/openwebtext")
    fake = type(sys)("datasets")
    fake.load_dataset = lambda name, split, streaming: ({"text": f"{name} {split} "} for _ in range(1000))
    monkeypatch.setitem(sys.modules, "datasets", fake)
    found = read_dataset("who/what", limit=1280, context=64)
    assert (found.count, found.name) == (20, "who/what")
    with pytest.raises(DataError, match="no column 'code'; it has 'text'"):
        read_dataset("who/what", column="code")


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
    gated = estimate_epiplexity(RULE, steps=60, test_tokens=1e4, max_kl=1e-4, **SMALL)
    free = estimate_epiplexity(RULE, steps=60, test_tokens=1e4, **SMALL)
    last, other = gated.points.iloc[-1], free.points.iloc[-1]
    assert last["compute"] == other["compute"]  # waiting costs the student's compute all the same
    assert gated.teachers.points["tokens"].max() < free.teachers.points["tokens"].max() == other["tokens"]
    assert last["S"] < other["S"]


# --- estimates -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def learned():
    """Rule 90 on six cells, learned within 300 steps."""
    return estimate_epiplexity(
        RULE, [(1, 16), (1, 32)], steps=300, batch_size=16, test_tokens=2e4, progress=False, warmup=20
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
        np.testing.assert_allclose(p["tokens"], p["step"] * 16 * 6)
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
    data = np.random.default_rng(0).integers(0, 2, (500, 6))
    with pytest.raises(DataError, match=r"enough for 56 steps of 8 .* but steps=57 needs several passes"):
        estimate_epiplexity(data, steps=57, **SMALL)
    with pytest.raises(OptionError, match="held_out=500 leaves nothing"):
        estimate_epiplexity(data, steps=50, held_out=500, **SMALL)
    frontier = estimate_epiplexity(data, **SMALL)
    assert frontier.points["step"].max() == 56
    assert frontier.test_tokens == 500 * 5


def test_a_falling_rate_is_warned_of():
    with pytest.warns(EstimatorWarning, match="learning rate falls"):
        estimate_epiplexity(RULE, steps=50, test_tokens=1e3, schedule="linear", method="prequential", **SMALL)


class Stop(Exception):
    pass


@pytest.mark.parametrize("options", [{}, {"max_kl": 1e-3}])
def test_an_interrupted_estimate_ends_with_the_same_numbers(tmp_path, options):
    arguments = {"steps": 60, "test_tokens": 1e4, "checkpoint_every": 10, "sizes": [(1, 8), (1, 16)], "batch_size": 8}
    arguments |= {"progress": False, **options}
    whole = estimate_epiplexity(RULE, **arguments)

    def stop(done, of):
        assert of == 120
        if done == 97:
            raise Stop

    with pytest.raises(Stop):
        estimate_epiplexity(RULE, run=tmp_path, on_step=stop, **arguments)
    resumed = estimate_epiplexity(RULE, run=tmp_path, **arguments)
    pd.testing.assert_frame_equal(whole.points, resumed.points, check_exact=True)
    pd.testing.assert_frame_equal(whole.teachers.points, resumed.teachers.points, check_exact=True)
    with pytest.raises(CheckpointError, match="other settings"):
        estimate_epiplexity(RULE, run=tmp_path, **(arguments | {"lr": 0.01}))


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


# --- rankings --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    (folder / "noise.bin").write_bytes(rng.bytes(16_000))
    words = [bytes(rng.integers(97, 123, 4)) for _ in range(8)]
    (folder / "words.txt").write_bytes(b"".join(words[i] for i in rng.integers(0, 8, 4000)))
    return folder


def test_words_have_more_structure_than_noise_which_gzip_does_not_see(files, tmp_path):
    seen = []
    ranking = rank_files(
        [files / "noise.bin", files / "words.txt"], sizes=[(1, 32)], context=16, method="prequential", run=tmp_path,
        progress=False, on_step=lambda done, of: seen.append((done, of)),
    )  # fmt: skip
    assert list(ranking.frontiers) == ["words.txt", "noise.bin"]
    table = ranking.table().set_index("data")
    assert table.loc["words.txt", "S"] > 3 * table.loc["noise.bin", "S"]
    assert table.loc["noise.bin", "gzip"] > table.loc["words.txt", "gzip"]
    assert table.loc["noise.bin", "H"] > 7.5
    assert seen[-1][0] == seen[-1][1]
    assert ranking.finding[0].startswith("words.txt has the most structure")
    assert any("gzip leaves noise.bin the largest" in sentence for sentence in ranking.finding)
    kept = json.loads(json.dumps(ranking.to_dict(), allow_nan=False))
    assert [row["data"] for row in kept["ranking"]] == ["words.txt", "noise.bin"]
    again = rank_files([files / "noise.bin", files / "words.txt"], sizes=[(1, 32)], context=16, method="prequential",
                       run=tmp_path, progress=False)  # fmt: skip
    pd.testing.assert_frame_equal(again.table(), ranking.table())
    assert ranking.plot().axes


def test_bad_files_and_mixtures(files, tmp_path):
    np.save(tmp_path / "tokens.npy", np.arange(9000) % 900)
    np.save(tmp_path / "few.npy", np.arange(9000) % 9)
    (tmp_path / "short.txt").write_text("x" * 900)
    with pytest.raises(DataError, match="files of one kind"):
        rank_files([files / "words.txt", tmp_path / "tokens.npy"])
    with pytest.raises(DataError, match=r"short.txt has 14 rows of 64 tokens, enough for 1 steps"):
        rank_files([files / "words.txt", tmp_path / "short.txt"])
    with pytest.raises(OptionError, match="at least one file"):
        rank_files([])
    with pytest.raises(OptionError, match="list"):
        rank_files("words.txt")
    with pytest.raises(OptionError, match="twice"):
        rank_files([files / "words.txt", files / "words.txt"])
    with pytest.raises(FileError, match="no file"):
        rank_files([files / "absent.txt"])
    with warnings.catch_warnings():
        warnings.simplefilter("error", EstimatorWarning)
        with pytest.raises(EstimatorWarning, match="up to 8 in one file and 899 in another"):
            rank_files([tmp_path / "tokens.npy", tmp_path / "few.npy"])
