"""The regressors' targets and readings, distances of factors, and the gates, each on an answer that is known."""

import numpy as np
import pytest
import torch

from unsnarl.data._color_sprites import NAMES, RANGES, draw_sprites, render_color_sprites
from unsnarl.data._sprites import SHAPES
from unsnarl.data.scenes import to_signed
from unsnarl.errors import DataError, OptionError
from unsnarl.training import train
from unsnarl.zoo._gan_gates import (
    GATES,
    coverage,
    frechet_distance,
    gan_gates,
    linear_readability,
    reading_accuracy,
)
from unsnarl.zoo._gan_regressors import (
    GAN_REGRESSORS,
    FactorNetwork,
    FactorRegressors,
    RegressorBatches,
    RegressorTask,
    SpriteReading,
    factor_changes,
    sprite_targets,
)
from unsnarl.zoo._networks import read_network, write_network


def rows_of(n, seed=0):
    return draw_sprites(n, np.random.default_rng(seed))


class Knowing(torch.nn.Module):
    """Answers with what is true of the sprites it was told, in order; its features are those answers."""

    def __init__(self, *rows):
        super().__init__()
        self.answers = [sprite_targets(r)[1:] for r in rows]

    def body(self, images):
        return images.mean((2, 3))

    def forward(self, images):
        shape, hue, numbers = self.answers[0]
        told, rest = (shape[: len(images)], hue[: len(images)], numbers[: len(images)]), len(images)
        self.answers[0] = (shape[rest:], hue[rest:], numbers[rest:])
        if not len(self.answers[0][0]):
            self.answers.pop(0)
        return 9.0 * torch.nn.functional.one_hot(told[0], len(SHAPES)).float(), told[1], told[2]


