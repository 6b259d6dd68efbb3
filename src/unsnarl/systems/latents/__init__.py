"""Learners of latent codes: autoencoders, variational, biological, quantized, adversarial."""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.systems.latents._ae import AE as AE
    from unsnarl.systems.latents._beta_tcvae import BetaTCVAE as BetaTCVAE
    from unsnarl.systems.latents._bioae import BioAE as BioAE
    from unsnarl.systems.latents._factor_vae import FactorVAE as FactorVAE
    from unsnarl.systems.latents._infowgan import InfoWGANGP as InfoWGANGP
    from unsnarl.systems.latents._infowgan import QuantizedInfoWGANGP as QuantizedInfoWGANGP
    from unsnarl.systems.latents._learner import LatentLearner as LatentLearner
    from unsnarl.systems.latents._qlae import QLAE as QLAE
    from unsnarl.systems.latents._vae import VAE as VAE
    from unsnarl.systems.latents._vae import BetaVAE as BetaVAE
    from unsnarl.systems.latents._vqvae import VQVAE as VQVAE

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
