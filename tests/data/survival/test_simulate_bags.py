"""Simulated slides: what is announced is what is there."""

from __future__ import annotations

import numpy as np
import pytest

from unsnarl.data.survival import load_survival, simulate_bags
from unsnarl.errors import OptionError


def ordered(time, event, risk) -> float:
    """Harrell's C by looking at every pair."""
    good = total = 0.0
    for i in np.flatnonzero(event):
        after = time > time[i]
        good += (risk[i] > risk[after]).sum() + 0.5 * (risk[i] == risk[after]).sum()
        total += after.sum()
    return good / total


def test_the_announced_numbers():
    data = simulate_bags(360)
    sizes = [len(bag) for bag in data["patches"]]
    assert len(data) == 360
    assert min(sizes) >= 64
    assert max(sizes) <= 128
    assert data["genes"].shape == (360, 72)
    assert len(data.pathways["genes"]) == 6
    assert set(np.unique(np.concatenate(data.truth["types"]))) == set(range(8))
    assert [len(k) for k in data.truth["types"]] == sizes


@pytest.mark.parametrize("censored", [0.0, 0.2, 0.4, 0.6])
def test_the_share_of_censored_patients(censored):
    event = np.concatenate(
        [simulate_bags(2000, seed=s, censored=censored, patches=(1, 1), features=1).event for s in (0, 1)]
    ) if censored else np.array([True])  # fmt: skip
    assert 1 - event.mean() == pytest.approx(censored, abs=0.03)


def test_the_oracle_orders_best_and_times_are_exponential():
    data = simulate_bags(1500, seed=3, patches=(1, 1), features=1)
    risk, latents = data.truth["risk"], data.truth["latents"]
    oracle = ordered(data.time, data.event, risk)
    assert 0.78 < oracle < 0.85
    assert oracle > max(ordered(data.time, data.event, latents[:, k]) for k in range(3)) + 0.04
    np.testing.assert_allclose(risk, 0.7 * latents.sum(1))
    assert np.corrcoef(latents[:, 1], latents[:, 2])[0, 1] == pytest.approx(0.7, abs=0.05)
    assert abs(np.corrcoef(latents[:, 0], latents[:, 2])[0, 1]) < 0.08
    # with everyone observed, time * hazard is a unit exponential
    full = simulate_bags(1500, seed=3, patches=(1, 1), features=1, censored=0.0, effects=(0.5, 0.2, 0.1))
    unit = full.time / 60 * np.exp(full.truth["risk"])
    assert unit.mean() == pytest.approx(1, abs=0.08)
    assert unit.std() == pytest.approx(1, abs=0.12)


def test_tissues_and_pathways_carry_what_they_should():
    data = simulate_bags(500, seed=1)
    shares = np.stack([np.bincount(k, minlength=8) / len(k) for k in data.truth["types"]])
    a, b, c = data.truth["latents"].T
    assert np.corrcoef(shares[:, 0], a)[0, 1] > 0.7
    assert np.corrcoef(shares[:, 1], b)[0, 1] > 0.7
    assert abs(np.corrcoef(shares[:, 4], a)[0, 1]) < 0.4
    arrays = data.pathway_arrays()
    assert np.corrcoef(arrays["pathway 0"].mean(1), c)[0, 1] > 0.9
    assert abs(np.corrcoef(arrays["pathway 3"].mean(1), c)[0, 1]) < 0.15
    # patches of one type lie about one mean, with unit noise
    first = np.concatenate([bag[k == 0] for bag, k in zip(data["patches"], data.truth["types"], strict=True)])
    other = np.concatenate([bag[k == 5] for bag, k in zip(data["patches"], data.truth["types"], strict=True)])
    np.testing.assert_allclose(first.std(0), 1, atol=0.05)
    assert np.linalg.norm(first.mean(0) - other.mean(0)) > 2


def test_seeds():
    one, same, other = simulate_bags(20, seed=1), simulate_bags(20, seed=1), simulate_bags(20, seed=2)
    np.testing.assert_array_equal(one.time, same.time)
    np.testing.assert_array_equal(one["patches"][7], same["patches"][7])
    assert not np.array_equal(one.time, other.time)
    # two sets of patients share one world: the same tissues and loadings
    far = simulate_bags(300, seed=9)
    mean = lambda d, k: np.concatenate([b[t == k] for b, t in zip(d["patches"], d.truth["types"], strict=True)]).mean(0)  # noqa: E731
    np.testing.assert_allclose(mean(simulate_bags(300, seed=1), 3), mean(far, 3), atol=0.12)
    assert np.abs(mean(simulate_bags(300, seed=1, world=1), 3) - mean(far, 3)).max() > 0.5


def test_by_name_and_options():
    assert len(load_survival("simulated", n=12, patches=(3, 4))) == 12
    with pytest.raises(OptionError, match="no option 'size'"):
        load_survival("simulated", size=3)
    for options in ({"n": 1}, {"types": 2}, {"correlation": 1.5}, {"censored": 1.0}, {"patches": (0, 3)}, {"genes": 0}):
        with pytest.raises(OptionError):
            simulate_bags(**options)
    with pytest.raises(OptionError, match="fewest and the most"):
        simulate_bags(10, patches=(5, 4))
