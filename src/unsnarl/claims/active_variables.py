"""Claim: passive latents make the correlation that only mean representations show, and the variance rule finds them.

A beta-VAE on rendered squares; its latents are classified by the mean and variance of the posterior variances alone.
Leaving out the passive ones should remove nearly all of TC(mean) - TC(sampled); what it costs a linear probe is measured too.
"""

from __future__ import annotations

from typing import Any

from unsnarl.claims._claim import Arm, Claim, Row
from unsnarl.claims._context import Context
from unsnarl.claims._squares import FACTORS, squares
from unsnarl.claims._statistics import RULES

LATENTS, BETA, BATCH, STEPS, SAMPLES = 10, 4.0, 64, 4_000, 10_000


def run_vae(seed: int, context: Context, network: str = "laptop-dense") -> dict[str, float]:
    """Train the beta-VAE and take its latents apart."""
    import numpy as np

    from unsnarl.measures import representation_report, tc_gap
    from unsnarl.systems.latents import BetaVAE

    data = squares()
    steps = context.steps(STEPS)

    def tell(step: int, _: Any) -> None:
        context.report(step, steps)

    model = BetaVAE(LATENTS, beta=BETA, network=network, batch_size=BATCH, seed=seed)
    model.fit(data, steps=steps, run=context.folder / "run", checkpoint_every=500, log_every=100, callbacks=[tell])
    mu, logvar = model.encode(data)
    rows = np.random.default_rng(seed).integers(len(data), size=SAMPLES)  # examples drawn i.i.d. from the data
    gaps = tc_gap(mu[rows], logvar[rows], seed=seed)
    # the classifier sees each image once, so that none is both in its training and in its test rows
    report = representation_report(mu, logvar, data.table, seed=seed)
    accuracy = report[(report["representation"] == "mean") & (report["metric"] == "logistic_accuracy_mean")]
    by_subset = dict(zip(accuracy["subset"], accuracy["value"], strict=True))
    return {
        "passive": float(len(gaps.types.passive)),
        "active": float(len(gaps.types.active)),
        "mixed": float(len(gaps.types.mixed)),
        "gap": float(gaps.gap),
        "share": float(gaps.share_removed),
        "share_random": float(gaps.share_removed_random),
        "share_low_variance": float(gaps.share_removed_low_variance),
        "accuracy": by_subset["full"],
        "accuracy_without_passive": by_subset.get("active+mixed", float("nan")),
    }


claim = Claim(
    slug="active-variables",
    title="Leaving passive latents out of a beta-VAE on rendered squares",
    statement="Latents that the variance rule calls passive carry at least 90% of the total correlation that only the mean "
    "representation shows, and at least 0.2 more than as many latents chosen at random.",
    arms={"beta-VAE": run_vae, "beta-VAE, convolutional": Arm(run_vae, network="laptop")},
    rows=[
        Row("share of the gap removed, 0.9", metric="share", system="beta-VAE", baseline=0.9),
        Row(
            "against as many at random",
            metric="share",
            system="beta-VAE",
            baseline="beta-VAE",
            baseline_metric="share_random",
            minimum_effect=0.2,
            rule=RULES[1],  # the bar is on the mean
        ),
        Row("at least two passive latents", metric="passive", system="beta-VAE", baseline=1.5, role="guard"),
        Row("a gap to explain, of 0.5 nat", metric="gap", system="beta-VAE", baseline=0.5, role="guard"),
        Row(
            "against the lowest variances of the mean",
            metric="share",
            system="beta-VAE",
            baseline="beta-VAE",
            baseline_metric="share_low_variance",
            role="extra",
        ),
        Row(
            "accuracy without the passive latents",
            metric="accuracy_without_passive",
            system="beta-VAE",
            baseline="beta-VAE",
            baseline_metric="accuracy",
            minimum_effect=-0.01,
            role="ablation",
        ),
        Row(
            "with convolutional networks",
            metric="share",
            system="beta-VAE, convolutional",
            baseline=0.9,
            role="extra",
            seeds=3,
        ),
    ],
    notes="The networks were chosen on seeds 100 to 102: fully connected ones settle within the 4,000 steps (5 passive and 5 active "
    "latents on each of the three, 99.9% of the gap removed, 80% by as many latents at random). Convolutional networks, the "
    "first choice, do not: after 3,000 steps, on seeds 0 to 3, they had 2 to 7 mixed latents, one of them no passive latent, and "
    "the rule removed 49 to 74% of the gap. They are kept as a row of their own. Two things do not hold. Dropping the latents "
    "whose means vary least removes the same share, since they are the same latents here. And a linear classifier loses two to six "
    "points of accuracy without the passive means, more than the one point allowed: they are faint copies of what the active "
    "latents say in another form, and a linear classifier can use them. The rule of the second row is that of a bar on the mean.",
    settings={
        "factors": FACTORS,
        "latents": LATENTS,
        "beta": BETA,
        "batch": BATCH,
        "steps": STEPS,
        "examples": SAMPLES,
    },
)
