"""How the time of each measure grows with observations, latents and factors; writes a plot."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from matplotlib.figure import Figure

import unsnarl
from measures import codes_and_factors

BASE = {"n": 4000, "latents": 32, "factors": 4}
GRIDS = {"n": [1000, 2000, 4000, 8000, 16000], "latents": [8, 16, 32, 64, 128], "factors": [2, 4, 8, 16]}


def main() -> None:
    """Time every measure over each grid and draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=Path("docs/images/growth.png"))
    options = parser.parse_args()
    unsnarl.measure(*codes_and_factors(600, 8, 2, 10))  # compile
    figure = Figure(figsize=(12, 4.4), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    for ax, (what, values) in zip(axes, GRIDS.items(), strict=True):
        seconds: dict[str, list[float]] = {}
        for value in values:
            size = {**BASE, what: value}
            codes, factors = codes_and_factors(size["n"], size["latents"], size["factors"], 10)
            began = time.perf_counter()
            timings = unsnarl.measure(codes, factors).timings
            print(what, value, f"{time.perf_counter() - began:.1f} s", flush=True)
            for name, spent in timings.items():
                seconds.setdefault(name, []).append(spent)
        for name, spent in seconds.items():
            ax.loglog(values, spent, marker="o", markersize=3, label=name)
        held = ", ".join(f"{v:,} {k}" for k, v in BASE.items() if k != what)
        ax.set_xlabel({"n": "observations"}.get(what, what))
        ax.set_title(held.replace(" n", " observations"), fontsize=9)
        ax.set_xticks(values, [f"{v:,}" for v in values])
        ax.set_xticks([], minor=True)
        ax.grid(alpha=0.3, which="both", linewidth=0.4)
    axes[0].set_ylabel("seconds")
    axes[-1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(options.to, dpi=110)
    print(options.to)


if __name__ == "__main__":
    main()
