"""The table of measures: where each one's function is, which options it takes, and what its numbers mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from unsnarl.errors import UnknownNameError

ACTIVE = "active_variables"


@dataclass(frozen=True)
class _Kept:
    """What is known about one number before it is computed."""

    meaning: str
    range: str


@dataclass(frozen=True)
class _Row:
    """One measure: where its function is, which options it takes, and what its numbers mean."""

    module: str
    options: tuple[str, ...]
    numbers: Mapping[str, _Kept]


MEASURES: dict[str, _Row] = {
    "infomec": _Row(
        "_infomec",
        ("kinds", "factor_bins", "discrete", "bootstrap", "seed"),
        {
            "modularity": _Kept("how nearly each active latent tells of one factor only (InfoM)", "0 to 1"),
            "explicitness": _Kept("how well a linear classifier reads the factors from all latents (InfoE)", "up to 1"),
            "compactness": _Kept("how nearly each factor is told of by one latent only (InfoC)", "0 to 1"),
        },
    ),
    "dci": _Row(
        "_dci",
        ("kinds", "bootstrap", "seed"),
        {
            "disentanglement": _Kept("how nearly each latent serves to predict one factor only", "0 to 1"),
            "completeness": _Kept("how nearly each factor is predicted from one latent only", "0 to 1"),
            "informativeness": _Kept(
                "accuracy (R² for continuous factors) of the prediction on held-out rows", "up to 1"
            ),
            "informativeness_train": _Kept("the same on the rows the predictor learned from", "up to 1"),
        },
    ),
    "mutual_information_gap": _Row(
        "_gap",
        ("kinds", "factor_bins", "bins", "bootstrap", "seed"),
        {"mig": _Kept("how much more the best latent tells of a factor than the second best", "0 to 1")},
    ),
    "sap": _Row(
        "_sap",
        ("kinds", "bootstrap", "seed"),
        {"sap": _Kept("how much better the best latent alone predicts a factor than the second best", "0 to 1")},
    ),
    "modularity_explicitness": _Row(
        "_modularity",
        ("kinds", "factor_bins", "bins", "bootstrap", "seed"),
        {
            "modularity": _Kept("how nearly each latent, useful or not, tells of one factor only", "0 to 1"),
            "explicitness": _Kept(
                "area under the ROC curve of a linear classifier on held-out rows; chance is 0.5", "0 to 1"
            ),
            "explicitness_train": _Kept("the same on the rows the classifier learned from", "0 to 1"),
        },
    ),
    "beta_vae_score": _Row(
        "_beta_vae",
        ("kinds", "factor_bins", "bootstrap", "seed"),
        {
            "beta_vae": _Kept(
                "how often a linear classifier tells from code differences which factor was held", "0 to 1"
            )
        },
    ),
    "factor_vae_score": _Row(
        "_factor_vae",
        ("kinds", "factor_bins", "bootstrap", "seed"),
        {"factor_vae": _Kept("how often the latent that varies least tells which factor was held", "0 to 1")},
    ),
    "irs": _Row(
        "_irs",
        ("kinds", "bootstrap", "seed"),
        {"irs": _Kept("how still each latent stays when all but its own factor change", "0 to 1")},
    ),
    "dimensionality": _Row(
        "_whole_code",
        ("kinds", "bootstrap", "seed"),
        {
            "effective_rank": _Kept("how many directions the code spreads over", "1 and up"),
            "participation_ratio": _Kept("the same, with more weight on the widest directions", "1 and up"),
        },
    ),
    "diffusion_spectral": _Row(
        "_whole_code",
        ("kinds", "bootstrap", "seed"),
        {
            "dse": _Kept("how many modes the cloud of codes has, in bits (2 to that power)", "0 and up"),
            "dsmi": _Kept("how much of that spread the factor explains, in bits", "0 and up"),
        },
    ),
    "lossy_information": _Row(
        "_whole_code",
        ("kinds", "bootstrap", "seed"),
        {"mi": _Kept("what all latents together tell of the factor, in nats: a lower bound", "0 and up")},
    ),
}

_ACTIVE_NUMBERS = {
    "active": _Kept("latents that are used for every input", "0 and up"),
    "mixed": _Kept("latents that are used for some inputs only", "0 and up"),
    "passive": _Kept("latents whose posterior is the prior", "0 and up"),
    "tc_mean": _Kept("total correlation of the means of all latents, in nats", "0 and up"),
    "tc_sampled": _Kept("total correlation of sampled latents, in nats", "0 and up"),
    "tc_mean_without_passive": _Kept("total correlation of the means without the passive latents, in nats", "0 and up"),
    "tc_sampled_without_passive": _Kept(
        "total correlation of sampled latents without the passive ones, in nats", "0 and up"
    ),
    "share_removed": _Kept("share of the gap between mean and sampled that goes with the passive latents", "up to 1"),
}

_SHORT_NAMES = {
    "mig": "mutual_information_gap",
    "modularity": "modularity_explicitness",
    "beta_vae": "beta_vae_score",
    "factor_vae": "factor_vae_score",
}


def measure_names(names: Iterable[str] | str | None = None) -> list[str]:
    """The full names of the measures asked for, each once; all of them for None.

    Raises:
        UnknownNameError: a name that is not a measure.
    """
    if names is None:
        return list(MEASURES)
    wanted = [names] if isinstance(names, str) else list(names)
    full = [_SHORT_NAMES.get(str(name), str(name)) for name in wanted]
    for name in full:
        if name not in MEASURES:
            raise UnknownNameError("measure", name, list(MEASURES))
    return list(dict.fromkeys(full))


def known_of(measure: str, score: str) -> _Kept:
    """What is known about a number; one for each factor, such as "mi: hue", shares what is known of "mi"."""
    numbers = _ACTIVE_NUMBERS if measure == ACTIVE else MEASURES[measure].numbers
    return numbers.get(score) or numbers.get(score.partition(":")[0], _Kept("", ""))
