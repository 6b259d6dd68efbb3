"""Draw the picture of docs/inside_lossy_compression_mi.md: known information, two ways of compressing, and the neighbours' scatter.

python docs/draw_inside_lossy_compression_mi.py OUT.png
"""

import sys
import warnings

import numpy as np
import torch
from matplotlib.figure import Figure

from unsnarl.data.known._pairs import gaussian_pair, image_pair
from unsnarl.information import EstimatorWarning
from unsnarl.measures.lossy import AutoencoderCompressor, LossyMutualInformation, PCACompressor, code_information

LEVELS = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
PAIRS, NOISE = 3_000, 0.1
TRUTH, CODE, COMPONENTS = "#222222", "#0b64a0", "#b8440c"
SETTINGS = {"k = 5, nearest (published)": {"k": 5, "weights": "nearest"}, "k = 48, spread (default)": {}}


def draw_pairs(axes) -> None:
    """Pairs of pictures that share 2 nats, one above the other."""
    x, y = image_pair(2.0, "blobs", n=5, seed=1, noise=NOISE)
    size = x.shape[-1]
    sheet = np.full((2 * size + 1, 5 * (size + 1) - 1), np.nan)
    for row, side in enumerate((x, y)):
        for column, image in enumerate(side[:, 0]):
            top, left = row * (size + 1), column * (size + 1)
            sheet[top : top + size, left : left + size] = image
    axes.imshow(sheet, cmap="gray", vmin=-0.2, vmax=1.2, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([size / 2, 1.5 * size], ["x", "y"])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title("five pairs that share 2 nats", loc="left")


def draw_estimates(axes) -> None:
    """The estimates of an autoencoder's code and of as many principal components."""
    images = np.concatenate(image_pair(0.0, "blobs", n=2_000, seed=9, noise=NOISE))
    autoencoder = AutoencoderCompressor(2, steps=500, batch_size=128, lr=5e-3).fit(images)
    compressors = {
        "autoencoder,\n2 numbers": (autoencoder, CODE, (2.75, 3.3), "right"),
        "2 principal components": (PCACompressor(2).fit(images), COMPONENTS, (2.75, 1.35), "left"),
    }
    axes.plot(LEVELS, LEVELS, color=TRUTH, linewidth=0.9, linestyle=":")
    axes.text(4.35, 4.75, "truth", color=TRUTH, ha="right")
    for name, (compressor, color, place, side) in compressors.items():
        found = []
        for level in LEVELS:
            x, y = image_pair(level, "blobs", n=PAIRS, seed=10 + int(level), noise=NOISE)
            found.append(LossyMutualInformation(compressor, compressor).fit(x, y).estimate().mi)
        print(name, np.round(found, 2))
        axes.plot(LEVELS, found, "o-", color=color, markersize=4)
        axes.text(*place, name, color=color, ha=side)
    axes.set_xlabel("information of the pair, nats")
    axes.set_ylabel("estimate, nats")
    axes.set_title(f"blobs, pixel noise {NOISE:g}, {PAIRS:,} pairs", loc="left")


def draw_scatter(axes) -> None:
    """How far the two settings of the neighbours scatter on Gaussians."""
    for place, (options, color) in enumerate(zip(SETTINGS.values(), (COMPONENTS, CODE), strict=True)):
        found = np.array(
            [code_information(*gaussian_pair(2.0, 4, 4, n=PAIRS, seed=s), **options).mi for s in range(12)]
        )
        print(options, found.mean().round(3), found.std().round(3))
        axes.plot(found, place + np.linspace(-0.15, 0.15, len(found)), "o", color=color, markersize=4, alpha=0.8)
    axes.axvline(2.0, color=TRUTH, linewidth=0.9, linestyle=":")
    for place, (name, color) in enumerate(zip(SETTINGS, (COMPONENTS, CODE), strict=True)):
        axes.text(0.03, place + 0.27, name, color=color, transform=axes.get_yaxis_transform())
    axes.set_ylim(-0.5, 1.6)
    axes.set_yticks([])
    axes.set_xlabel("estimate, nats")
    axes.set_title(f"two 4-d Gaussians, 2 nats, {PAIRS:,} pairs", loc="left")


def main(path: str) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", EstimatorWarning)
    figure = Figure(figsize=(12, 3.5), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1, 1.15, 1.15])
    draw_pairs(left)
    draw_estimates(middle)
    draw_scatter(right)
    for axes in (middle, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "docs/images/inside_lossy_compression_mi.png")
