"""Hosts: text-to-image pipelines of diffusers, asked, watched and adapted in one way."""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.diffusion._attention import AttentionLayer as AttentionLayer
    from unsnarl.diffusion._attention import AttentionStore as AttentionStore
    from unsnarl.diffusion._attention import daam as daam
    from unsnarl.diffusion._conditions import Condition as Condition
    from unsnarl.diffusion._hosts import Host as Host
    from unsnarl.diffusion._image_encoder import ImageEncoder as ImageEncoder
    from unsnarl.diffusion._image_prompt import ImagePrompt as ImagePrompt
    from unsnarl.diffusion._lora import Lora as Lora
    from unsnarl.diffusion._loss import diffusion_loss as diffusion_loss
    from unsnarl.diffusion._photos import load_photos as load_photos
    from unsnarl.diffusion._pipelines import load_pipeline as load_pipeline
    from unsnarl.diffusion._prior import PriorCache as PriorCache
    from unsnarl.diffusion._pseudo_tokens import PseudoTokens as PseudoTokens
    from unsnarl.diffusion._words import token_positions as token_positions

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "AttentionLayer": "._attention",
        "AttentionStore": "._attention",
        "Condition": "._conditions",
        "Host": "._hosts",
        "ImageEncoder": "._image_encoder",
        "ImagePrompt": "._image_prompt",
        "Lora": "._lora",
        "PriorCache": "._prior",
        "PseudoTokens": "._pseudo_tokens",
        "daam": "._attention",
        "diffusion_loss": "._loss",
        "load_photos": "._photos",
        "load_pipeline": "._pipelines",
        "token_positions": "._words",
    },
)
