"""Draw docs/images/zoo_NAME.png: prompts and samples of a generator of the zoo, six rows of eight.

    python docs/draw_zoo.py sd-tiny-32 OUT.png [--trained runs/zoo]

Prompts and seeds were fixed before there was a model; no sample was chosen.
"""

import argparse

import matplotlib.pyplot as plt

from unsnarl.diffusion import Host
from unsnarl.zoo import load

PROMPTS = (
    # things and shapes
    ("a photo of a red cat", "a photo of a blue fish", "a photo of a yellow house", "a photo of a green robot"),
    ("a photo of a pink tree", "a photo of a cyan cup", "a photo of an orange star", "a photo of a purple heart"),
    # backgrounds
    ("a photo of a cat on a plain blue background", "a photo of a cup on a striped pink background"),
    ("a photo of a fish on a checkered yellow background", "a photo of a tree on a dotted purple background"),
    ("a photo of a house on a wavy green background", "a photo of a star on a gradient red background"),
    ("a photo of a spotted cat", "a photo of a banded fish"),
    # two objects
    ("a photo of a red circle left of a blue square", "a photo of a blue circle left of a red square"),
    ("a photo of a green cat above a pink heart", "a photo of a green cat below a pink heart"),
    ("a photo of a robot and a cup", "a photo of a yellow tree right of a purple ring"),
    ("a photo of an orange house left of a cyan cross", "a photo of a fish and a star"),
    # styles and sizes
    ("a photo of a cat in sketch style", "a photo of a cat in neon style", "a photo of a cat in pastel style"),
    ("a photo of a cat in mosaic style", "a photo of a very small robot", "a photo of a large robot"),
    ("a close up photo of a fish", "a photo of an upside down cup"),
    # words alone, frames
    ("red", "cat", "house", "striped background", "odd tick", "odd tock", "even tick", "even tock"),
    # never shown in training: pairs of shape and colour, of kind and style
    (
        "a photo of a purple circle",
        "a photo of a green square",
        "a photo of a yellow triangle",
        "a photo of a blue star",
    ),
    ("a photo of a red ring", "a photo of an orange heart", "a photo of a cat in mosaic style"),
    ("a photo of a house in neon style",),
)
ROWS, COLUMNS = 6, 8


def main() -> None:
    """Sample and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("out")
    parser.add_argument("--trained")
    options = parser.parse_args()
    prompts = [prompt for group in PROMPTS for prompt in group]
    assert len(prompts) == ROWS * COLUMNS, len(prompts)
    host = Host(load(options.name, trained=options.trained))
    images = host.generate(prompts, seeds=range(len(prompts)), steps=25, guidance=3.0)
    figure, axes = plt.subplots(ROWS, COLUMNS, figsize=(13, 12), layout="constrained")
    for axis, prompt, image in zip(axes.flat, prompts, images, strict=True):
        axis.imshow((image.permute(1, 2, 0) + 1) / 2, interpolation="nearest")
        axis.set_axis_off()
        words = prompt.removeprefix("a photo of ").split()
        half = -(-len(words) // 2) if len(" ".join(words)) > 22 else len(words)
        axis.set_title("\n".join(" ".join(part) for part in (words[:half], words[half:]) if part), fontsize=7.5)
    figure.savefig(options.out, dpi=110)


if __name__ == "__main__":
    main()
