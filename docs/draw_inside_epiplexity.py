"""Draw the picture of docs/inside_epiplexity.md: a bounded learner on three cellular automata.

python docs/draw_inside_epiplexity.py OUT.png
"""

import math
import sys

import numpy as np
import torch
from matplotlib.figure import Figure

from unsnarl.data.known._automata import CellularAutomaton, evolve
from unsnarl.measures.epiplexity import estimate_epiplexity

RULES = (15, 30, 54)
COLORS = {15: "#5a616a", 30: "#b8440c", 54: "#0b64a0"}
STEPS, BATCH, TEST_TOKENS = 1200, 32, 1e7


def main(path: str) -> None:
    torch.set_num_threads(1)
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[1, 1.25])
    start = np.random.default_rng(1).integers(0, 2, 64)
    for axes, rule in zip(top.subplots(1, 3), RULES, strict=True):
        axes.imshow(
            [evolve(start, rule, step) for step in range(32)], cmap="binary", aspect="auto", interpolation="nearest"
        )
        axes.set_title(f"rule {rule}", loc="left", color=COLORS[rule], fontweight="bold")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_ylabel("steps")
    panels = bottom.subplots(1, 3)
    answers = {}
    for rule in RULES:
        source = CellularAutomaton(rule, width=12, steps=4)
        frontier = estimate_epiplexity(
            source, [(1, 32)], STEPS, method="prequential", test_tokens=TEST_TOKENS, batch_size=BATCH, progress=False
        )
        points, answers[rule] = frontier.points, frontier.at()
        panels[0].plot(points["tokens"] / 1000, points["train_loss"], color=COLORS[rule], label=f"rule {rule}")
    panels[0].axhline(0, color="#dcd8d0", linewidth=0.8, zorder=0)
    panels[0].set_title("loss while it learns", loc="left")
    panels[0].set_xlabel("thousand tokens seen, each once")
    panels[0].set_ylabel("bits a token")
    panels[0].legend(frameon=False, loc="center right")
    names = [f"rule {rule}" for rule in RULES]
    colors = list(COLORS.values())
    for axes, title, values, text in (
        (panels[1], "structure S, kilobits", [answers[r].S / 1000 for r in RULES], "{:.1f}"),
        (panels[2], "random H, bits a token", [answers[r].H_per_token for r in RULES], "{:.2f}"),
    ):
        axes.barh(names, values, color=colors, height=0.6)
        axes.invert_yaxis()
        axes.set_title(title, loc="left")
        axes.set_xlim(0, 1.2 * max(values))
        for place, value in enumerate(values):
            axes.text(value, place, " " + text.format(value), va="center")
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    assert all(math.isfinite(answer.S) for answer in answers.values())


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "docs/images/inside_epiplexity.png")
