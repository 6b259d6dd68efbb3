"""Draw the picture of PIBD: which patches are kept, what one patient resembles, and survival of the risk groups.

python docs/draw_pibd.py docs/images/pibd.png
"""

import sys

import numpy as np
import torch
from matplotlib.figure import Figure

from unsnarl.data.survival import simulate_bags
from unsnarl.measures.survival import concordance, kaplan_meier
from unsnarl.systems.multimodal.pibd import PIBD

PATIENTS, TRAINING = 360, 240
KEPT, ALL, LOW, HIGH = "#1f6fb4", "#b9c2cc", "#5f8a2a", "#c8401a"


def draw(path: str) -> None:
    torch.set_num_threads(1)
    data = simulate_bags(PATIENTS, seed=7, world=7)
    train, test = data.subset(range(TRAINING)), data.subset(range(TRAINING, PATIENTS))
    model = PIBD(z_dim=32, lr=2e-3, epochs=30, validation_fraction=0.25, club_steps=2, seed=0).fit(train)
    risk = model.risk(test)
    figure = Figure(figsize=(13, 3.9), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1, 1.25, 1])

    kept, _ = model.select_instances(test)
    types = test.truth["types"]
    count = 8
    everything = np.bincount(np.concatenate(types), minlength=count) / sum(map(len, types))
    chosen = np.concatenate([t[k] for t, k in zip(types, kept, strict=True)])
    shares = np.bincount(chosen, minlength=count) / len(chosen)
    places = np.arange(count)
    left.bar(places - 0.2, everything, 0.38, color=ALL)
    left.bar(places + 0.2, shares, 0.38, color=KEPT)
    top = max(everything.max(), shares.max())
    left.text(7.5, top * 0.98, "all patches", color="#77828e", ha="right", fontsize=9)
    left.text(7.5, top * 0.90, "kept patches", color=KEPT, ha="right", fontsize=9)
    left.set_xticks(places)
    left.set_xlabel("tissue type (0 and 1 enter the risk)")
    left.set_ylabel("share of patches")
    left.set_title("what the bottleneck keeps", fontsize=10)

    patient = int(np.argmax(risk))
    explained = model.explain(test.subset([patient]))[0]
    table = explained.prototypes
    votes = table.pivot(index=["outcome", "time"], columns="modality", values="votes")
    order = table[table["modality"] == "histology"].set_index(["outcome", "time"]).index
    votes = votes.loc[order]
    rows = np.arange(len(votes))
    middle.barh(rows - 0.2, votes["histology"], 0.38, color=KEPT)
    middle.barh(rows + 0.2, votes["genomics"], 0.38, color="#c8901a")
    middle.set_yticks(rows, [f"{outcome}, {time} months" for outcome, time in votes.index], fontsize=8)
    middle.invert_yaxis()
    middle.set_xlim(0, 1)
    middle.text(0.98, 5.9, "patches", color=KEPT, ha="right", fontsize=9)
    middle.text(0.98, 6.5, "pathways", color="#a8740a", ha="right", fontsize=9)
    middle.set_xlabel("share of kept instances like this prototype")
    what = "event" if test.event[patient] else "censored"
    middle.set_title(f"patient of the highest risk ({what} at {test.time[patient]:.1f} months)", fontsize=10)

    for name, group, color in (("low", risk <= np.median(risk), LOW), ("high", risk > np.median(risk), HIGH)):
        curve = kaplan_meier(test.time[group], test.event[group])
        right.step(np.append(0, curve.time), np.append(1, curve.survival), where="post", color=color)
        right.text(62, 0.75 if name == "low" else 0.62, f"{name} risk, {group.sum()} patients", color=color, fontsize=9)
    right.set_xlim(0, 120)
    right.set_ylim(0, 1.02)
    right.set_xlabel("months")
    right.set_ylabel("share of test patients alive")
    value = float(concordance(test.time, test.event, risk))
    best = float(concordance(test.time, test.event, test.truth["risk"]))
    right.set_title(f"concordance {value:.2f} (true risk {best:.2f})", fontsize=10)
    for axes in (left, middle, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    draw(sys.argv[1])
