"""What a denoiser is told: the text, as its encoders put it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from unsnarl.errors import DataError


@dataclass(frozen=True)
class Condition:
    """Texts as a denoiser reads them, one row a text.

    Attributes:
        context: the vectors of every token, (n, length, width).
        pooled: one vector a text, (n, pooled), where the denoiser reads one.

    Examples:
        >>> told = Condition(torch.zeros(2, 24, 128))
        >>> len(told), len(told[0]), len(Condition.cat([told, told[0].expand(3)]))
        (2, 1, 5)
    """

    context: Float[Tensor, "*shape"]
    pooled: Float[Tensor, "rows pooled"] | None = None

    def __post_init__(self) -> None:
        if self.context.ndim != 3:
            raise DataError(f"context must have the shape (n, length, width), got {tuple(self.context.shape)}")
        if self.pooled is not None and len(self.pooled) != len(self.context):
            raise DataError(f"context has {len(self.context)} rows and pooled {len(self.pooled)}; they must be equal")

    def __len__(self) -> int:
        return len(self.context)

    def __getitem__(self, rows: Any) -> Condition:
        """The texts of these rows; a single number gives a condition of one row."""
        if isinstance(rows, int):
            rows = slice(rows, rows + 1 or None)
        return Condition(self.context[rows], None if self.pooled is None else self.pooled[rows])

    def expand(self, n: int) -> Condition:
        """One text for n observations, without copying it.

        Raises:
            DataError: it has several rows.
        """
        if len(self) == n:
            return self
        if len(self) != 1:
            raise DataError(f"a condition of {len(self)} rows cannot be spread over {n}; it must have 1 or {n}")
        pooled = None if self.pooled is None else self.pooled.expand(n, -1)
        return Condition(self.context.expand(n, -1, -1), pooled)

    def detach(self) -> Condition:
        """The same without gradients."""
        return Condition(self.context.detach(), None if self.pooled is None else self.pooled.detach())

    @staticmethod
    def cat(conditions: Sequence[Condition]) -> Condition:
        """The texts of several conditions one after another.

        Raises:
            DataError: none, or some with pooled vectors and some without.
        """
        if not conditions:
            raise DataError("conditions must have at least one element")
        pooled = [one.pooled for one in conditions if one.pooled is not None]
        if pooled and len(pooled) != len(conditions):
            raise DataError("conditions must all have pooled vectors, or none of them")
        return Condition(torch.cat([one.context for one in conditions]), torch.cat(pooled) if pooled else None)
