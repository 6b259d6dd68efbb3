"""Draw what Prob-PSENN shows: prototypes of each class as draws, and how far seen and unseen digits are from them.

python docs/draw_prob_psenn.py [OUT.png]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import unsnarl
from unsnarl.report._style import drawing, new_figure
from unsnarl.systems.prototypes.prob_psenn import ProbPSENN

KNOWN, COLUMNS = 8, 7


def fitted() -> tuple[ProbPSENN, np.ndarray, np.ndarray, np.ndarray]:
    """A model of digits 0 to 7, held-out ones of these, and all 8 and 9."""
    data = unsnarl.load("digits")
    images, digit = data.observations.numpy(), data.factors["digit"].to_numpy()
    known = np.random.default_rng(7).permutation(np.flatnonzero(digit < KNOWN))
    model = ProbPSENN(z_dim=10, epochs=40, pretrain_epochs=40, batch_size=64, seed=7)
    model.fit(images[known[:1000]], digit[known[:1000]])
    return model, images[known[1000:]], digit[known[1000:]], images[digit >= KNOWN]


def draw() -> Figure:
    model, seen, _, unseen = fitted()
    far = {"digits 0 to 7, held out": model.uncertainty(seen), "digits 8 and 9, never seen": model.uncertainty(unseen)}
    with drawing("light") as colours:
        figure = new_figure(9.2, 5.6)
        left, right = figure.subfigures(1, 2, width_ratios=(1.05, 1), wspace=0.02)
        cells = left.subplots(
            KNOWN,
            COLUMNS,
            gridspec_kw={"left": 0.12, "right": 0.98, "top": 0.89, "bottom": 0.03, "wspace": 0.08, "hspace": 0.08},
        )
        means = model.decode(model.task_.prototypes.means.detach().numpy())
        for k in range(KNOWN):
            row = [means[k], *model.prototype_samples(k, COLUMNS - 1)]
            for j, image in enumerate(row):
                axes = cells[k, j]
                axes.imshow(image[0], cmap="gray", vmin=0, vmax=1)
                axes.set_xticks([])
                axes.set_yticks([])
                for side in axes.spines.values():
                    side.set_visible(j == 0)
                    side.set_color(colours.accent)
                    side.set_linewidth(1.6)
            cells[k, 0].set_ylabel(str(k), rotation=0, labelpad=9, va="center")
        cells[0, 0].set_title("mean", fontsize=9)
        cells[0, 3].set_title("draws of the prototype", fontsize=9)

        axes = right.subplots(
            2, 1, gridspec_kw={"left": 0.13, "right": 0.97, "top": 0.91, "bottom": 0.1, "hspace": 0.5}
        )
        names = (
            ("explanatory_epistemic", "share of training data nearer to the prototype", np.linspace(0, 1, 21)),
            ("overlap", "overlap of the distances to two prototypes", np.linspace(0, 1, 21)),
        )
        for place, (name, label, bins) in zip(axes, names, strict=True):
            for (who, found), colour, style in zip(
                far.items(), (colours.accent, colours.second), ("-", "--"), strict=True
            ):
                shares, edges = np.histogram(
                    found[name], bins=bins, weights=np.full(len(found[name]), 1 / len(found[name]))
                )
                place.stairs(shares, edges, color=colour, linewidth=1.8, linestyle=style, label=who)
                place.stairs(shares, edges, color=colour, alpha=0.14, fill=True)
            place.set_xlabel(label)
            place.set_ylabel("share of images")
            place.set_xlim(0, 1)
            place.spines[["top", "right"]].set_visible(False)
        axes[0].axvline(0.95, color=colours.muted, linewidth=1, linestyle=":")
        axes[0].text(0.94, axes[0].get_ylim()[1] * 0.97, "no prototype explains it", ha="right", va="top", fontsize=8)
        axes[0].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(0.02, 0.62))
        axes[0].set_title("Is the explanation to be trusted?", loc="left", fontsize=10)
    return figure


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images" / "prob_psenn.png"
    draw().savefig(target, dpi=130)
