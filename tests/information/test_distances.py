"""Pairwise distances, Gaussian affinities and graphs of nearest neighbours."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from unsnarl.errors import DataError, OptionError
from unsnarl.information._distances import as_rows, gaussian_affinity, neighbor_adjacency, squared_distance_blocks


@pytest.mark.parametrize("direct", [False, True])
def test_blocks_cover_all_pairs_within_their_memory(direct):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 7)) + 100, rng.normal(size=(31, 7)) + 100
    blocks = list(squared_distance_blocks(x, y, direct=direct, block_bytes=8 * 31 * 8))
    assert [(rows.start, rows.stop) for rows, _ in blocks] == [(i, min(i + 8, 50)) for i in range(0, 50, 8)]
    found = torch.cat([block for _, block in blocks]).numpy()
    assert np.abs(found - cdist(x, y, "sqeuclidean")).max() < 1e-12
    own = torch.cat([b for _, b in squared_distance_blocks(x, block_bytes=1)])  # a row at a time
    assert torch.equal(own.diagonal(), torch.zeros(50, dtype=torch.float64))
    assert own.min() >= 0


def test_affinity_equals_the_definition():
    x = np.random.default_rng(0).normal(size=(80, 5))
    expected = np.exp(-cdist(x, x, "sqeuclidean") / (2 * 1.7**2))
    assert np.abs(gaussian_affinity(x, 1.7).numpy() - expected).max() < 1e-14


def test_far_points_are_told_apart_although_their_norms_drown_the_difference():
    near = np.array([[0.0], [1.0]])
    x = np.concatenate([near - 1e9, near + 1e9])
    found = gaussian_affinity(x, 1.0).numpy()
    assert found[0, 1] == pytest.approx(np.exp(-0.5), abs=1e-12)
    assert found[2, 3] == pytest.approx(np.exp(-0.5), abs=1e-12)
    assert found[0, 2] == 0


def test_neighbours_either_way():
    x = np.random.default_rng(1).normal(size=(60, 3))
    order = np.argsort(cdist(x, x), axis=1)
    for itself in (True, False):
        expected = np.zeros((60, 60), dtype=bool)
        np.put_along_axis(expected, order[:, :5] if itself else order[:, 1:6], True, axis=1)
        assert np.array_equal(neighbor_adjacency(x, 5, include_self=itself).numpy(), expected | expected.T)


def test_arrays_share_their_memory_and_read_only_ones_stay_as_they_are():
    x = np.random.default_rng(0).normal(size=(5, 2))
    assert as_rows(x).data_ptr() == x.ctypes.data
    x.flags.writeable = False
    assert as_rows(x).data_ptr() != x.ctypes.data
    assert as_rows(torch.ones(4)).shape == (4, 1)
    assert as_rows(torch.ones(4, 2, dtype=torch.bfloat16)).dtype == torch.float64


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: gaussian_affinity(np.ones((3, 2)), 0.0), OptionError, "sigma=0.0 must be a number above 0"),
        (lambda: gaussian_affinity(np.array([[0.0], [np.nan]]), 1.0), DataError, "X has 1 value that is not finite"),
        (lambda: gaussian_affinity(np.ones((1, 2)), 1.0), DataError, "X needs at least 2 rows, got 1"),
        (lambda: neighbor_adjacency(np.ones((3, 2)), 4), OptionError, "neighbors=4 must be at most 3"),
        (lambda: squared_distance_blocks(np.ones((3, 2)), np.ones((3, 4))), DataError, "x has 2 columns and y 4"),
        (lambda: squared_distance_blocks(np.ones((3, 2)), block_bytes=0), OptionError, "block_bytes=0"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
