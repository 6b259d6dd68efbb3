"""Claim: prototypical bottlenecks and disentangling order simulated patients better than late fusion of the same networks.

Simulated slides and pathways with a known risk; every learner has the same width, epochs and batches, its learning rate chosen
from the same grid, and keeps the epoch that is best on validation patients. Then the genes of 198 women with breast cancer in
eight pathways and their clinical variables as the second bag, cross-validated beside ridge Cox regression.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unsnarl.claims._claim import Arm, Claim, Row, Tuning
from unsnarl.claims._context import Context
from unsnarl.claims._statistics import RULES

PATIENTS, TRAINING, VALIDATION = 360, 240, 0.25
Z, EPOCHS, BATCH = 32, 60, 32
REAL_EPOCHS, FOLDS, CLUSTERS = 30, 5, 8
OFFSET = 1000  # the first seeds' patients were looked at while the simulator was made
RATES = [5e-4, 1e-3, 2e-3]


def simulated(seed: int, context: Context) -> tuple[Any, Any]:
    """Training and test patients of one world."""
    from unsnarl.data.survival import simulate_bags

    del context
    data = simulate_bags(PATIENTS, seed=seed + OFFSET, world=seed + OFFSET, patches=(64, 128), types=8, features=16)
    return data.subset(np.arange(TRAINING)), data.subset(np.arange(TRAINING, PATIENTS))


def scores(model: Any, seed: int, context: Context, chosen: Any) -> dict[str, float]:
    """Fit on simulated patients and measure."""
    from unsnarl.measures.survival import concordance

    train, test = simulated(seed, context)
    epochs = context.steps(EPOCHS, quick=2)
    total = epochs * -(-round(TRAINING * (1 - VALIDATION)) // BATCH)

    def tell(step: int, _: Any) -> None:
        context.report(step, total)

    model.fit(train, epochs=epochs, run=context.folder / "run", checkpoint_every=60, callbacks=[tell])
    prognostic = set(test.truth["prognostic_types"])
    hits = [np.isin(kinds, list(prognostic)) for kinds in test.truth["types"]]
    kept = [hit[index] for hit, index in zip(hits, chosen(model, test), strict=True)]
    return {
        "c_index": float(concordance(test.time, test.event, model.risk(test))),
        "c_index_training": float(concordance(train.time, train.event, model.risk(train))),
        "oracle": float(concordance(test.time, test.event, test.truth["risk"])),
        "validation_loss": float(model.validation_["score"].min()),
        "shared_r2": shared(model.embed(train), model.embed(test)),
        "precision": float(np.concatenate(kept).mean()),
        "prognostic_share": float(np.concatenate(hits).mean()),
    }


def shared(train: dict[str, np.ndarray], test: dict[str, np.ndarray]) -> float:
    """Share of the variance of test patients' genomic embeddings that a ridge regression reads off those of histology."""
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scale = StandardScaler().fit(train["genomics"])  # every dimension counts alike
    probe = make_pipeline(StandardScaler(), Ridge(10.0))
    probe.fit(train["histology"], scale.transform(train["genomics"]))
    target = scale.transform(test["genomics"])
    error = np.square(probe.predict(test["histology"]) - target).sum()
    return float(1 - error / np.square(target - target.mean(0)).sum())


def kept_patches(model: Any, test: Any) -> list[np.ndarray]:
    """What the bottleneck keeps, each patch once."""
    return model.select_instances(test)[0]


