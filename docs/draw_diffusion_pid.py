"""Draw what two words tell of scenes, taken apart: two objects, words that tell only together, a word and its synonym.

python docs/draw_diffusion_pid.py [OUT.png] [--random]        --random: an untrained host, to look at the layout
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from unsnarl.claims.diffusion_pid import Example, examples, pixels
from unsnarl.systems.diffusion._diffusion_pid import DiffusionPID

POINTS = 64
ROLES = {"objects": 1, "frame": 1, "synonyms": 0}  # which example of each role is shown
TITLES = ("redundancy", "unique, first word", "unique, second word", "synergy")


def host(random: bool) -> Any:
    """The zoo's Stable Diffusion, or the same network without training."""
    if not random:
        from unsnarl.zoo import load

        return load("zoo/sd-tiny-32")
    import diffusers

    from unsnarl.zoo._clip_recipes import CLIP_TINY
    from unsnarl.zoo._sd_recipe import UNET, pipeline

    torch.manual_seed(0)
    return pipeline(diffusers.UNet2DConditionModel(**UNET), CLIP_TINY.make({}, 10).model)


def draw(path: str, random: bool = False) -> None:
    torch.set_num_threads(1)
    pid = DiffusionPID(host(random), n_snr=POINTS, rows=64)
    figure = Figure(figsize=(11.5, 7.4), layout="constrained")
    axes = figure.subplots(len(ROLES), 5)
    for row, (role, which) in zip(axes, ROLES.items(), strict=True):
        one: Example = examples(role, 100, which + 1)[which]
        found = pid.decompose(one.prompt, one.words, pixels(one.scene))
        print(found)
        row[0].imshow((found.images[0].permute(1, 2, 0).numpy() / 2 + 0.5).clip(0, 1))
        row[0].set_xlabel(broken(one.prompt), fontsize=8)
        top = max(float(np.quantile(np.abs(values), 0.995)) for values in found.maps().values())
        drawn = None
        for axis, title, (name, values) in zip(row[1:], TITLES, found.maps().items(), strict=True):
            drawn = axis.imshow(values, cmap="RdBu_r", vmin=-top, vmax=top)
            if axis in axes[0]:
                axis.set_title(title, fontsize=10)
            axis.set_xlabel(
                f"{broken(found.meanings()[name])}\n{found.totals[name]:.1f} ± {found.se[name]:.1f} nats", fontsize=8
            )
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])
        figure.colorbar(drawn, ax=list(row[1:]), shrink=0.8, label="nats per pixel")
    axes[0][0].set_title("scene and prompt", fontsize=10)
    figure.savefig(path, dpi=110)


def broken(text: str, width: int = 30) -> str:
    """Text in lines that fit under a picture."""
    import textwrap

    return "\n".join(textwrap.wrap(text, width))


if __name__ == "__main__":
    names = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    draw(names[0] if names else "diffusion_pid.png", random="--random" in sys.argv)
