"""Losses that several systems share: plain functions of tensors."""

from unsnarl.objectives._attacks import fgsm, pgd
from unsnarl.objectives._club import CLUB
from unsnarl.objectives._gaussian_latents import (
    gaussian_kl,
    gaussian_log_density,
    gaussian_sample,
    kl_decomposition,
    permute_latents,
)
from unsnarl.objectives._hazard import hazard_nll, hazard_risk, hazard_survival
from unsnarl.objectives._margin import label_margin_loss
from unsnarl.objectives._orthogonality import orthogonality_loss
from unsnarl.objectives._quantization import commitment_loss, quantization_loss
from unsnarl.objectives._reconstruction import bernoulli_loss, gaussian_loss, psnr

__all__ = [
    "CLUB",
    "bernoulli_loss",
    "commitment_loss",
    "fgsm",
    "gaussian_kl",
    "gaussian_log_density",
    "gaussian_loss",
    "gaussian_sample",
    "hazard_nll",
    "hazard_risk",
    "hazard_survival",
    "kl_decomposition",
    "label_margin_loss",
    "orthogonality_loss",
    "permute_latents",
    "pgd",
    "psnr",
    "quantization_loss",
]