def most_attended(model: Any, test: Any) -> list[np.ndarray]:
    """As many patches of each bag as PIBD's share, those with the largest weights."""
    return [np.argsort(-w)[: max(1, len(w) // 2)] for w in model.attend(test)]


def run_pibd(seed: int, context: Context, lr: float, variant: str = "", **options: Any) -> dict[str, float]:
    """A variant of PIBD."""
    from unsnarl.systems.multimodal.pibd import PIBD

    make = PIBD.published if variant == "published" else PIBD
    model = make(z_dim=Z, lr=lr, batch_size=BATCH, epochs=EPOCHS, validation_fraction=VALIDATION, seed=seed, **options)
    return scores(model, seed, context, kept_patches)


def run_late_fusion(seed: int, context: Context, lr: float) -> dict[str, float]:
    """Gated attention over patches, self-normalizing networks over pathways, late fusion."""
    from unsnarl.systems.multimodal._late_fusion import LateFusionSurvival

    model = LateFusionSurvival(
        z_dim=Z, lr=lr, batch_size=BATCH, epochs=EPOCHS, validation_fraction=VALIDATION, seed=seed
    )
    return scores(model, seed, context, most_attended)


def cross_validated(model: Any, seed: int, context: Context) -> dict[str, float]:
    """Mean concordance over the folds of one division of the women with breast cancer."""
    from unsnarl.data.survival import load_survival
    from unsnarl.measures.survival import cross_validate_survival

    folds = 2 if context.quick else FOLDS
    table = cross_validate_survival(
        {"model": model},
        load_survival("breast-cancer"),
        folds=folds,
        repeats=1,
        seed=seed + OFFSET,
        progress=context.report,
    )
    return {"c_index": float(table["c_index"].mean())}


def run_real_pibd(seed: int, context: Context, lr: float) -> dict[str, float]:
    """PIBD on genes in clusters and clinical variables as a bag."""
    from unsnarl.systems.multimodal.pibd import PIBD

    epochs = context.steps(REAL_EPOCHS, quick=1)
    model = PIBD(z_dim=Z, lr=lr, batch_size=BATCH, epochs=epochs, clusters=CLUSTERS, seed=seed)
    return cross_validated(model, seed, context)


def run_real_late_fusion(seed: int, context: Context, lr: float) -> dict[str, float]:
    """Late fusion on the same."""
    from unsnarl.systems.multimodal._late_fusion import LateFusionSurvival

    epochs = context.steps(REAL_EPOCHS, quick=1)
    model = LateFusionSurvival(z_dim=Z, lr=lr, batch_size=BATCH, epochs=epochs, clusters=CLUSTERS, seed=seed)
    return cross_validated(model, seed, context)


def run_ridge_cox(seed: int, context: Context, penalty: float) -> dict[str, float]:
    """Ridge Cox regression on all columns."""
    from unsnarl.measures.survival import RidgeCox

    return cross_validated(RidgeCox(alpha=penalty), seed, context)


def run_forest(seed: int, context: Context, leaf: int) -> dict[str, float]:
    """A random survival forest on all columns."""
    from unsnarl.measures.survival import ForestSurvival

    return cross_validated(ForestSurvival(min_samples_leaf=leaf, seed=seed), seed, context)


def _tuning(arm: str, **options: Any) -> Tuning:
    return Tuning(arm=arm, grid={"lr": RATES}, metric="validation_loss", objective="min", seeds=[100, 101], **options)


VARIANTS = {
    "PIBD, published": "as published (the label's prototype in training)",
    "PIBD, joint CLUB": "bound and fit of the information minimised together",
    "PIBD, lambda 0": "no disentangling loss",
    "PIBD, all instances": "no selection",
}

claim = Claim(
    slug="pibd",
    title="Prototypical bottlenecks and disentangling on simulated slides and breast cancer",
    statement="On simulated slides and pathways PIBD orders test patients better than gated attention with self-normalizing "
    "networks and late fusion of the same width, by more than 0.01 of concordance.",
    arms={
        "PIBD": run_pibd,
        "PIBD, published": Arm(run_pibd, variant="published"),
        "PIBD, joint CLUB": Arm(run_pibd, club="joint"),
        "PIBD, lambda 0": Arm(run_pibd, lam=0.0),
        "PIBD, all instances": Arm(run_pibd, select=False),
        "late fusion": run_late_fusion,
        "breast cancer: PIBD": run_real_pibd,
        "breast cancer: late fusion": run_real_late_fusion,
        "breast cancer: ridge Cox": run_ridge_cox,
        "breast cancer: forest": run_forest,
    },
    rows=[
        Row(
            "against late fusion",
            metric="c_index",
            system="PIBD",
            baseline="late fusion",
            minimum_effect=0.01,
            rule=RULES[1],
        ),
        *[
            Row(
                f"against late fusion: {words}",
                metric="c_index",
                system=arm,
                baseline="late fusion",
                minimum_effect=0.01,
                rule=RULES[1],
                role="extra",
            )
            for arm, words in list(VARIANTS.items())[:3]
        ],
        Row(
            "what the label's prototype costs",
            metric="c_index",
            system="PIBD",
            baseline="PIBD, published",
            role="ablation",
        ),
        Row(
            "what selection adds",
            metric="c_index",
            system="PIBD",
            baseline="PIBD, all instances",
            role="ablation",
        ),
        Row(
            "what the disentangling loss adds",
            metric="c_index",
            system="PIBD",
            baseline="PIBD, lambda 0",
            role="ablation",
        ),
        Row(
            "what estimators in turns add to a joint loss",
            metric="c_index",
            system="PIBD",
            baseline="PIBD, joint CLUB",
            role="ablation",
        ),
        *[
            Row(
                f"what histology and genomics tell of each other, against {arm}",
                metric="shared_r2",
                system="PIBD",
                baseline=arm,
                higher_is_better=False,
                role="ablation",
            )
            for arm in ("PIBD, lambda 0", "PIBD, joint CLUB")
        ],
        Row(
            "kept patches are of prognostic types, against chance",
            metric="precision",
            system="PIBD",
            baseline="PIBD",
            baseline_metric="prognostic_share",
            role="extra",
        ),
        Row(
            "kept patches are of prognostic types, against the most attended half",
            metric="precision",
            system="PIBD",
            baseline="late fusion",
            role="extra",
        ),
        Row(
            "what the true risk would reach",
            metric="oracle",
            system="PIBD",
            baseline="PIBD",
            baseline_metric="c_index",
            role="extra",
        ),
        *[
            Row(
                f"breast cancer, against {name}",
                metric="c_index",
                system="breast cancer: PIBD",
                baseline=f"breast cancer: {name}",
                role="extra",
                seeds=3,
            )
            for name in ("ridge Cox", "forest", "late fusion")
        ],
    ],
    tune=[
        _tuning("PIBD", also=["PIBD, joint CLUB", "PIBD, lambda 0", "PIBD, all instances"]),
        _tuning("PIBD, published"),
        _tuning("late fusion"),
        Tuning(arm="breast cancer: PIBD", grid={"lr": RATES}, metric="c_index"),
        Tuning(arm="breast cancer: late fusion", grid={"lr": RATES}, metric="c_index"),
        Tuning(arm="breast cancer: ridge Cox", grid={"penalty": [30.0, 100.0, 300.0]}, metric="c_index"),
        Tuning(arm="breast cancer: forest", grid={"leaf": [5, 15, 30]}, metric="c_index"),
    ],
    settings={
        "patients": PATIENTS,
        "training patients": TRAINING,
        "of these for validation": VALIDATION,
        "patches": "64 to 128 of 16 features, 8 types, 2 of them prognostic",
        "pathways": "6 of 12 genes, 1 of them prognostic",
        "expected share censored": 0.4,
        "width z": Z,
        "epochs": EPOCHS,
        "batch": BATCH,
        "data seeds": f"seed + {OFFSET}",
        "breast cancer": f"198 women, {CLUSTERS} correlation clusters of 76 genes found on training women, 4 clinical variables as "
        f"the second bag, {FOLDS} folds, one division a seed, {REAL_EPOCHS} epochs",
    },
    notes="PIBD is the learner with its defaults: the common token takes the prototype that a patient's instances resemble, in training as "
    "at test, and the estimators of information are fitted in turns. The published choices (the prototype of the true label, one loss for "
    "bound and fit) are arms of their own, the former with a learning rate of its own. The default was chosen before the claim's runs: "
    "on one seed of their own (900, lr 0.001) the concordance was 0.570 as published, 0.730 with the predicted prototype and a joint loss, "
    "0.749 with that and estimators in turns, 0.754 for late fusion, and only in turns do the estimators bound the information. The ablations take PIBD's learning rate. Every learner keeps the weights of the epoch with the lowest loss on 60 "
    "validation patients. Precision counts each kept patch once; late fusion 'keeps' the half with the largest attention weights. "
    "Without lambda the layer that keeps the streams apart stays, and the bounds on their information go. On breast cancer no "
    "patient is set aside: all train for a fixed number of epochs; hyperparameters are chosen by cross-validation "
    "with another division of the same women, for all four models alike.",
)
