"""Hosts: text-to-image pipelines of diffusers, asked, watched and adapted in one way."""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.diffusion._conditions import Condition as Condition
    from unsnarl.diffusion._hosts import Host as Host
    from unsnarl.diffusion._loss import diffusion_loss as diffusion_loss
    from unsnarl.diffusion._pipelines import load_pipeline as load_pipeline

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Condition": "._conditions",
        "Host": "._hosts",
        "diffusion_loss": "._loss",
        "load_pipeline": "._pipelines",
    },
)