def reading_of(rows):
    return FactorRegressors(Knowing(rows)).read(torch.zeros(len(rows), 3, 32, 32), rows=max(1, len(rows) // 3))


def test_what_the_targets_say_is_read_back():
    rows = rows_of(300)
    reading = reading_of(rows)
    assert list(reading) == list(NAMES)
    assert len(reading) == 7
    for column, name in enumerate(RANGES, start=1):
        np.testing.assert_allclose(reading[name], rows[:, column], atol=1e-4 * (RANGES[name][1] - RANGES[name][0]))
    np.testing.assert_array_equal(reading["shape"], np.array(SHAPES)[rows[:, 0].astype(int)])
    np.testing.assert_allclose(reading.rows[:, 1:], rows[:, 1:], atol=1e-2)
    assert reading.sure.all()
    assert set(reading_accuracy(reading, rows)) == set(NAMES)
    assert min(reading_accuracy(reading, rows).values()) > 0.9999
    table = reading.table()
    assert table.names == list(NAMES)
    assert table.kinds["shape"] == "discrete"
    images, shape, hue, numbers = sprite_targets(rows)
    assert torch.equal(images, to_signed(render_color_sprites(rows)))
    assert shape.tolist() == rows[:, 0].astype(int).tolist()
    assert torch.allclose(hue.norm(dim=1), torch.ones(300), atol=1e-6)
    assert torch.allclose(numbers.std(0), torch.ones(5), atol=0.15)


def test_numbers_are_read_in_their_units_and_have_gradients():
    torch.manual_seed(0)
    regressors = FactorRegressors(FactorNetwork(16))
    images = torch.zeros(2, 3, 32, 32, requires_grad=True)
    told = regressors.predict(images)
    assert set(told) == set(NAMES)
    assert (told["shape"].shape, told["hue"].shape, told["size"].shape) == ((2, 3), (2, 2), (2,))
    raw = regressors.network(images)[2][:, 1]
    assert torch.allclose(told["orientation"], 70 / np.sqrt(12) * raw, atol=1e-5)
    told["orientation"].sum().backward()
    assert float(images.grad.abs().sum()) > 0
    assert regressors.features(images.detach()).shape == (2, 128)


def test_what_is_not_sure():
    rows = rows_of(40)
    good = reading_of(rows)
    assert good.sure.all()

    def sure(**changes):
        parts = {
            "factors": dict(good.factors),
            "shape_probabilities": good.shape_probabilities,
            "hue_length": good.hue_length,
        }
        return SpriteReading(**(parts | changes)).sure

    doubtful = good.shape_probabilities.copy()
    doubtful[3] = [0.5, 0.4, 0.1]
    assert np.flatnonzero(~sure(shape_probabilities=doubtful)).tolist() == [3]
    assert not sure(hue_length=np.full(40, 0.5)).any()
    large = good.factors | {"size": np.where(np.arange(40) == 7, 1.32, 1.0)}
    assert np.flatnonzero(~sure(factors=large)).tolist() == [7]  # more than a tenth of 0.55 above 1.25
    assert SpriteReading(large, good.shape_probabilities, good.hue_length).rows[7, 2] == 1.25


def test_changes_are_alike_for_all_factors():
    first, second = rows_of(6_000, 0), rows_of(6_000, 1)
    changes = factor_changes(reading_of(first), reading_of(second))
    assert list(changes) == list(NAMES)
    for name, moved in changes.items():  # two independent sprites are sqrt 2 apart in every factor
        assert np.sqrt(np.square(moved).mean()) == pytest.approx(np.sqrt(2), rel=0.04), name
    before, after = rows_of(4), rows_of(4)
    before[:, 1], after[:, 1] = [0.95, 0.1, 0.2, 0.3], [0.05, 0.9, 0.3, 0.2]
    turned = factor_changes(reading_of(before), reading_of(after))
    np.testing.assert_allclose(turned["hue"] * np.sqrt(1 / 24), [0.1, -0.2, 0.1, -0.1], atol=1e-4)
    assert np.abs(turned["size"]).max() < 1e-3
    with pytest.raises(DataError, match="4 images"):
        factor_changes(reading_of(before), reading_of(rows_of(3)))


def test_the_regressors_learn_and_are_written(tmp_path):
    torch.manual_seed(0)
    task = RegressorTask(steps=25, degraded=0.0, width=16, lr=4e-3)
    batches = RegressorBatches(16, seed=1)
    history = train(task, lambda step: batches(step % 2), steps=25, log_every=1, progress=False)
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    assert {"shape", "hue", "numbers"} < set(history[-1])
    write_network(task.network, tmp_path, {})
    again = read_network(FactorNetwork(16), tmp_path)
    images = batches(0)[0]
    for ours, theirs in zip(task.network(images), again(images), strict=True):
        assert torch.allclose(ours, theirs, atol=0.05)
    assert torch.equal(RegressorBatches(16, seed=1)(7)[0], batches(7)[0])


def test_the_recipe_gives_what_reads(tmp_path, monkeypatch):
    from unsnarl.zoo import _gan_regressors

    monkeypatch.setattr(_gan_regressors, "BATCH", 4)
    folder = GAN_REGRESSORS.train({}, tmp_path, steps=2, progress=False)
    loaded = GAN_REGRESSORS.load(folder)
    assert isinstance(loaded, FactorRegressors)
    assert len(loaded.read(torch.zeros(3, 3, 32, 32))["size"]) == 3
    assert sum(p.numel() for p in loaded.network.parameters()) < 1e6


def test_the_frechet_distance_of_known_gaussians():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4000, 3))
    x = (x - x.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T  # covariance I exactly
    spread = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.3], [0.0, 0.3, 0.5]])
    y = x @ np.linalg.cholesky(spread).T + np.array([1.0, 0.0, -2.0])
    expected = 5.0 + 3 + np.trace(spread) - 2 * np.sqrt(np.linalg.eigvalsh(spread)).sum()
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(y, x) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(y, y) == pytest.approx(0.0, abs=1e-9)


def test_coverage_sees_what_is_missing():
    rows = rows_of(3000)
    assert all(share == 1.0 for share in coverage(reading_of(rows)).values())
    rows[:, 0] = np.minimum(rows[:, 0], 1)  # no hearts
    rows[:, 1] *= 0.5  # half the hues
    rows[:, 4] = 0.5
    filled = coverage(reading_of(rows))
    assert filled["shape"] == pytest.approx(2 / 3)
    assert filled["hue"] == 0.5
    assert filled["x"] == 0.1
    assert filled["y"] == 1.0
    far = reading_of(rows)
    far.factors["y"][:] = 1.5
    assert coverage(far)["y"] == 0.0
    far.factors["y"][:] = 1.05
    assert coverage(far)["y"] == 0.1


