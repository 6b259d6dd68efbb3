"""Claim: effective features count what is in superposition, and dropout lowers them.

Toy models squeeze 20 features into 6 neurons, the more of them the sparser the inputs are, and how many a model represents
can be read off its weights. Numbers that look at directions stay at six; F should follow the true number. The second half
trains networks on sparse parities with and without dropout.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unsnarl.claims._claim import Arm, Claim, Row
from unsnarl.claims._context import Context

SPARSITIES = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98)
FEATURES, NEURONS, TOY_STEPS, INPUTS = 20, 6, 10_000, 10_000
DICTIONARY, PENALTY = 48, 1.0  # fixed before the first run
DICTIONARIES, PENALTIES = (24, 48, 96), (0.1, 0.5, 1.0, 2.0)
EPOCHS, FEW_EPOCHS = 800, 12
HIDDEN, PARITY_EPOCHS, PARITY_AUTOENCODER_EPOCHS = 64, 60, 300
FRESH = 1_000  # the bar was set on seed 0


def cell(dictionary: int, penalty: float) -> str:
    """The name of the correlation at one setting."""
    return f"r, D={dictionary}, l1={penalty:g}"


def toys(seed: int, context: Context) -> dict[str, np.ndarray]:
    """Hidden activations of one toy model for each sparsity, and what it represents; made once for all arms."""

    def build() -> dict[str, np.ndarray]:
        import torch

        from unsnarl.data.known._sparse_features import sparse_features
        from unsnarl.measures.superposition import train_toy_models

        steps = context.steps(TOY_STEPS, quick=300)
        models = train_toy_models(
            SPARSITIES,
            features=FEATURES,
            hidden=NEURONS,
            steps=steps,
            seed=seed,
            report=lambda done, total: context.report(0.2 * done, total),
        )
        hidden = []
        with torch.no_grad():
            for place, (model, sparsity) in enumerate(zip(models, SPARSITIES, strict=True)):
                x = sparse_features(INPUTS, FEATURES, sparsity, seed=1_000 * seed + place)
                hidden.append(model.hidden(x).numpy())
        return {
            "hidden": np.stack(hidden),
            "represented": np.array([model.represented for model in models], dtype=float),
            "frobenius": np.array([model.frobenius for model in models]),
        }

    return context.arrays("toys", build, seed=seed)


def correlation(numbers: Sequence[float], truth: np.ndarray) -> float:
    """Pearson's r; nan where one side does not vary."""
    values = np.asarray(numbers)
    if np.ptp(values) == 0 or np.ptp(truth) == 0:
        return float("nan")
    return float(np.corrcoef(values, truth)[0, 1])


def against_truth(values: Sequence[float], data: dict[str, np.ndarray]) -> dict[str, float]:
    """How well six numbers follow the true counts: r with the count, r with ||W||_F^2, and the mean relative error."""
    represented = data["represented"]
    return {
        "r": correlation(values, represented),
        "r_frobenius": correlation(values, data["frobenius"]),
        "error": float(np.mean(np.abs(np.asarray(values) - represented) / np.maximum(represented, 1))),
        **{f"value, S={s:g}": float(v) for s, v in zip(SPARSITIES, values, strict=True)},
        **{f"represented, S={s:g}": float(v) for s, v in zip(SPARSITIES, represented, strict=True)},
    }


