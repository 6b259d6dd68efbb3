"""Diffusion spectral entropy against the published package, and beyond the sizes it can do.

python benchmarks/spectral_entropy.py [--n 1000 3000 10000] [--large]

The peer is the PyPI package `dse-dsmi` (its licence is disputed: install it for the comparison only).
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

from unsnarl.information import approximate_diffusion_entropy, diffusion_spectral_entropy


def clouds(n: int, dimension: int = 64) -> dict[str, tuple[np.ndarray, float]]:
    """Name -> points and a width at which the entropy is neither at its ceiling nor at its floor."""
    rng = np.random.default_rng(0)
    centres = 3 * rng.normal(size=(20, dimension))
    clusters = centres[rng.integers(20, size=n)] + rng.normal(size=(n, dimension))
    smooth = rng.normal(size=(n, dimension)) * np.geomspace(3, 0.1, dimension)
    return {"20 clusters": (clusters, 10.0), "smooth": (smooth, 4.0)}


def timed(function):
    """Seconds, and the value."""
    began = time.perf_counter()
    value = function()
    return time.perf_counter() - began, value


def main() -> None:
    """Print a row for each cloud and size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, nargs="+", default=[1_000, 3_000])
    parser.add_argument("--large", action="store_true", help="also 100,000 points, approximately")
    options = parser.parse_args()
    peer = None
    if importlib.util.find_spec("dse_dsmi") is not None:
        from dse_dsmi.dse import diffusion_spectral_entropy as peer
    diffusion_spectral_entropy(np.random.default_rng(0).normal(size=(500, 4)))  # loads what is loaded on first use
    print(f"{'cloud':<14}{'n':>8}{'ours, s':>10}{'peer, s':>10}{'ratio':>8}{'difference, bits':>18}  how")
    for n in options.n:
        for name, (points, sigma) in clouds(n).items():
            ours, value = timed(lambda p=points, s=sigma: diffusion_spectral_entropy(p, s))
            line = f"{name:<14}{n:>8,}{ours:>10.3f}"
            if peer is not None:
                theirs, other = timed(lambda p=points, s=sigma: peer(p, gaussian_kernel_sigma=s))
                line += f"{theirs:>10.3f}{theirs / ours:>8.1f}{float(value) - other:>18.1e}"
            print(f"{line}  {value.how}", flush=True)
    if options.large:
        for name, (points, sigma) in clouds(100_000).items():
            seconds, value = timed(lambda p=points, s=sigma: approximate_diffusion_entropy(p, s))
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            print(
                f"{name:<14}{100_000:>8,}{seconds:>10.1f}  {value!r} bits, error {value.error:.2g}, {memory:.2f} GiB",
                flush=True,
            )


if __name__ == "__main__":
    main()
