"""Claim: quantized latents are more modular than an autoencoder's once weight decay has had time to act.

The squares of the claim `qlae` at 16 x 16 pixels, fully connected networks and 20,000 steps, so that learning rate x decay x
steps reaches the order of the paper's (20); weight decay chosen from one grid for both arms, on a seed that the claim does
not use.
"""

from __future__ import annotations

from unsnarl.claims._claim import Arm, Claim, Tuning
from unsnarl.claims._context import Context
from unsnarl.claims._squares import FACTORS, fit_and_score, qlae_rows

LATENTS, LEVELS, BATCH, LR, STEPS, PIXELS = 8, 10, 64, 1e-3, 20_000, 16
DECAYS = [0.0, 0.1, 0.5, 1.0]
TRAINING = {"image_size": PIXELS, "steps": STEPS, "checkpoint_every": 2_000, "log_every": 500}


def run_qlae(seed: int, context: Context, weight_decay: float, shared_codebook: bool = False) -> dict[str, float]:
    """The quantized-latent autoencoder."""
    from unsnarl.systems.latents import QLAE

    model = QLAE(
        LATENTS,
        LEVELS,
        network="laptop-dense",
        weight_decay=weight_decay,
        lr=LR,
        shared_codebook=shared_codebook,
        batch_size=BATCH,
        seed=seed,
    )
    return fit_and_score(model, context, **TRAINING)


def run_ae(seed: int, context: Context, weight_decay: float) -> dict[str, float]:
    """The plain autoencoder: the same networks and optimiser, continuous latents."""
    from unsnarl.systems.latents import AE

    model = AE(LATENTS, network="laptop-dense", weight_decay=weight_decay, lr=LR, batch_size=BATCH, seed=seed)
    return fit_and_score(model, context, **TRAINING)


claim = Claim(
    slug="qlae-long",
    title="QLAE against an autoencoder on rendered squares, 20,000 steps",
    statement="With time for weight decay to act, latents quantized to ten learned values each are more modular than those of an "
    "autoencoder with the same networks and budget, by at least 0.10 InfoM, at a cost of at most 1.5 dB of PSNR.",
    arms={
        "QLAE": run_qlae,
        "AE": run_ae,
        "AE, QLAE's decay": run_ae,
        "QLAE, no decay": Arm(run_qlae, weight_decay=0.0),
        "QLAE, one codebook": Arm(run_qlae, shared_codebook=True),
    },
    rows=qlae_rows(),
    tune=[
        Tuning(
            arm="QLAE",
            grid={"weight_decay": DECAYS},
            metric="modularity",
            also=["AE, QLAE's decay", "QLAE, one codebook"],
        ),
        Tuning(arm="AE", grid={"weight_decay": DECAYS}, metric="modularity"),
    ],
    settings={
        "factors": FACTORS,
        "latents": LATENTS,
        "levels": LEVELS,
        "batch": BATCH,
        "learning rate": LR,
        "image size": PIXELS,
        "steps": STEPS,
        "hidden layers": [256, 256],
    },
    notes="A second setting of the claim `qlae`, made after that one, at 32 pixels, convolutional and 5,000 steps long, came out "
    "inconclusive. Its grid of decays, its bars and its seeds were set before its first run. The gain in modularity is there with "
    "the tuned and with equal decay, but not its price: QLAE reconstructs at 34 dB where the autoencoder reaches 40, so the claim as a "
    "whole does not hold. Neither ablation shows what makes the gain: without decay two of three seeds are as modular, and one "
    "codebook for all latents does as well as one each.",
)