def run_effective_features(seed: int, context: Context, grid: bool = True, epochs: int = EPOCHS) -> dict[str, float]:
    """F of all six toy models at the fixed setting, and with `grid` at every other one."""
    import torch

    from unsnarl.measures.superposition import encode_layer, train_autoencoders
    from unsnarl.measures.superposition._layer_activations import LayerActivations

    data = toys(seed + FRESH, context)
    hidden = torch.tensor(data["hidden"])
    layers = [LayerActivations.of(h, samples=len(h)) for h in hidden]
    epochs = context.steps(epochs, quick=3)
    dictionaries = DICTIONARIES if grid else (DICTIONARY,)
    penalties = PENALTIES if grid else (PENALTY,)
    many = len(penalties)
    numbers: dict[str, float] = {}
    for place, dictionary in enumerate(dictionaries):

        def tell(done: int, _: int, place: int = place) -> None:
            # two hundred epochs are about as long as any of them takes
            context.report(0.2 + 0.8 * (place + min(done / 200, 1)) / len(dictionaries), 1)

        trained = train_autoencoders(
            hidden.repeat(many, 1, 1),
            dictionary,
            l1=[float(penalty) for penalty in np.repeat(penalties, len(layers))],
            epochs=epochs,
            seed=seed + FRESH,
            report=tell,
        )
        results = [
            encode_layer(layers[number % len(layers)], autoencoder) for number, autoencoder in enumerate(trained)
        ]
        for number, penalty in enumerate(penalties):
            part = results[number * len(layers) : (number + 1) * len(layers)]
            values = [result.F for result in part]
            numbers[cell(dictionary, penalty)] = correlation(values, data["represented"])
            if (dictionary, penalty) == (DICTIONARY, PENALTY):
                numbers |= against_truth(values, data)
                numbers |= {f"fvu, S={s:g}": result.fvu for s, result in zip(SPARSITIES, part, strict=True)}
                numbers["largest_fvu"] = max(result.fvu for result in part)
                own = trained[number * len(layers) : (number + 1) * len(layers)]
                numbers["epochs"] = float(max(len(autoencoder.losses) for autoencoder in own))
    return numbers


def run_baseline(seed: int, context: Context, name: str = "pca_effective_rank") -> dict[str, float]:
    """A number that needs no training, of all six toy models."""
    from unsnarl.measures.superposition import superposition_baselines

    data = toys(seed + FRESH, context)
    expansion = DICTIONARY / NEURONS
    return against_truth(
        [superposition_baselines(h, expansion=expansion, seed=seed + FRESH)[name] for h in data["hidden"]], data
    )


def run_dropout(seed: int, context: Context, dropout: float = 0.0) -> dict[str, float]:
    """Train a network on three parity tasks and count the effective features of its hidden layer."""
    from unsnarl.data.known._sparse_features import sparse_parity
    from unsnarl.measures.superposition import count_parity_features, parity_superposition

    data = sparse_parity(seed=seed + FRESH)
    epochs = context.steps(PARITY_AUTOENCODER_EPOCHS, quick=2)
    outcome = parity_superposition(
        dropout=dropout,
        hidden=HIDDEN,
        data=data,
        epochs=context.steps(PARITY_EPOCHS, quick=1),
        autoencoder_epochs=epochs,
        seed=seed + FRESH,
        report=lambda share: context.report(0.9 * share, 1),
    )
    published = count_parity_features(outcome.network, data, epochs=epochs, measured="one stratum", seed=seed + FRESH)
    return {
        "F": outcome.result.F,
        "F_one_stratum": published.F,
        "psi": outcome.result.psi,
        "fvu": outcome.result.fvu,
        "train_accuracy": outcome.train_accuracy,
        "test_accuracy": outcome.test_accuracy,
    }


SYSTEM = "effective features"
BASELINES = {
    "PCA effective rank": "pca_effective_rank",
    "participation ratio": "participation_ratio",
    "untrained autoencoder": "untrained_autoencoder",
}
ON_THE_MEAN = "mean beyond minimum, interval beyond zero"

