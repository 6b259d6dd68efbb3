"""unsnarl: measure, learn, explain and edit disentangled representations.

The names below are all that most users need; each imports its module when first used.
"""

import os

from unsnarl.lazy import attach

# Two cores and OpenMP's spinning barriers do not go together: with any other busy process, steps take 7-15 times longer.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

_DATA = ("FactorDataset", "FactorTable", "Simulator", "SurvivalData", "load", "load_survival")
_MEASURES = (
    "Score",
    "Scores",
    "beta_vae_score",
    "classify_latents",
    "dci",
    "factor_vae_score",
    "infomec",
    "irs",
    "InformationPlane",
    "LossyMutualInformation",
    "RepresentationMonitor",
    "analyse_lm",
    "categorical_entropy",
    "effective_features",
    "epiplexity_from_scaling_law",
    "estimate_epiplexity",
    "information_surplus",
    "measure",
    "measure_superposition",
    "modularity_explicitness",
    "mutual_information_gap",
    "predictive_kernel",
    "prequential_bits",
    "prune",
    "pullback_metric",
    "representation_report",
    "sap",
)
_DIFFUSION = ("AttentionStore",)
_INFORMATION = ("diffusion_mi", "diffusion_spectral_entropy", "diffusion_spectral_mi", "knn_entropy")
_OBJECTIVES = ("CLUB", "hazard_nll")
_NN = ("GaussianPrototypes", "ProductOfExperts")
_MULTIMODAL = ("DLF", "ITHP", "ITHPRegressor", "LateFusionSurvival", "PIBD")
_PROTOTYPES = ("ProbPSENN", "ProtoPNet", "PrototypeExplainer", "explain_prototypes")
_DIFFUSION_SYSTEMS = ("DiffusionPID", "DisenBooth", "DreamBoothLoRA", "PIDResult")
_KNOWN = ("gaussian_pair", "image_pair")
_LATENTS = (
    "AE",
    "BetaTCVAE",
    "BetaVAE",
    "BioAE",
    "FactorVAE",
    "InfoWGANGP",
    "QLAE",
    "QuantizedInfoWGANGP",
    "VAE",
    "VQVAE",
)
_ERRORS = (
    "CheckpointError",
    "DataError",
    "FileError",
    "MissingExtraError",
    "NotFittedError",
    "OptionError",
    "TrainingError",
    "UnknownNameError",
    "UnsnarlError",
)

_ROOMS = (
    "catalog",
    "claims",
    "data",
    "diffusion",
    "information",
    "measures",
    "nn",
    "objectives",
    "report",
    "systems",
    "training",
    "zoo",
)

__getattr__, __dir__, __all__ = attach(
    __name__,
    dict.fromkeys(_DATA, ".data")
    | dict.fromkeys(_MEASURES, ".measures")
    | dict.fromkeys(_INFORMATION, ".information")
    | dict.fromkeys(_DIFFUSION, ".diffusion")
    | dict.fromkeys(_DIFFUSION_SYSTEMS, ".systems.diffusion")
    | dict.fromkeys(_KNOWN, ".data.known")
    | dict.fromkeys(_OBJECTIVES, ".objectives")
    | dict.fromkeys(_NN, ".nn")
    | dict.fromkeys(_MULTIMODAL, ".systems.multimodal")
    | dict.fromkeys(_PROTOTYPES, ".systems.prototypes")
    | dict.fromkeys(_LATENTS, ".systems.latents")
    | dict.fromkeys(_ERRORS, ".errors"),
    rooms=_ROOMS,
)
