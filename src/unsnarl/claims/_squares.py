"""Rendered squares on a full grid of position, hue and size: the images of several claims, and what QLAE is asked on them."""

from __future__ import annotations

from typing import Any

from unsnarl.claims._claim import Row
from unsnarl.claims._context import Context
from unsnarl.claims._statistics import RULES

FACTORS = {"pos_x": 8, "pos_y": 8, "hue": 8, "scale": 4}


def squares(image_size: int = 32) -> Any:
    """The whole grid, 2,048 images of `image_size` pixels a side."""
    from unsnarl.data import Sprites

    return Sprites(None, image_size=image_size, factors=FACTORS, antialias=True)


def fit_and_score(
    model: Any, context: Context, *, image_size: int, steps: int, checkpoint_every: int, log_every: int
) -> dict[str, float]:
    """Train on the grid and score the codes of the grid: InfoMEC as published, PSNR in dB."""
    from unsnarl.measures import infomec

    data = squares(image_size)
    steps = context.steps(steps)

    def tell(step: int, _: Any) -> None:
        context.report(step, steps)

    model.fit(
        data,
        steps=steps,
        run=context.folder / "run",
        checkpoint_every=checkpoint_every,
        log_every=log_every,
        callbacks=[tell],
    )
    scores = infomec(model.transform(data), data.table)
    return {
        "modularity": float(scores.modularity),
        "explicitness": float(scores.explicitness),
        "compactness": float(scores.compactness),
        "psnr": model.score(data),
    }


def qlae_rows() -> list[Row]:
    """QLAE against the autoencoder and against itself without its parts; the bars of every setting."""
    return [
        Row("modularity", metric="modularity", system="QLAE", baseline="AE", minimum_effect=0.10, rule=RULES[1]),
        Row("reconstruction", metric="psnr", system="QLAE", baseline="AE", minimum_effect=-1.5, role="guard"),
        Row("explicitness", metric="explicitness", system="QLAE", baseline="AE", role="extra"),
        Row(
            "equal weight decay",
            metric="modularity",
            system="QLAE",
            baseline="AE, QLAE's decay",
            minimum_effect=0.10,
            rule=RULES[1],
            role="ablation",
            seeds=3,
        ),
        Row(
            "what weight decay adds",
            metric="modularity",
            system="QLAE",
            baseline="QLAE, no decay",
            role="ablation",
            unequal_budget="the ablation has nothing to choose",
            seeds=3,
        ),
        Row(
            "what a codebook for each latent adds",
            metric="modularity",
            system="QLAE",
            baseline="QLAE, one codebook",
            role="ablation",
            seeds=3,
        ),
    ]
