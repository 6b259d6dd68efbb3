"""Training image and text encoders against each other (CLIP; Radford et al. 2021, arXiv 2103.00020) on captioned scenes.

    L = (CE(s I T^T -> own caption) + CE(s T I^T -> own image)) / 2,

I and T unit embeddings of a batch, s a learned scale. Two things are added for scenes. Captions of the batch that happen to
be true of an image are taken out of its row and column, because short captions ("red") hold of many images. And each row
gets captions that are wrong in one thing (two colours swapped, a relation turned round) as further candidates, without
which the encoders learn which words occur and not what belongs to what (Yuksekgonul et al. 2023, arXiv 2210.01936).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from unsnarl.training import EMA, Task
from unsnarl.zoo._degrade import degrade
from unsnarl.zoo._extra import transformers
from unsnarl.zoo._schedule import adamw, cosine_rate, set_rate
from unsnarl.zoo._tokenizer import LENGTH

HIGHEST_SCALE = 100.0


def clip_config(
    tokenizer: Any,
    *,
    width: int = 128,
    text_layers: int = 3,
    vision_layers: int = 4,
    heads: int = 4,
    patch: int = 4,
    projection: int = 128,
    image_size: int = 32,
) -> Any:
    """A `CLIPConfig` for scenes: a causal text transformer of 24 tokens and a vision transformer."""
    library = transformers()
    ids = {name: getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": text_layers,
        "num_attention_heads": heads,
        "max_position_embeddings": LENGTH,
        "projection_dim": projection,
        "bos_token_id": ids["bos"],
        "eos_token_id": ids["eos"],
        "pad_token_id": ids["pad"],
    }
    vision = {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": vision_layers,
        "num_attention_heads": heads,
        "image_size": image_size,
        "patch_size": patch,
        "projection_dim": projection,
    }
    return library.CLIPConfig(text_config=text, vision_config=vision, projection_dim=projection)


def text_embeddings(model: Any, ids: Tensor) -> Float[Tensor, "n projection"]:
    """Projected text embeddings, not normalised, from token ids."""
    return model.text_projection(model.text_model(input_ids=ids).pooler_output)


def image_embeddings(model: Any, images: Tensor) -> Float[Tensor, "n projection"]:
    """Projected image embeddings, not normalised, from images in [-1, 1]."""
    return model.visual_projection(model.vision_model(pixel_values=images).pooler_output)


def contrastive_loss(
    images: Float[Tensor, "n d"],
    texts: Float[Tensor, "n d"],
    wrong: Float[Tensor, "n d"],
    there: Bool[Tensor, " n"],
    true: Bool[Tensor, "n n"],
    scale: Float[Tensor, ""] | float,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The loss of this module, and the share of images whose own caption comes first among all candidates.

    Args:
        images: embeddings of n images.
        texts: of their captions.
        wrong: of altered captions.
        there: which altered captions count.
        true: [i, j] whether caption j is true of image i.
        scale: s.
    """
    i, t, w = (functional.normalize(x, dim=1) for x in (images, texts, wrong))
    own = torch.arange(len(i), device=i.device)
    others = true & ~torch.eye(len(i), dtype=torch.bool, device=i.device)
    scores = (scale * i @ t.T).masked_fill(others, -torch.inf)
    # an altered caption is wrong for its own image; of the others it could be true
    altered = (scale * (i * w).sum(1)).masked_fill(~there, -torch.inf)
    of_images = torch.cat([scores, altered[:, None]], 1)
    loss = 0.5 * (functional.cross_entropy(of_images, own) + functional.cross_entropy(scores.T, own))
    return loss, (of_images.detach().argmax(1) == own).float().mean()


class ContrastiveTask(Task):
    """A `CLIPModel` trained by `contrastive_loss`; what is kept is the average of its weights over the last steps.

    Args:
        config: of the model.
        steps: over which the rate falls.
        lr: highest learning rate.
        degraded: share of the images that are made worse.
    """

    def __init__(self, config: Any, *, steps: int, lr: float = 1e-3, degraded: float = 0.3):
        super().__init__()
        self.model = transformers().CLIPModel(config)
        self.average = EMA(self.model, steps=200)
        self.steps, self.lr, self.degraded = steps, lr, degraded

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """AdamW with CLIP's betas."""
        optimizer = adamw(self.model, lr=self.lr, weight_decay=0.1, betas=(0.9, 0.98), clip_norm=1.0)
        self.average.follow(self.model, optimizer)
        return {"main": optimizer}

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The loss, the share of captions found, and the scale."""
        set_rate(self.optimizers_["main"], cosine_rate(step, self.steps, 200))
        images, ids, wrong_ids, there, true = batch
        images = degrade(images, generator, self.degraded)
        both = text_embeddings(self.model, torch.cat([ids, wrong_ids]))
        scale = self.model.logit_scale.exp().clamp(max=HIGHEST_SCALE)
        texts, wrong = both.chunk(2)
        loss, found = contrastive_loss(image_embeddings(self.model, images), texts, wrong, there, true, scale)
        return {"loss": loss, "found": found, "scale": scale.detach()}


def as_saved(model: nn.Module) -> Any:
    """A copy in half precision for the disk."""
    return copy.deepcopy(model).half().eval()
