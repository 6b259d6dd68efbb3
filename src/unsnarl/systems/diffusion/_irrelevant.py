"""DisenBooth's adapter: what a photo shows besides its subject, as one vector beside the text."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class IrrelevantAdapter(nn.Module):
    """f = W_2 ReLU(W_1 h + b_1) + b_2 + h with h = sigmoid(m) * e (Chen et al. 2024, arXiv 2305.03374).

    e is a projected CLIP embedding of a photo and m a learned mask that starts at 0, so that at first h = e / 2.

    Args:
        width: of the text's vectors, and of e unless `source` is given.
        mask: without it h = e.
        source: width of e where it differs: e is first mapped by a learned linear map.
    """

    def __init__(self, width: int, *, mask: bool = True, source: int | None = None):
        super().__init__()
        self.map = nn.Identity() if source in (None, width) else nn.Linear(int(source or width), width)
        self.mask = nn.Parameter(torch.zeros(width)) if mask else None
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)

    def forward(self, embeddings: Float[Tensor, "n source"]) -> Float[Tensor, "n width"]:
        """The identity-irrelevant embeddings of photos."""
        h = self.map(embeddings)
        if self.mask is not None:
            h = torch.sigmoid(self.mask) * h
        return self.second(torch.relu(self.first(h))) + h
