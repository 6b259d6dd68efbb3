"""Whether global scores generalise: the same prototypes on training and on test images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

ALL = "all"


def compare_scores(
    train: Float[np.ndarray, "prototype characteristic"],
    test: Float[np.ndarray, "prototype characteristic"],
    names: Sequence[str],
) -> pd.DataFrame:
    """Global scores of two sets of images, characteristic by characteristic over the prototypes, and all at once.

    Returns:
        One row a characteristic and one for all: mean_train, mean_test; welch_t and welch_p of Welch's t-test that the means are
        equal; shapiro_train and shapiro_test, p-values of the Shapiro-Wilk test that the scores are normal, which the
        t-test wants for few prototypes; spearman, the rank correlation of the scores of the two sets over prototypes.
        NaN where there are too few prototypes or the scores are constant.
    """
    from scipy import stats

    rows = []
    for name, a, b in [*zip(names, train.T, test.T, strict=True), (ALL, train.ravel(), test.ravel())]:
        known = np.isfinite(a) & np.isfinite(b)
        a, b = a[known], b[known]
        varied = len(a) > 1 and np.ptp(a) > 0 and np.ptp(b) > 0
        welch = stats.ttest_ind(a, b, equal_var=False) if varied else (np.nan, np.nan)
        rows.append(
            {
                "characteristic": name,
                "mean_train": a.mean() if len(a) else np.nan,
                "mean_test": b.mean() if len(b) else np.nan,
                "welch_t": float(welch[0]),
                "welch_p": float(welch[1]),
                "shapiro_train": float(stats.shapiro(a).pvalue) if varied and len(a) > 2 else np.nan,
                "shapiro_test": float(stats.shapiro(b).pvalue) if varied and len(b) > 2 else np.nan,
                "spearman": float(stats.spearmanr(a, b).statistic) if varied else np.nan,
            }
        )
    return pd.DataFrame(rows).set_index("characteristic")
