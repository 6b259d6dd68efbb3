"""Draw what a prototype classifier rests on: images, their prototypes, heat maps, and the scores of characteristics.

python docs/draw_explaining_prototypes.py [OUT.png]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from unsnarl.data._characteristics import CLASSES, CharacteristicScenes, defining_characteristic
from unsnarl.data.image_operators import calibrated, default_operators
from unsnarl.systems.prototypes.explaining_prototypes import PrototypeExplainer, local_scores
from unsnarl.systems.prototypes.protopnet import ProtoPNet

SHOWN = (1, 3, 5, 7, 9)  # one class for each characteristic
BLUE, LIGHT_BLUE, GREY, LIGHT_GREY = "#0b64a0", "#9cc6e3", "#8a9199", "#d3d7dc"


def picture(image: np.ndarray) -> np.ndarray:
    return image.transpose(1, 2, 0)


def boxed(ax, image: np.ndarray, box: tuple[int, int, int, int]) -> None:
    ax.imshow(picture(image), interpolation="nearest")
    top, bottom, left, right = box
    ax.add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, ec="white", lw=2.5))
    ax.add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, ec="black", lw=1))


def main(path: Path) -> None:
    train = CharacteristicScenes(2000, image_size=48, seed=1)
    test = CharacteristicScenes(300, image_size=48, seed=2)
    model = ProtoPNet(
        per_class=2, dim=32, epochs=11, warm_epochs=1, push_start=4, push_every=3, last_epochs=6,
        lr_backbone=2e-3, lr_last=1e-3, gamma=0.3, batch_size=64, seed=0,
    )  # fmt: skip
    model.fit(train, train.labels)
    operators = calibrated(default_operators(height=48), train.observations, most=24)
    explainer = PrototypeExplainer(model, operators)
    print(f"accuracy {model.score(test, test.labels):.2f}; {model.push_state_}")
    chosen = np.array([np.flatnonzero(test.labels == c)[0] for c in SHOWN])
    explanations = model.explain(test.observations[chosen], top=1)
    scores, _ = local_scores(model, test.observations[chosen], operators)
    explainer.global_(train.observations[:400])
    sentences = explainer.explain(test.observations[chosen])

    figure = Figure(figsize=(11, 2.3 * len(SHOWN) + 0.4))
    rows, edges = len(SHOWN), {"top": 0.955, "bottom": 0.03, "hspace": 0.2}
    pictures = figure.add_gridspec(rows, 4, left=0.03, right=0.66, wspace=0.08, **edges)
    bars = figure.add_gridspec(rows, 1, left=0.75, right=0.985, **edges)
    titles = [
        "image",
        "where it is most alike",
        "its prototype",
        "that patch",
        "similarity lost when changed:\nhere (dark), over all images (light)",
    ]
    for row, (i, explanation, text) in enumerate(zip(chosen, explanations, sentences, strict=True)):
        evidence = explanation.evidence[0]
        image = test.observations[i].numpy()
        axes = [figure.add_subplot(pictures[row, column]) for column in range(4)]
        axes.append(figure.add_subplot(bars[row, 0]))
        boxed(axes[0], image, evidence.box)
        axes[1].imshow(picture(image), interpolation="nearest")
        axes[1].imshow(evidence.heat_map, cmap="inferno", alpha=0.65, interpolation="bilinear")
        boxed(axes[2], train.observations[evidence.source].numpy(), evidence.prototype_box)
        axes[3].imshow(picture(evidence.prototype_patch), interpolation="nearest")
        axes[3].set_anchor("C")
        for ax in axes[:4]:
            ax.set_xticks([])
            ax.set_yticks([])
        values, names = scores[row, evidence.prototype], list(explainer.characteristics)
        order = np.argsort(values)
        truth = defining_characteristic(int(test.labels[i]))
        over_all = explainer.global_scores_[evidence.prototype]
        for place, k in enumerate(order):
            strong, weak = (BLUE, LIGHT_BLUE) if names[k] == truth else (GREY, LIGHT_GREY)
            axes[4].barh(place + 0.2, values[k], 0.38, color=strong)
            axes[4].barh(place - 0.2, over_all[k], 0.38, color=weak)
            axes[4].text(max(values[k], 0), place + 0.2, f" {values[k]:.2f}", va="center", fontsize=7)
            axes[4].text(max(over_all[k], 0), place - 0.2, f" {over_all[k]:.2f}", va="center", fontsize=7, color="#777")
        axes[4].set_yticks(range(len(order)), [names[k] for k in order])
        axes[4].axvline(0, color="#333", lw=0.8)
        axes[4].tick_params(labelsize=8, length=0)
        axes[4].spines[["top", "right", "bottom", "left"]].set_visible(False)
        axes[4].margins(x=0.14)
        axes[4].set_xticks([])
        if row == 0:
            for ax, title in zip(axes, titles, strict=True):
                ax.set_title(title, fontsize=9)
        axes[0].set_xlabel(f"{CLASSES[test.labels[i]]}; said: {CLASSES[int(explanation.prediction)]}", fontsize=8)
        axes[2].set_xlabel(f"prototype {evidence.prototype}, similarity {evidence.similarity:.1f}", fontsize=8)
        print(text)
    figure.savefig(path, dpi=110, facecolor="white")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images" / "explaining_prototypes.png")
