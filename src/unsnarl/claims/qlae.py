"""Claim: quantizing latents under strong weight decay makes them more modular than those of a plain autoencoder.

Rendered squares of 32 x 32 pixels on a full grid of x, y, hue and size; the same networks, batches and steps for every
arm. Weight decay and learning rate of QLAE and of the autoencoder are chosen alike, on a seed the claim does not use.
"""

from __future__ import annotations

from typing import Any

from unsnarl.claims._claim import Arm, Claim, Row, Tuning
from unsnarl.claims._context import Context

FACTORS = {"pos_x": 8, "pos_y": 8, "hue": 8, "scale": 4}
LATENTS, LEVELS, BATCH, STEPS = 8, 10, 64, 5_000


def squares() -> Any:
    """The whole grid, 2,048 images."""
    from unsnarl.data import Sprites

    return Sprites(None, image_size=32, factors=FACTORS, antialias=True)


def fit_and_score(model: Any, context: Context) -> dict[str, float]:
    """Train on the grid and score the codes of the grid: InfoMEC as published, PSNR in dB."""
    from unsnarl.measures import infomec

    data = squares()
    steps = context.steps(STEPS)

    def tell(step: int, _: Any) -> None:
        context.report(step, steps)

    model.fit(data, steps=steps, run=context.folder / "run", checkpoint_every=500, log_every=100, callbacks=[tell])
    codes = model.transform(data)
    scores = infomec(codes, data.table)
    return {
        "modularity": float(scores.modularity),
        "explicitness": float(scores.explicitness),
        "compactness": float(scores.compactness),
        "psnr": model.score(data),
    }


def run_qlae(
    seed: int,
    context: Context,
    weight_decay: float = 0.1,
    lr: float = 1e-3,
    shared_codebook: bool = False,
) -> dict[str, float]:
    """The quantized-latent autoencoder."""
    from unsnarl.systems.latents import QLAE

    model = QLAE(
        LATENTS,
        LEVELS,
        network="laptop",
        weight_decay=weight_decay,
        lr=lr,
        shared_codebook=shared_codebook,
        batch_size=BATCH,
        seed=seed,
    )
    return fit_and_score(model, context)


def run_ae(seed: int, context: Context, weight_decay: float = 0.01, lr: float = 1e-3) -> dict[str, float]:
    """The plain autoencoder: the same networks and optimiser, continuous latents."""
    from unsnarl.systems.latents import AE

    model = AE(LATENTS, network="laptop", weight_decay=weight_decay, lr=lr, batch_size=BATCH, seed=seed)
    return fit_and_score(model, context)
