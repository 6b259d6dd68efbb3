"""Size-matched spectral information about labels, numbers and vectors."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch

from unsnarl.errors import DataError, OptionError
from unsnarl.information import EstimatorWarning
from unsnarl.information._diffusion_mi import adjacency_spectral_mi, diffusion_spectral_mi, reference_categories
from unsnarl.information._diffusion_spectral import adjacency_spectral_entropy, diffusion_spectral_entropy
from unsnarl.information._size_matched import size_matched_information

quiet = pytest.mark.filterwarnings("ignore::unsnarl.information.EstimatorWarning")


def corners(members=40, noise=0.0, seed=0):
    x = np.repeat(1e3 * np.eye(4), members, axis=0)
    return x + noise * np.random.default_rng(seed).normal(size=x.shape)


def test_far_clusters_share_what_their_labels_say():
    x, one = corners(), np.repeat([0, 1, 2, 3], 40)
    mi, clusters = diffusion_spectral_mi(x, one)
    assert mi == pytest.approx(2, abs=0.01)  # clusters of slightly unequal size in the random subsets
    assert np.array_equal(clusters, one)
    assert mi.within == pytest.approx([0, 0, 0, 0], abs=1e-9)
    assert diffusion_spectral_mi(x, np.repeat([0, 0, 1, 1], 40)).mi == pytest.approx(1, abs=0.01)
    assert adjacency_spectral_mi(x, one, 10.0).mi == pytest.approx(2, abs=0.1)


@quiet
def test_equals_the_definition_for_unequal_categories():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(90, 3)), rng.choice(3, p=[0.6, 0.3, 0.1], size=90)
    found = diffusion_spectral_mi(x, y, 1.0, 2, n_repeats=3, seed=5).mi
    import random

    expected = 0.0
    for category in range(3):
        rows = np.flatnonzero(y == category)
        stream = random.Random(5)
        draws = [diffusion_spectral_entropy(x[stream.sample(range(90), len(rows))], 1.0, 2) for _ in range(3)]
        expected += len(rows) / 90 * (np.mean(draws) - diffusion_spectral_entropy(x[rows], 1.0, 2))
    assert found == pytest.approx(expected, abs=1e-9)
    assert found.shares @ (found.matched - found.within) == pytest.approx(expected, abs=1e-9)


def test_without_dependence_it_is_near_zero_and_size_does_not_matter():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 5))
    y = rng.choice(3, p=[0.8, 0.15, 0.05], size=600)
    mi = diffusion_spectral_mi(x, y, "median").mi
    assert abs(mi) < 0.05
    # the entropy of the whole against that of the categories, sizes not matched, would say half a bit and more
    within = [diffusion_spectral_entropy(x[y == c], mi.sigma) for c in range(3)]
    assert diffusion_spectral_entropy(x, mi.sigma) - mi.shares @ within > abs(mi) + 0.03


def test_corrupted_labels_say_less_and_less():
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(size=(5, 200)) * 3, 60, axis=0) + rng.normal(size=(300, 200))
    y = np.repeat(np.arange(5), 60)
    found = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        labels = y.copy()
        changed = rng.permutation(300)[: int(share * 300)]
        labels[changed] = rng.integers(5, size=len(changed))
        found.append(diffusion_spectral_mi(x, labels, "median").mi)
    assert all(a > b + 0.03 for a, b in itertools.pairwise(found)), found
    assert found[0] > 1
    assert abs(found[-1]) < 0.1


def test_the_standard_error_is_that_of_the_draws():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 4)), rng.integers(4, size=300)
    found = [diffusion_spectral_mi(x, y, 1.0, seed=seed).mi for seed in range(30)]
    typical = np.mean([mi.standard_error for mi in found])
    assert 0.4 < np.std(found) / typical < 2.5
    assert math.isnan(diffusion_spectral_mi(x, y, 1.0, n_repeats=1).mi.standard_error)
    assert found[0] == diffusion_spectral_mi(x, y, 1.0).mi


def test_numbers_are_cut_and_vectors_clustered_and_clusters_used_again():
    rng = np.random.default_rng(0)
    x = corners(30, noise=1.0)
    number = np.repeat([0.0, 1.0, 2.0, 3.0], 30) + 0.01 * rng.random(120)
    mi, clusters = diffusion_spectral_mi(x, number, 30.0)
    assert clusters.dtype.kind == "i"
    assert len(np.unique(clusters)) == 4  # the other six bins are empty
    assert mi == pytest.approx(2, abs=0.1)
    images = np.repeat(rng.normal(size=(4, 1, 3, 3)), 30, axis=0) * 50 + rng.normal(size=(120, 1, 3, 3))
    by_image, clusters = diffusion_spectral_mi(x, images, 30.0, n_clusters=4)
    assert by_image == pytest.approx(2, abs=0.1)
    assert diffusion_spectral_mi(x, None, 30.0, clusters=clusters).mi == by_image
    assert diffusion_spectral_mi(torch.from_numpy(x), torch.from_numpy(images), 30.0, n_clusters=4).mi == by_image


def test_categories_of_every_type():
    assert reference_categories(["b", "a", "b"]).tolist() == [1, 0, 1]
    assert reference_categories(np.array([True, False])).tolist() == [1, 0]
    assert reference_categories(torch.tensor([[7], [3], [7]])).tolist() == [1, 0, 1]
    assert reference_categories(np.array([0.0, 0.5, 10.0])).tolist() == [0, 0, 1]
    import pandas as pd

    assert reference_categories(pd.Series(["x", "y", "x"])).tolist() == [0, 1, 0]
    with pytest.warns(EstimatorWarning, match=r"whole numbers, 3 different.*pass integers or kind='categories'"):
        reference_categories(np.array([0.0, 1.0, 2.0, 1.0]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert reference_categories(np.array([0.0, 5.0, 2.0]), kind="categories").tolist() == [0, 2, 1]
        reference_categories(np.array([0.0, 1.5, 2.0]))


def test_single_members_and_saturation_warn():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(41, 2))
    y = np.array([0] * 20 + [1] * 20 + [2])
    with pytest.warns(EstimatorWarning, match="1 of 3 categories have a single observation"):
        mi = diffusion_spectral_mi(x, y, 1.0).mi
    assert mi.matched[2] == mi.within[2] == 0
    with pytest.warns(EstimatorWarning, match="each diffusion spectral entropy is .* at its ceiling"):
        diffusion_spectral_mi(x[:40], y[:40], 1e-4)
    with pytest.warns(EstimatorWarning, match="each diffusion spectral entropy is .* at its floor"):
        diffusion_spectral_mi(x[:40], y[:40], 1e4)


@quiet
def test_one_category_explains_nothing_and_more_rows_than_allowed_are_drawn():
    x = np.random.default_rng(0).normal(size=(200, 3))
    assert diffusion_spectral_mi(x, np.zeros(200, dtype=int), 1.0).mi == 0
    y = np.arange(200) % 4
    mi, clusters = diffusion_spectral_mi(x, y, 1.0, max_n=80)
    assert len(clusters) == 200
    assert (mi.shares * 80).sum() == pytest.approx(80)
    assert mi != diffusion_spectral_mi(x, y, 1.0, max_n=80, seed=1).mi


def test_neighbour_graphs_equal_the_definition():
    import random

    x, y = corners(20, noise=1.0), np.repeat([0, 0, 1, 1], 20)
    mi = adjacency_spectral_mi(x, y, neighbors=5, normalized=True).mi
    assert math.isnan(mi.sigma)
    stream = random.Random(0)
    draws = [x[stream.sample(range(80), 40)] for _ in range(5)]
    options = {"neighbors": 5, "normalized": True}
    matched = np.mean([adjacency_spectral_entropy(part, **options) for part in draws])
    within = np.mean([adjacency_spectral_entropy(x[y == c], **options) for c in (0, 1)])
    assert mi == pytest.approx(matched - within, abs=1e-9)
    few = np.array([0] * 77 + [1] * 3)  # fewer than five neighbours: all are joined
    assert np.isfinite(adjacency_spectral_mi(x, few, neighbors=5).mi)


def test_published_values():
    peer = pytest.importorskip("dse_dsmi.dsmi")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4))
    for y in (rng.integers(5, size=200), rng.normal(size=200), rng.normal(size=(200, 3))):
        reference = y if y.ndim == 2 else y[:, None]
        theirs, _ = peer.diffusion_spectral_mutual_information(x, reference, gaussian_kernel_sigma=1.0)
        assert diffusion_spectral_mi(x, y, 1.0).mi == pytest.approx(theirs, abs=1e-6)
    theirs, _ = peer.adjacency_spectral_mutual_information(x, reference, gaussian_kernel_sigma=1.0)
    assert adjacency_spectral_mi(x, y, 1.0).mi == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize(
    ("y", "options", "error", "message"),
    [
        (np.zeros(5, dtype=int), {}, DataError, "X has 6, Y has 5"),
        (None, {}, DataError, "Y is missing"),
        (None, {"clusters": np.zeros(6)}, DataError, "clusters must be n integers, got float64"),
        (None, {"clusters": np.zeros(4, dtype=int)}, DataError, "X has 6, clusters has 4"),
        (np.array([0, 1, 2, 3, np.nan, 5]), {}, DataError, "Y has 1 value that is not finite"),
        (np.arange(6) % 2, {"n_repeats": 0}, OptionError, "n_repeats=0"),
        (np.arange(6) % 2, {"sigma": -2}, OptionError, "sigma=-2"),
        (np.arange(6) % 2, {"seed": -2}, OptionError, "seed=-2"),
        (np.arange(6) % 2, {"kind": "labels"}, OptionError, "kind='labels' is not allowed"),
        (np.arange(12.0).reshape(6, 2), {"kind": "number"}, DataError, "Y must be one column to be taken as number"),
        (np.arange(12.0).reshape(6, 2), {"n_clusters": 7}, OptionError, "n_clusters=7 must be"),
    ],
)
def test_bad_input(y, options, error, message):
    with pytest.raises(error, match=message):
        diffusion_spectral_mi(np.random.default_rng(0).normal(size=(6, 2)), y, **options)


def test_too_few_rows():
    with pytest.raises(DataError, match="at least 2 observations"):
        size_matched_information(lambda rows: 0.0, np.zeros(1, dtype=int))
    with pytest.raises(DataError, match="Y needs at least 2 rows"):
        reference_categories(np.zeros(1))
