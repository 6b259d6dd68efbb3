"""The compiled k-d tree against all pairs of distances."""

import numpy as np
import pytest

from unsnarl.information._kd_tree import build_tree, tree_count, tree_nearest


def points(kind, n, d):
    rng = np.random.default_rng([n, d])
    if kind == "coinciding":
        return np.zeros((n, d))
    if kind == "heavy tails":
        return rng.standard_cauchy((n, d)) ** 3
    x = rng.normal(size=(n, d))
    return np.round(x) if kind == "grid" else x * 1e-6 + 1e6 if kind == "far from zero" else x


@pytest.mark.parametrize("kind", ["normal", "grid", "coinciding", "heavy tails", "far from zero"])
@pytest.mark.parametrize("d", [1, 2, 5, 9])
@pytest.mark.parametrize("n", [2, 3, 33, 65, 400])
def test_equals_all_pairs(kind, d, n):
    x = points(kind, n, d)
    gaps = np.abs(x[:, None] - x[None])
    for euclidean in (True, False):
        all_pairs = np.sqrt((gaps**2).sum(2)) if euclidean else gaps.max(2)
        others = np.sort(np.where(np.eye(n, dtype=bool), np.inf, all_pairs), axis=1)
        for k in {1, min(4, n - 1), min(48, n - 1)}:
            radius, near = tree_nearest(x, k, euclidean=euclidean)
            assert radius == pytest.approx(others[:, :k], rel=1e-12, abs=0)
            assert np.take_along_axis(all_pairs, near, axis=1) == pytest.approx(radius, rel=1e-12, abs=0)
            assert (near != np.arange(n)[:, None]).all()
            assert all(len(set(row)) == k for row in near.tolist())
    limit = np.ascontiguousarray(radius[:, -1])
    for reach in (limit, np.nextafter(limit, 0.0)):  # with the k-th neighbour and without
        assert tree_count(x, reach).tolist() == (gaps.max(2) <= reach[:, None]).sum(axis=1).tolist()


def test_the_tree_is_balanced_and_its_boxes_are_tight():
    x = points("normal", 1000, 3)
    tree = build_tree(x, 32)
    inner = 2**tree.depth - 1
    sizes = np.diff(tree.bounds[inner:], axis=1)
    assert sizes.min() >= sizes.max() - 1
    assert sizes.max() <= 32
    assert sorted(tree.index) == list(range(1000))
    assert pytest.approx(x[tree.index], abs=0) == tree.columns.T
    for node, (start, stop) in enumerate(tree.bounds):
        assert tree.low[node] == pytest.approx(tree.columns[:, start:stop].min(axis=1), abs=0)
        assert tree.high[node] == pytest.approx(tree.columns[:, start:stop].max(axis=1), abs=0)
