"""Columns of a table grouped by how they vary together, where no pathways are known."""

from __future__ import annotations

from typing import Any

import numpy as np

from unsnarl.arrays import as_matrix, check_range, check_same_length
from unsnarl.errors import DataError, OptionError


def correlation_clusters(table: Any, columns: Any = None, n_clusters: int = 8, *, rows: Any = None) -> dict[str, list]:
    """Group columns by complete linkage on 1 - |Spearman correlation|, so that any two of a group rise or fall together.

    Args:
        table: (n, columns), such as gene expression.
        columns: their names; "column 0", ... when absent.
        n_clusters: number of groups, at most the number of columns.
        rows: which rows to look at (indices or a mask): inside a cross-validation, the training rows. All when absent.

    Returns:
        "cluster 0", ... -> names of its columns, the largest group first, columns in their order.

    Raises:
        DataError: not a finite table, fewer than 3 rows, or a column constant on those rows.
        OptionError: n_clusters out of range.

    Cost: O(n * columns^2 + columns^2 log columns).

    Examples:
        >>> x = np.random.default_rng(0).standard_normal((100, 2)).repeat(2, axis=1)
        >>> correlation_clusters(x, ["a", "b", "c", "d"], 2)
        {'cluster 0': ['a', 'b'], 'cluster 1': ['c', 'd']}
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform
    from scipy.stats import rankdata

    x = as_matrix(table, "table")
    if rows is not None:
        x = x[rows]
    names = [f"column {i}" for i in range(x.shape[1])] if columns is None else [str(c) for c in columns]
    check_same_length(columns=names, table=x.T)
    check_range(n_clusters, "n_clusters", low=1, integer=True)
    if n_clusters > len(names):
        raise OptionError(f"n_clusters={n_clusters} must be at most the {len(names)} columns")
    if len(x) < 3:
        raise DataError(f"correlations need at least 3 rows, got {len(x)}")
    flat = np.ptp(x, axis=0) == 0
    if flat.any():
        raise DataError(
            f"column {names[int(flat.argmax())]!r} is constant on these rows, so it correlates with nothing"
        )
    if len(names) == 1:
        return {"cluster 0": names}
    distance = np.clip(1 - np.abs(np.corrcoef(rankdata(x, axis=0), rowvar=False)), 0, None)
    np.fill_diagonal(distance, 0)
    labels = fcluster(linkage(squareform(distance, checks=False), "complete"), n_clusters, "maxclust")
    groups = [[names[i] for i in np.flatnonzero(labels == k)] for k in np.unique(labels)]
    order = sorted(range(len(groups)), key=lambda k: (-len(groups[k]), names.index(groups[k][0])))
    return {f"cluster {i}": groups[k] for i, k in enumerate(order)}
