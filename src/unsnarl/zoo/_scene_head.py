"""A second task for generators: to say, from their own features of a noisy image, what is where.

Denoisers are slow to form features that tell what an image shows, and training is much faster when they are given a reason
(Yu et al. 2024, "Representation alignment for generation", arXiv 2410.06940, who draw features to those of a pretrained encoder).
Here every factor of every image is known, so no encoder is needed: a small head reads the features and is asked what the
oracle is asked of clean images. The head is thrown away after training. The denoising loss stays what it was, and so does what
minimises it.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from unsnarl.data.scenes import KINDS
from unsnarl.zoo._oracle import BOX, MAP, OF_OBJECT, OF_SCENE


class SceneHead(nn.Module):
    """Features on the 16 x 16 map to centre logits, factors of objects at every cell, and factors of the scene.

    Args:
        channels: of the features.
        width: of the hidden layer.
    """

    def __init__(self, channels: int, width: int = 128):
        super().__init__()
        self.hidden = nn.Sequential(nn.GroupNorm(8, channels), nn.Conv2d(channels, width, 1), nn.SiLU())
        self.centres = nn.Conv2d(width, len(KINDS), 1)
        assert self.centres.bias is not None
        nn.init.constant_(self.centres.bias, -4.0)  # hardly any cell is a centre
        self.local = nn.Conv2d(width, sum(map(len, OF_OBJECT.values())) + BOX, 1)
        self.whole = nn.Linear(width, sum(map(len, OF_SCENE.values())))

    def forward(self, features: Float[Tensor, "n channel 16 16"]) -> tuple[Tensor, Tensor, Tensor]:
        """As an `OracleNetwork` answers; see `unsnarl.zoo._oracle.oracle_loss`."""
        assert features.shape[-1] == MAP
        hidden = self.hidden(features)
        return self.centres(hidden), self.local(hidden), self.whole(hidden.mean((2, 3)))
