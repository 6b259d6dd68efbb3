"""Diffusion spectral entropy against the published package, and beyond the sizes it can do.

python benchmarks/spectral_entropy.py [--n 1000 3000] [--large]

`--large` adds 10,000 points, there also the approximation against the exact value, and 100,000 points approximately, each
cloud in a process of its own so that its peak memory is its own. Set OMP_NUM_THREADS for the number of threads.

The peer is the PyPI package `dse-dsmi` (its licence is disputed: install it for the comparison only).
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
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


def approximate(name: str, n: int) -> tuple[float, float, float, float]:
    """Seconds, entropy, its estimated error, and the process' peak memory in GiB."""
    points, sigma = clouds(n)[name]
    seconds, value = timed(lambda: approximate_diffusion_entropy(points, sigma))
    return seconds, float(value), value.error, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def show_approximate(name: str, n: int, exact: float | None = None) -> None:
    """A row of the approximation, made in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        seconds, value, error, memory = pool.apply(approximate, (name, n))
    off = "" if exact is None else f", off by {value - exact:+.1e}"
    print(f"{name:<14}{n:>8,}{seconds:>10.1f}  {value:.4f} bits, error {error:.2g}{off}, {memory:.2f} GiB", flush=True)


def main() -> None:
    """Print a row for each cloud and size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, nargs="+", default=[1_000, 3_000])
    parser.add_argument("--large", action="store_true", help="also 10,000 points, and 100,000 approximately")
    options = parser.parse_args()
    peer = None
    if importlib.util.find_spec("dse_dsmi") is not None:
        from dse_dsmi.dse import diffusion_spectral_entropy as peer
    diffusion_spectral_entropy(np.random.default_rng(0).normal(size=(500, 4)))  # loads what is loaded on first use
    print(f"{'cloud':<14}{'n':>8}{'ours, s':>10}{'peer, s':>10}{'ratio':>8}{'difference, bits':>18}  how")
    for n in [*options.n, *([10_000] if options.large else [])]:
        for name, (points, sigma) in clouds(n).items():
            ours, value = timed(lambda p=points, s=sigma: diffusion_spectral_entropy(p, s))
            line = f"{name:<14}{n:>8,}{ours:>10.3f}"
            if peer is not None:
                theirs, other = timed(lambda p=points, s=sigma: peer(p, gaussian_kernel_sigma=s))
                line += f"{theirs:>10.3f}{theirs / ours:>8.1f}{float(value) - other:>18.1e}"
            print(f"{line}  {value.how}", flush=True)
            if n >= 10_000:
                show_approximate(name, n, float(value))
    if options.large:
        for name in clouds(2):
            show_approximate(name, 100_000)


if __name__ == "__main__":
    main()
