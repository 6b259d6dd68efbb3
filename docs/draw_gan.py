"""Draw what the generator of sprites makes, and what happens along straight lines in its style space.

python docs/draw_gan.py [OUT.png] [--random]

With --random a network that was never trained is drawn, to look at the layout.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from unsnarl.data._color_sprites import NAMES, draw_sprites, render_color_sprites
from unsnarl.data.scenes import from_signed
from unsnarl.zoo._gan_regressors import FactorNetwork, FactorRegressors
from unsnarl.zoo._style_gan import Generator

GREY, GAP = 255, 2
COLUMNS, STEPS = 16, 11


def models(random: bool) -> tuple[Generator, FactorRegressors]:
    if random:
        torch.manual_seed(0)
        return Generator().eval(), FactorRegressors(FactorNetwork())
    from unsnarl.zoo import load

    return load("gan-tiny-32"), load("gan-regressors")


def sheet(images: np.ndarray, columns: int) -> np.ndarray:
    """Images (n, 3, 32, 32) in rows of so many, with white between."""
    framed = np.pad(images, ((0, 0), (0, 0), (0, GAP), (0, GAP)), constant_values=GREY)
    n, _, height, width = framed.shape
    grid = framed.reshape(n // columns, columns, 3, height, width).transpose(0, 3, 1, 4, 2)
    return grid.reshape(n // columns * height, columns * width, 3)


@torch.no_grad()
def lines(generator: Generator, regressors: FactorRegressors) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """A style to start from, and by factor the styles along the line in which w differs, on average, with what is read of it."""
    w = generator.style(generator.latents(3000, seed=1))
    read = regressors.read(torch.cat([generator.synthesize(part) for part in w.split(250)]))
    columns, factors = read.numeric()
    start = generator.style(generator.latents(1, seed=11), truncation=0.5)
    place = torch.linspace(-2.0, 2.0, STEPS)[:, None]
    out = {}
    for name in NAMES:
        mine = columns[:, [k for k, f in enumerate(factors) if f == name]]
        numbers = torch.from_numpy((mine - mine.mean(0)) / (mine.std(0) + 1e-9)).float()
        directions = numbers.T @ (w - w.mean(0)) / len(w)  # (column, style): how w differs for one standard deviation
        if name == "hue":  # once round the circle
            angle = torch.linspace(0, 2 * np.pi, STEPS)
            shift = 2.0 * (angle.sin()[:, None] * directions[0] + angle.cos()[:, None] * directions[1])
        elif name == "shape":  # from square through ellipse to heart
            t = torch.linspace(0, 2, STEPS)
            shares = torch.stack([(1 - (t - k).abs()).clamp(min=0) for k in range(3)], dim=1)
            shift = 2.0 * shares @ directions
        else:
            shift = place * directions[0]
        out[name] = start + shift
    return start, out


def main(path: Path, random: bool) -> None:
    generator, regressors = models(random)
    figure = Figure(figsize=(9, 9.6))
    axes = figure.subplots(4, 1, gridspec_kw={"height_ratios": [2, 4, 2, 7 * COLUMNS / 11]})
    renders = render_color_sprites(draw_sprites(2 * COLUMNS, np.random.default_rng(5)))
    with torch.no_grad():
        whole = from_signed(generator(generator.latents(4 * COLUMNS, seed=0))).numpy()
        near = from_signed(generator(generator.latents(2 * COLUMNS, seed=0), truncation=0.5)).numpy()
        _, paths = lines(generator, regressors)
        along = from_signed(torch.cat([generator.synthesize(styles) for styles in paths.values()])).numpy()
    for axis, images, columns, title in (
        (axes[0], renders, COLUMNS, "renders, as it was trained on"),
        (axes[1], whole, COLUMNS, "generated"),
        (axes[2], near, COLUMNS, "generated from the first of these latents with truncation 0.5"),
        (
            axes[3],
            along,
            STEPS,
            "along a line in W for each factor (hue: once round a circle; shape: square, ellipse, heart)",
        ),
    ):
        axis.imshow(sheet(images, columns), interpolation="nearest")
        axis.set_title(title, fontsize=9, loc="left")
        axis.set_xticks([])
        axis.set_yticks([])
        for side in axis.spines.values():
            side.set_visible(False)
    side = 32 + GAP
    axes[3].set_yticks([side * (k + 0.5) for k in range(len(paths))], list(paths), fontsize=8)
    axes[3].tick_params(length=0)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    given = [a for a in sys.argv[1:] if not a.startswith("--")]
    main(Path(given[0] if given else "docs/images/gan.png"), "--random" in sys.argv)