def test_accuracy_falls_with_error_as_it_should():
    rows = rows_of(5000)
    told = rows.copy()
    rng = np.random.default_rng(2)
    told[:, 4] = np.clip(rows[:, 4] + 0.1 * rng.standard_normal(5000), 0, 1)
    told[:, 1] = (rows[:, 1] + 0.05 * rng.standard_normal(5000)) % 1.0
    told[:1000, 0] = (rows[:1000, 0] + 1) % 3
    found = reading_accuracy(reading_of(told), rows)
    assert found["shape"] == pytest.approx(0.8)
    assert found["x"] == pytest.approx(1 - 0.01 * 12, abs=0.03)
    assert found["hue"] == pytest.approx(2 * np.exp(-0.5 * (0.1 * np.pi) ** 2) - 1, abs=0.01)  # 1 - E|difference|^2
    assert found["size"] > 0.999


def test_what_is_linear_in_the_codes_is_found_and_nothing_else():
    rows = rows_of(4000)
    reading = reading_of(rows)
    columns, _ = reading.numeric()
    rng = np.random.default_rng(0)
    columns = columns / columns.std(0)
    codes = columns[:, 3:] @ rng.standard_normal((7, 12)) + 5.0  # all but the shape
    linear = linear_readability(codes, reading)
    assert min(linear[name] for name in RANGES) > 0.97
    assert linear["shape"] < 0.02
    none = linear_readability(rng.standard_normal((4000, 12)), reading)
    assert max(none.values()) < 0.02


class Renderer(torch.nn.Module):
    """A generator that draws sprites from uniform numbers that its w are, as a perfect one would."""

    latent = 7

    def style(self, z):
        return torch.special.ndtr(z)

    def synthesize(self, w):
        rows = w.double().numpy().copy()
        rows[:, 0] = np.floor(3 * rows[:, 0])
        for column, (low, high) in enumerate(RANGES.values(), start=1):
            rows[:, column] = low + (high - low) * rows[:, column]
        self.seen = [*getattr(self, "seen", []), rows]
        return to_signed(render_color_sprites(rows))


def test_the_gates_of_a_perfect_generator_and_of_one_that_fails():
    seen = Renderer()
    w = seen.style(torch.randn(400, 7, generator=torch.Generator().manual_seed(0)))
    seen.synthesize(w)
    made = np.concatenate(seen.seen)
    rows = draw_sprites(400, np.random.default_rng([0, 41]))
    # read in this order: renders, degraded renders, then what was generated
    knowing = FactorRegressors(Knowing(rows, rows, made))
    numbers = gan_gates({"gan-regressors": knowing, "gan-tiny-32": Renderer()}, n=400)
    assert set(GATES) <= set(numbers)
    assert numbers["regressors: worst R2 on renders"] > 0.999
    assert numbers["gan: sure"] == 1.0
    assert numbers["gan: coverage"] > 0.95
    assert numbers["gan: rendered again"] < 0.01
    assert numbers["gan: R2 of ridge from w to size"] > 0.95
    assert numbers["gan: Frechet distance"] < 0.05
    assert (
        abs(numbers["gan: R2 of ridge from w"] - np.mean([numbers[f"gan: R2 of ridge from w to {f}"] for f in NAMES]))
        < 1e-9
    )
    alone = gan_gates({"gan-regressors": FactorRegressors(Knowing(rows, rows))}, n=400)
    assert not any(name.startswith("gan:") for name in alone)


def test_random_networks_meet_no_gate():
    from unsnarl.zoo._style_gan import Generator

    torch.manual_seed(0)
    models = {
        "gan-regressors": FactorRegressors(FactorNetwork(16)),
        "gan-tiny-32": Generator(widths=(8, 8, 8, 8)).eval(),
    }
    numbers = gan_gates(models, n=300)
    assert all(np.isfinite(list(numbers.values())))
    for name in ("gan: sure", "gan: coverage", "regressors: worst R2 on renders"):
        bar, side = GATES[name]
        assert side == "least"
        assert numbers[name] < bar


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda r: r.read(torch.zeros(2, 1, 32, 32)), DataError, r"\(n, 3, 32, 32\), got torch.Size\(\[2, 1"),
        (lambda r: r.predict(torch.zeros(2, 3, 64, 64)), DataError, "32"),
        (lambda r: r.read(torch.full((1, 3, 32, 32), torch.nan)), DataError, "finite"),
        (lambda r: gan_gates({"gan-tiny-32": r}), OptionError, "gan-regressors"),
        (lambda r: gan_gates({"gan-regressors": r}, n=10), OptionError, "n=10"),
    ],
)
def test_bad_input_gets_one_sentence(call, error, message):
    with pytest.raises(error, match=message):
        call(FactorRegressors(FactorNetwork(16)))
