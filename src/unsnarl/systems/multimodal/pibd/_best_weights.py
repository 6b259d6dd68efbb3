"""The weights of the best epoch on a validation set, kept beside those in training."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class BestWeights(nn.Module):
    """A copy of a network's state whenever a score is the lowest so far.

    The copy and the scores are buffers, so that they are in the checkpoints, and a run that was interrupted ends with the
    same choice.

    Args:
        network: whose parameters and buffers are kept.
        epochs: how many scores are coming.
    """

    scores: Tensor

    def __init__(self, network: nn.Module, epochs: int):
        super().__init__()
        self.keys = list(network.state_dict())
        for place, value in enumerate(network.state_dict().values()):
            self.register_buffer(f"kept_{place}", value.detach().clone())
        self.register_buffer("scores", torch.full((epochs + 1,), torch.inf))

    @torch.no_grad()
    def offer(self, network: nn.Module, epoch: int, score: float) -> None:
        """Keep the state if the score is below all earlier ones."""
        best = bool(score < self.scores[:epoch].min()) if epoch else True
        self.scores[epoch] = score
        if best:
            for place, value in enumerate(network.state_dict().values()):
                getattr(self, f"kept_{place}").copy_(value)

    @torch.no_grad()
    def restore(self, network: nn.Module) -> None:
        """Give the network the state that was kept."""
        network.load_state_dict({key: getattr(self, f"kept_{i}") for i, key in enumerate(self.keys)})
