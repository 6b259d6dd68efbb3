"""Draw the pictures of the README and the docs, from the run that `make demo` leaves in runs/demo.

python docs/draw_images.py
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import unsnarl
from unsnarl.cli import DEMO_DATA, DEMO_MODEL
from unsnarl.report import contact_sheet

IMAGES = Path(__file__).parent / "images"
SHOWN = 6


def rooms() -> None:
    """A sheet of rendered rooms at full size."""
    data = unsnarl.load("shapes3d", size=24, seed=3)
    contact_sheet(data.observations, columns=12).savefig(IMAGES / "rooms.png", dpi=120)


def readme() -> None:
    """What a report shows: rooms and their reconstructions, traversals of the clearest latents, and the matrix."""
    data = unsnarl.load("shapes3d", **DEMO_DATA)
    model = unsnarl.QLAE(**DEMO_MODEL).fit(data.train, steps=5000, run="runs/demo", progress=True)
    test = data.test.subset(slice(0, 4000))
    scores = unsnarl.infomec(model.transform(test), test.factors)
    nmi = scores.nmi  # factor x latent
    best = list(dict.fromkeys(nmi.argmax(axis=1)[np.argsort(-nmi.max(axis=1))]))  # the first latent of each factor
    latents = [*best, *(i for i in np.argsort(-nmi.max(axis=0)) if i not in best)][:SHOWN]
    figure = Figure(figsize=(13, 4.4), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, width_ratios=[0.85, 1.55, 1.5])

    left.suptitle("rooms, and what the code keeps", fontsize=10)
    rows = []
    for start in range(0, 12, 2):
        some = test.observations[start : start + 2]
        pairs = zip(some.numpy() / 255, model.reconstruct(some).numpy(), strict=True)
        rows.append(np.concatenate([image for pair in pairs for image in pair], axis=2))
    ax = left.subplots()
    ax.imshow(np.concatenate(rows, axis=1).transpose(1, 2, 0))
    ax.axis("off")

    middle.suptitle("one latent at a time", fontsize=10)
    axes = middle.subplots(len(latents), 1)
    for ax, latent in zip(axes, latents, strict=True):
        strip = model.traverse(test.observations[4], int(latent), 9).numpy()
        ax.imshow(np.concatenate(list(strip), axis=2).transpose(1, 2, 0))
        ax.set_xticks([])
        ax.set_yticks([])
        name = test.factor_names[int(nmi[:, latent].argmax())]
        ax.set_ylabel(f"latent {latent}\n{name}", fontsize=7, rotation=0, ha="right", va="center")

    right.suptitle("which latent carries which factor (normalised mutual information)", fontsize=10)
    ax = right.subplots()
    order = np.argsort(nmi.argmax(axis=0) - nmi.max(axis=0))
    ax.imshow(nmi.T[order], cmap="Blues", vmin=0, vmax=1, aspect="auto")
    ax.set_xticks(range(len(test.factor_names)), [n.replace("_", "\n") for n in test.factor_names], fontsize=8)
    ax.set_yticks(range(len(order)), [f"latent {i}" for i in order], fontsize=8)
    for i, row in enumerate(nmi.T[order]):
        for j, value in enumerate(row):
            ax.text(
                j, i, f"{value:.2f}", ha="center", va="center", fontsize=7, color="white" if value > 0.5 else "black"
            )
    figure.savefig(IMAGES / "readme.png", dpi=110)


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    rooms()
    readme()
