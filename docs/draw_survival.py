"""Draw the picture of survival measures: folds, curves of risk groups, and what each modality carries.

python docs/draw_survival.py [OUT.png]
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from unsnarl.data.survival import load_survival, simulate_bags
from unsnarl.measures._modality_shares import modality_shares
from unsnarl.measures.survival import (
    RidgeCox,
    cross_predict_survival,
    ranks_within_folds,
    risk_groups,
    summarize_folds,
    survival_folds,
)
from unsnarl.report._survival_study import normal_scores

BLUE, RED, INK, GREY = "#0b64a0", "#b8440c", "#1a1d21", "#8a9099"
PARTS = {"alone, first": BLUE, "alone, second": RED, "in common": INK, "none": "#e6e2da"}


def fold_of(data) -> np.ndarray:
    fold = np.empty(len(data), dtype=int)
    for _, k, _, test in survival_folds(data, 5, 1):
        fold[test] = k
    return fold


def shares_of(data, names) -> dict[str, float]:
    models = {m: RidgeCox(alpha=20, modalities=[m]) for m in names}
    _, risks = cross_predict_survival(models, data, 5, 1)
    scored = {m: normal_scores(risks[m][0], fold_of(data)) for m in names}
    return dict(modality_shares(data.time, data.event, scored, bootstrap=0))


def folds_panel(axes, scores) -> None:
    summary = summarize_folds(scores)
    for i, (name, row) in enumerate(summary.iterrows()):
        values = scores.loc[scores["model"] == name, "c_index"].to_numpy()
        axes.plot(values, i + 0.09 * np.sin(2.4 * np.arange(len(values))), "o", color=GREY, markersize=3, alpha=0.7)
        axes.plot(
            [row["mean"] - 2 * row["se"], row["mean"] + 2 * row["se"]], [i, i], color=BLUE, linewidth=2.5, alpha=0.6
        )
        axes.plot(row["mean"], i, "D", color=BLUE, markersize=7)
        axes.text(row["mean"], i - 0.2, f"{row['mean']:.3f}", ha="center", fontsize=8.5)
    axes.axvline(0.5, color=GREY, linestyle="--", linewidth=0.9)
    axes.set_yticks(range(len(summary)), summary.index)
    axes.set_ylim(len(summary) - 0.5, -0.5)
    axes.set_xlabel("concordance on 15 test folds; bar: ± 2 corrected s.e.")
    axes.set_title("Breast cancer: ridge Cox", loc="left", fontweight="bold")


def curves_panel(axes, data, risk) -> None:
    groups = risk_groups(data.time / 365.25, data.event, ranks_within_folds(risk, fold_of(data)))
    for name, curve, color, line in zip(groups.names, groups.curves, (BLUE, RED), ("-", "--"), strict=True):
        axes.fill_between(curve.time, curve.low, curve.high, step="post", color=color, alpha=0.13, linewidth=0)
        axes.step(
            curve.time, curve.survival, where="post", color=color, linestyle=line, label=f"{name} risk, {curve.n} women"
        )
    axes.set_ylim(0, 1.02)
    axes.set_xlim(0, 15)
    axes.legend(frameon=False, loc="lower left")
    axes.set_xlabel("years")
    axes.set_title(f"Without metastasis, risk out of fold (p = {groups.p:.4f})", loc="left", fontweight="bold")


def shares_panel(axes, rows) -> None:
    for i, (name, shares) in enumerate(rows):
        first, second, common, _, none = shares.values()
        start = 0.0
        for (part, color), value in zip(PARTS.items(), (first, second, common, none), strict=True):
            width = max(value, 0.0)
            axes.barh(i, width, 0.5, left=start, color=color, label=part if i == 0 else None)
            if width > 0.04:
                dark = "black" if part == "none" else "white"
                axes.text(start + width / 2, i, f"{value:.0%}", ha="center", va="center", color=dark, fontsize=8.5)
            start += width
        axes.text(0, i - 0.36, name, fontsize=8.5)
    axes.set_ylim(len(rows) - 0.5, -0.6)
    axes.set_xlim(0, 1)
    axes.set_yticks([])
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=4, handlelength=1.2)
    axes.set_title("What each modality carries of the time of the event", loc="left", fontweight="bold")


def main() -> None:
    out = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "images" / "survival.png")
    matplotlib.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    real = load_survival("breast-cancer")
    models = {
        "genes": RidgeCox(modalities=["genes"]),
        "clinical": RidgeCox(modalities=["clinical"]),
        "both": RidgeCox(),
    }
    scores, risks = cross_predict_survival(models, real)
    rows = [("Breast cancer: genes first, clinical second", shares_of(real, ["genes", "clinical"]))]
    for title, effects, rho in (
        ("Simulated: patches and genes, correlation 0.7", (0.7, 0.7, 0.7), 0.7),
        ("Simulated: a risk that only the slide shows", (1.2, 0.0, 0.0), 0.0),
        ("Simulated: a risk that both show", (0.0, 0.6, 0.6), 1.0),
    ):
        data = simulate_bags(600, seed=1, effects=effects, correlation=rho)
        rows.append((title, shares_of(data, ["patches", "genes"])))
    figure = Figure(figsize=(11, 6.6), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(1, 1.05))
    folds_panel(figure.add_subplot(grid[0, 0]), scores)
    curves_panel(figure.add_subplot(grid[0, 1]), real, risks["both"][0])
    shares_panel(figure.add_subplot(grid[1, :]), rows)
    figure.savefig(out, dpi=130)
    print(out)


if __name__ == "__main__":
    main()
