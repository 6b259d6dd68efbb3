"""Nearest-neighbour estimators against infomeasure and scikit-learn, in one process, on the same arrays, values compared.

python benchmarks/neighbors.py             # 5,000 observations
python benchmarks/neighbors.py --n 20000

The peers are given what makes their numbers ours: no noise (infomeasure adds 1e-10 by default), the same k and norm. Each time is the
best of five. Both sides may use all cores; ours obeys NUMBA_NUM_THREADS.

Two differences are the peer's. Its KSG-2 measures every block with the radius of the joint ball instead of the block's own side,
which lowers it by about 1 / k. Its entropy has psi(N) where the weighted one is published with log(N - 1), 1 / (2 N) apart.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import types
import warnings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

from unsnarl.data.known._pairs import gaussian_pair
from unsnarl.information import knn_entropy, mutual_information, pairwise_mutual_information
from unsnarl.information._weighted_entropy import entropy_weights, weighted_entropy


def timed(function, repeats: int = 5):
    """Best time of some repeats, and the value."""
    best, value = np.inf, None
    for _ in range(repeats):
        began = time.perf_counter()
        value = function()
        best = min(best, time.perf_counter() - began)
    return best, value


def load_infomeasure():
    """The package; `sparse`, which only its discrete estimators use, may be absent."""
    try:
        import sparse  # noqa: F401
    except ImportError:
        stand_in = types.ModuleType("sparse")
        stand_in.COO = stand_in.asnumpy = None
        sys.modules["sparse"] = stand_in
    import infomeasure

    return infomeasure


class Table:
    """Rows of the comparison, printed as they come."""

    def __init__(self) -> None:
        print(f"{'what':<46}{'ours':>11}{'peer':>11}{'ratio':>8}   {'our value':>10}{'difference':>12}")

    def add(self, what: str, ours, peer) -> None:
        mine, value = timed(ours)
        theirs, their = timed(peer)
        difference = float(np.abs(np.asarray(value) - np.asarray(their)).max())
        shown = float(np.ravel(value)[0])
        print(
            f"{what:<46}{1e3 * mine:>9.1f}ms{1e3 * theirs:>9.0f}ms{theirs / mine:>7.1f}x   {shown:>10.4f}{difference:>12.1e}",
            flush=True,
        )


def against_infomeasure(table: Table, n: int) -> None:
    """Kozachenko-Leonenko entropy, KSG-1, KSG-2, and the weighted entropy as a sum of theirs, in several dimensions."""
    im = load_infomeasure()
    for d in (1, 2, 4, 8):
        x, _ = gaussian_pair(0.0, d, d, n=n, seed=d)
        for norm, p in (("chebyshev", np.inf), ("euclidean", 2)):
            table.add(
                f"knn_entropy, {d}-d, {norm} / infomeasure",
                lambda x=x, norm=norm: knn_entropy(x, n_neighbors=4, metric=norm),
                lambda x=x, p=p: im.entropy(x, approach="metric", k=4, minkowski_p=p, noise_level=0, base="e"),
            )
    for d in (4, 8):
        x, _ = gaussian_pair(0.0, d, d, n=n, seed=d)
        weights = entropy_weights(d, 8)
        used = np.flatnonzero(weights)

        def peer(x=x, weights=weights, used=used):
            orders = [
                im.entropy(x, approach="metric", k=int(j) + 1, minkowski_p=2, noise_level=0, base="e") for j in used
            ]
            return float(weights[used] @ orders)

        def ours(x=x):
            return weighted_entropy(x, n_neighbors=8, whiten=False).entropy

        table.add(f"weighted_entropy, {d}-d, k = 8 / infomeasure", ours, peer)
    for d in (1, 2, 4):
        x, y = gaussian_pair(1.0, d, d, n=n, seed=d)
        for which in (1, 2):
            table.add(
                f"ksg{which}, {d}-d + {d}-d / infomeasure",
                lambda x=x, y=y, which=which: mutual_information(
                    x, y, estimator=f"ksg{which}", n_neighbors=4, standardize=False
                ),
                lambda x=x, y=y, which=which: im.mutual_information(
                    x, y, approach="ksg", k=4, ksg_id=which, noise_level=0, base="e"
                ),
            )


def against_scikit_learn(table: Table, n: int) -> None:
    """Its KSG and Ross estimators, which take one column at a time, add noise of 1e-10, and clip at 0."""
    from sklearn.feature_selection import mutual_info_classif, mutual_info_regression

    rng = np.random.default_rng(0)
    x, y = gaussian_pair(1.0, 1, 1, n=n)
    labels = rng.integers(10, size=n)
    shifted = rng.normal(size=(n, 1)) + 0.5 * labels[:, None]
    columns = rng.normal(size=(n, 20)) + 0.3 * labels[:, None]
    table.add(
        "ksg1, one column / scikit-learn",
        lambda: mutual_information(x, y, estimator="ksg1", n_neighbors=3),
        lambda: mutual_info_regression(x, y[:, 0], n_neighbors=3)[0],
    )
    table.add(
        "ksg1, 20 columns / scikit-learn",
        lambda: np.maximum(0, pairwise_mutual_information(columns, y, estimator="ksg1", n_neighbors=3)[:, 0]),
        lambda: mutual_info_regression(columns, y[:, 0], n_neighbors=3),
    )
    table.add(
        "ross, one column / scikit-learn",
        lambda: mutual_information(shifted, labels, estimator="ross", n_neighbors=3),
        lambda: mutual_info_classif(shifted, labels, n_neighbors=3)[0],
    )
    table.add(
        "ross, 20 columns / scikit-learn",
        lambda: pairwise_mutual_information(columns, labels[:, None], estimator="ross", n_neighbors=3)[:, 0],
        lambda: mutual_info_classif(columns, labels, n_neighbors=3),
    )


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=5_000)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{options.n:,} observations, best of five\n")
    table = Table()
    against_infomeasure(table, options.n)
    against_scikit_learn(table, options.n)


if __name__ == "__main__":
    main()
