"""Draw what DisenBooth leaves behind: photos before one background, and what two systems make of prompts that ask for others.

python docs/draw_disenbooth.py [OUT.png] [--untrained]

With --untrained the hosts are random and hardly anything is trained, to look at the layout alone.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from unsnarl.data.scenes import PersonalSet, render_scenes, single_prompts, solo, to_signed
from unsnarl.diffusion._image_encoder import ImageEncoder
from unsnarl.report._style import drawing, new_figure
from unsnarl.systems.diffusion._disenbooth import DisenBooth
from unsnarl.systems.diffusion._dreambooth import DreamBoothLoRA

PHOTOS, STEPS, RATE, SUBJECT = 4, 200, 1e-3, 2


def models(untrained: bool) -> tuple[Any, ImageEncoder]:
    """The host and the image encoder."""
    from unsnarl.zoo import load
    from unsnarl.zoo._clip_recipes import CLIP_TINY, image_processor

    if not untrained:
        return load("sd-tiny-32"), ImageEncoder("zoo/clip-tiny")
    import diffusers

    from unsnarl.zoo import _sd_recipe

    torch.manual_seed(0)
    clip: Any = CLIP_TINY.make({}, 10)
    host = _sd_recipe.pipeline(diffusers.UNet2DConditionModel(**_sd_recipe.UNET).eval(), clip.model.eval())
    return host, ImageEncoder(clip.model, processor=image_processor())


def rows(one: PersonalSet, untrained: bool) -> tuple[list[tuple[str, torch.Tensor]], list[str]]:
    """Labelled rows of images, and what was asked of the columns."""
    host, encoder = models(untrained)
    kind = one.class_words[0]
    photos = to_signed(render_scenes(one.photos[:PHOTOS]).images)
    chosen = [single_prompts(one.instances[0])[k] for k in (0, 1, 2, 10)]
    prompts = [prompt.text(f"sks {kind}") for prompt in chosen]
    seeds = [prompt.seeds[0] for prompt in chosen]
    asking = {"seeds": seeds, "steps": 2 if untrained else 25, "guidance": 3.0}
    out = [("the photos", photos)]
    fit: dict[str, Any] = {"steps": 2 if untrained else STEPS, "progress": False}
    plain = DreamBoothLoRA(host, lr=RATE).fit(photos, f"a photo of a sks {kind}", **fit)
    out.append(("DreamBooth-LoRA", plain.generate(prompts, **asking)))
    plain.remove()
    apart = DisenBooth(host, encoder, lr=RATE).fit(photos, f"a photo of a sks {kind}", **fit)
    out.append(("DisenBooth", apart.generate(prompts, **asking)))
    around = apart.generate("", photos, text_weight=0.0, image_weight=1.0, **asking)
    out.append(("the photo's vector\nand no text", around))
    return out, [prompt.removeprefix("a photo of ") for prompt in prompts]


def draw(untrained: bool) -> Figure:
    shown, prompts = rows(solo("confounded")[SUBJECT], untrained)
    with drawing("light"):
        figure = new_figure(7.6, 7.6)
        cells = figure.subplots(
            len(shown),
            PHOTOS,
            gridspec_kw={"left": 0.2, "right": 0.99, "top": 0.98, "bottom": 0.02, "wspace": 0.06, "hspace": 0.2},
        )
        for i, (label, images) in enumerate(shown):
            for j, image in enumerate(images):
                axes = cells[i, j]
                pixels = ((image + 1) / 2).clamp(0, 1).permute(1, 2, 0).numpy()
                axes.imshow(np.asarray(pixels), interpolation="nearest")
                axes.set_xticks([])
                axes.set_yticks([])
                axes.spines[:].set_visible(False)
            cells[i, 0].set_ylabel(label, rotation=0, ha="right", va="center", labelpad=8, fontsize=9)
        for j, prompt in enumerate(prompts):
            words = prompt.split()
            half = (len(words) + 1) // 2
            cells[1, j].set_xlabel(" ".join(words[:half]) + "\n" + " ".join(words[half:]), fontsize=7)
    return figure


if __name__ == "__main__":
    named = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    target = Path(named[0]) if named else Path(__file__).parent / "images" / "disenbooth.png"
    draw("--untrained" in sys.argv).savefig(target, dpi=130)