claim = Claim(
    slug="superposition",
    title="Counting the features in toy models of superposition, and dropout on sparse parities",
    statement="Over toy models of 20 features in 6 neurons at six sparsities, the effective features of a sparse autoencoder "
    "correlate with the number of represented features at r = 0.9 or more, at least 0.3 above PCA's effective rank, the "
    "participation ratio and an untrained autoencoder; and dropout of 0.5 lowers the effective features of a network that "
    "computes sparse parities by at least 15%.",
    arms={
        SYSTEM: run_effective_features,
        "effective features, 12 epochs": Arm(run_effective_features, grid=False, epochs=FEW_EPOCHS),
        **{name: Arm(run_baseline, name=number) for name, number in BASELINES.items()},
        "dropout 0.5": Arm(run_dropout, dropout=0.5),
        "no dropout": Arm(run_dropout, dropout=0.0),
    },
    rows=[
        Row(
            "correlation with the true count, 0.9",
            metric="r",
            system=SYSTEM,
            baseline=0.0,
            minimum_effect=0.9,
            rule=ON_THE_MEAN,
        ),
        *(
            Row(
                f"correlation, against {name}",
                metric="r",
                system=SYSTEM,
                baseline=name,
                minimum_effect=0.3,
                rule=ON_THE_MEAN,
            )
            for name in BASELINES
        ),
        Row(
            "dropout lowers F by 15%",
            metric="F",
            system="dropout 0.5",
            baseline="no dropout",
            higher_is_better=False,
            compare="relative",
            minimum_effect=0.15,
            rule=ON_THE_MEAN,
        ),
        Row(
            "dropout lowers F by 15%, 1,024 inputs of one task and label",
            metric="F_one_stratum",
            system="dropout 0.5",
            baseline="no dropout",
            higher_is_better=False,
            compare="relative",
            minimum_effect=0.15,
            rule=ON_THE_MEAN,
            role="extra",
        ),
        *(
            Row(
                f"relative error, against {name}",
                metric="error",
                system=SYSTEM,
                baseline=name,
                higher_is_better=False,
                role="extra",
            )
            for name in BASELINES
        ),
        Row("FVU at most 0.3", metric="largest_fvu", system=SYSTEM, baseline=0.3, higher_is_better=False, role="extra"),
        Row("correlation with ||W||_F^2, 0.84", metric="r_frobenius", system=SYSTEM, baseline=0.84, role="extra"),
        Row(
            "relative error, against training for 12 epochs",
            metric="error",
            system=SYSTEM,
            baseline="effective features, 12 epochs",
            higher_is_better=False,
            role="ablation",
        ),
        Row(
            "accuracy without dropout, 0.99",
            metric="train_accuracy",
            system="no dropout",
            baseline=0.99,
            role="extra",
        ),
        Row(
            "accuracy, with dropout against without",
            metric="test_accuracy",
            system="dropout 0.5",
            baseline="no dropout",
            minimum_effect=-0.05,
            role="extra",
        ),
        *(
            Row(cell(dictionary, penalty), metric=cell(dictionary, penalty), system=SYSTEM, baseline=0.9, role="extra")
            for dictionary in DICTIONARIES
            for penalty in PENALTIES
            if (dictionary, penalty) != (DICTIONARY, PENALTY)
        ),
    ],
    notes="F of a converged autoencoder is often 12, twice the neurons: the positive and the negative half of six axes "
    "reconstruct everything, and the penalty has to outweigh that before true features win. Pearson's r over six sparsities "
    "hangs on the dense model, where few features are represented and nearly every number is small: an untrained autoencoder "
    "reaches r above 0.84 on the models looked at beforehand, so that no r could be 0.3 above it; its relative error "
    "tells them apart. Dropout is measured on all training inputs; the published script measures 1,024 inputs of one task and "
    "one label with a tenth of the training steps, which is the extra row.",
    settings={
        "features": FEATURES,
        "neurons": NEURONS,
        "sparsities": list(SPARSITIES),
        "toy training": f"Adam 1e-3, {TOY_STEPS} steps of 1024 fresh inputs, equal importance",
        "inputs a model": INPUTS,
        "autoencoder": f"tied, D {DICTIONARY}, l1 {PENALTY:g}, Adam 1e-3, batch 128, at most {EPOCHS} epochs, patience 10",
        "parity network": f"15-{HIDDEN}-1, Adam 1e-3, batch 64, {PARITY_EPOCHS} epochs",
        "parity autoencoder": f"untied, D {4 * HIDDEN}, l1 0.1, {PARITY_AUTOENCODER_EPOCHS} epochs of all training inputs",
        "data": f"seed + {FRESH}: the bar was set on seed 0",
    },
)
