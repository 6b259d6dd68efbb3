"""Baselines that a claim computes in a quicker way are those of the library."""

import math

import numpy as np
import pytest

from unsnarl.claims.dse import neighbor_estimates
from unsnarl.claims.lossy_compression_mi import ksg_of_images
from unsnarl.information import mutual_information


def test_neighbours_of_a_category_are_ross():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 30)
    points = rng.normal(size=(120, 5)) * [1, 2, 3, 4, 5] + 2 * labels[:, None]
    mixed = rng.permutation(labels)
    ours = neighbor_estimates(points, [labels, mixed])
    expected = [mutual_information(points, one, estimator="ross", n_neighbors=3, base=2) for one in (labels, mixed)]
    assert ours == pytest.approx(expected, abs=1e-9)
    assert ours[0] > ours[1] + 1


def test_neighbours_of_a_number_are_ksg():
    rng = np.random.default_rng(0)
    number = rng.normal(size=150)
    points = np.stack([number + rng.normal(size=150), rng.normal(size=150)], axis=1)
    found = neighbor_estimates(points, [number], numeric=True)[0]
    expected = mutual_information(points, number, estimator="ksg1", n_neighbors=3, base=2)
    assert found == pytest.approx(expected, abs=1e-6)


def test_ksg_of_images_is_ksg_where_the_norms_are_one():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(700, 1, 1, 1))  # more than one block
    y = 0.8 * x + 0.6 * rng.normal(size=x.shape)
    expected = mutual_information(x.ravel(), y.ravel(), estimator="ksg1", n_neighbors=3, standardize=False)
    assert ksg_of_images(x, y) == pytest.approx(expected, abs=1e-9)
    assert expected == pytest.approx(-0.5 * math.log(1 - 0.8**2), abs=0.1)
