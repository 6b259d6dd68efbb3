"""Simulated patients with a slide cut into patches and expressed genes, whose true risk and tissues are known."""

from __future__ import annotations

import warnings

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq

from unsnarl.arrays import check_range
from unsnarl.data.survival._survival_data import SurvivalData
from unsnarl.errors import OptionError

PROGNOSTIC = (0, 1)  # the two tissue types whose abundance enters the risk
BASELINE = 1 / 60  # events a month at a linear predictor of 0


def simulate_bags(
    n: int = 360,
    *,
    seed: int = 0,
    patches: tuple[int, int] = (64, 128),
    types: int = 8,
    features: int = 16,
    pathways: int = 6,
    genes: int = 12,
    effects: tuple[float, float, float] = (0.7, 0.7, 0.7),
    correlation: float = 0.7,
    censored: float = 0.4,
    separation: float = 1.0,
    spread: float = 1.0,
    noise: float = 1.0,
    world: int = 0,
) -> SurvivalData:
    """Patients with a bag of patches and a table of genes, and exponential survival times that depend on both.

    Each patient has three standard normal numbers: a and b, how abundant the tissue types 0 and 1 are, and c, how active the
    pathway 0 is, with corr(b, c) = `correlation`. The log-hazard is effects . (a, b, c), so a is a risk that only the slide
    shows, and b and c share one that both show. The share of a tissue type is softmax(spread * (a, b, others)), the others
    normal with standard deviation 0.5; a patch is the mean of its type plus standard normal noise. Genes of pathway p are its activity
    times a positive loading plus noise; the other pathways' activities say nothing. Times are exponential, and so is the
    censoring, whose rate is set so that the expected share of censored patients is `censored`.

    Args:
        n: patients.
        seed: of the patients.
        patches: fewest and most patches a bag; uniform between.
        types: tissue types, at least 3; two are prognostic.
        features: length of a patch's feature vector.
        pathways: number of pathways.
        genes: genes a pathway.
        effects: log-hazard a unit of a (type 0), b (type 1) and c (pathway 0).
        correlation: between b and c, in [-1, 1].
        censored: expected share of censored patients, in [0, 1).
        separation: standard deviation of the type means in each feature; the noise within a type has 1.
        spread: how unlike the tissue mixtures of patients are.
        noise: standard deviation of a gene about its pathway.
        world: seed of what patients share (type means, gene loadings), apart from `seed` so that two sets of patients can
            come from one world.

    Returns:
        Data with the modalities "patches" (bags) and "genes" (a table with pathways), time in months, and `truth`:
        "risk" (n,) the true log-hazard, which gives the oracle's concordance; "types", one int array a bag, the tissue of every
        patch; "latents" (n, 3) the numbers a, b, c; "prognostic_types", (0, 1); "prognostic_pathway"; "shares" (n, types).

    Raises:
        OptionError: an option out of range.

    Cost: O(n * patches * features).

    Examples:
        >>> data = simulate_bags(50, seed=1)
        >>> data.modalities["genes"].shape, len(data.truth["types"][0]) == len(data.modalities["patches"][0])
        ((50, 72), True)
    """
    check_range(n, "n", low=2, integer=True)
    check_range(types, "types", low=3, integer=True)
    for name, count in (("features", features), ("pathways", pathways), ("genes", genes)):
        check_range(count, name, low=1, integer=True)
    check_range(correlation, "correlation", low=-1, high=1)
    check_range(censored, "censored", low=0, high=0.95)
    low, high = patches
    check_range(low, "patches[0]", low=1, integer=True)
    if high < low:
        raise OptionError(f"patches={patches!r} must be the fewest and the most patches a bag")
    shared = np.random.default_rng([world, 1])
    means = separation * shared.standard_normal((types, features))
    loadings = shared.uniform(0.5, 1.5, (pathways, genes))
    rng = np.random.default_rng([seed, 2])
    a, b, own = rng.standard_normal((3, n))
    c = correlation * b + np.sqrt(1 - correlation**2) * own
    risk = np.stack([a, b, c], axis=1) @ np.asarray(effects, dtype=np.float64)

    logits = np.column_stack([a, b, 0.5 * rng.standard_normal((n, types - 2))])
    shares = np.exp(spread * logits)
    shares /= shares.sum(axis=1, keepdims=True)
    sizes = rng.integers(low, high + 1, n)
    kinds = [rng.choice(types, size=int(size), p=share) for size, share in zip(sizes, shares, strict=True)]
    bags = [(means[k] + rng.standard_normal((len(k), features))).astype(np.float32) for k in kinds]
    activity = np.column_stack([c, rng.standard_normal((n, pathways - 1))])
    expression = (activity[:, :, None] * loadings + noise * rng.standard_normal((n, pathways, genes))).reshape(n, -1)

    hazard = BASELINE * np.exp(risk)
    died = rng.exponential(1 / hazard)
    left = rng.exponential(1.0, n) / _censoring_rate(hazard, censored) if censored else np.full(n, np.inf)
    names = [f"gene {p}.{g}" for p in range(pathways) for g in range(genes)]
    groups = {f"pathway {p}": names[p * genes : (p + 1) * genes] for p in range(pathways)}
    with warnings.catch_warnings():
        if not censored:  # everyone observed is what was asked for
            warnings.simplefilter("ignore", UserWarning)
        return SurvivalData(
            {"patches": bags, "genes": expression.astype(np.float32)},
            time=np.minimum(died, left),
            event=died <= left,
            columns={"genes": names},
            pathways={"genes": groups},
            truth={
                "risk": risk,
                "types": kinds,
                "latents": np.stack([a, b, c], axis=1),
                "shares": shares,
                "prognostic_types": PROGNOSTIC,
                "prognostic_pathway": "pathway 0",
            },
        )


def _censoring_rate(hazard: Float[np.ndarray, " n"], censored: float) -> float:
    """The rate at which P(censored) = mean_i rate / (rate + hazard_i) is what was asked for."""
    excess = lambda log_rate: float(np.mean(1 / (1 + hazard * np.exp(-log_rate)))) - censored  # noqa: E731
    return float(np.exp(brentq(excess, np.log(hazard.min()) - 20, np.log(hazard.max()) + 20)))
