"""Learners of latent codes: autoencoders, variational, biological, quantized, adversarial."""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.systems.latents._ae import AE as AE
    from unsnarl.systems.latents._qlae import QLAE as QLAE

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "AE": "._ae",
        "BetaTCVAE": "._beta_tcvae",
        "BetaVAE": "._vae",
        "BioAE": "._bioae",
        "FactorVAE": "._factor_vae",
        "InfoWGANGP": "._infowgan",
        "LatentLearner": "._learner",
        "QLAE": "._qlae",
        "QuantizedInfoWGANGP": "._infowgan",
        "VAE": "._vae",
        "VQVAE": "._vqvae",
    },
)
