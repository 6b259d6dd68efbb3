"""A penalty on vectors that point the same way."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from unsnarl.errors import DataError, OptionError


def orthogonality_loss(
    first: Float[Tensor, "..."], second: Float[Tensor, "..."], *, width: int | None = None
) -> Float[Tensor, ""]:
    """Mean of max(0, cosine) over paired rows: cosine embedding loss with target -1 and margin 0.

    Both tensors are cut into rows of `width` numbers, in memory order. Only positive alignment is punished; opposite
    vectors cost as little as orthogonal ones. (Hazarika et al. 2020, MISA, ask for orthogonality of private and shared
    parts by a squared product; this form is that of Wang et al. 2025, DLF, with rows of 50, or of 10 on CMU-MOSEI.)

    Args:
        first: vectors, of any shape.
        second: as many.
        width: length of a row; that of the last dimension when absent.

    Raises:
        DataError: shapes that differ.
        OptionError: a width that does not divide the number of values.

    Cost: linear in the number of values.

    Examples:
        >>> import torch
        >>> a, b = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
        >>> round(orthogonality_loss(a, b).item(), 4)
        0.5
        >>> round(orthogonality_loss(a, b, width=4).item(), 4)  # one row of four
        0.0
    """
    if first.shape != second.shape or not first.ndim:
        raise DataError(f"vectors must have one shape, got {tuple(first.shape)} and {tuple(second.shape)}")
    width = first.shape[-1] if width is None else width
    if width < 1 or first.numel() % width:
        raise OptionError(f"width={width} must divide the {first.numel()} values of shape {tuple(first.shape)}")
    rows, others = first.reshape(-1, width), second.reshape(-1, width)
    return F.cosine_embedding_loss(rows, others, rows.new_full((1,), -1.0))
