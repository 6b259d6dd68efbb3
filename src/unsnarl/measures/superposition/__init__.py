"""How many features a layer encodes, and how many share one neuron (Bereska et al. 2025, arXiv 2512.13568).

`measure_superposition` for a layer of any network, `measure_activations` for a matrix; `feature_growth` for language models
with published autoencoders; studies of adversarial training and dropout; toy models in which the number is known.
"""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.measures.superposition._adversarial_study import (
        AdversarialSuperpositionStudy as AdversarialSuperpositionStudy,
    )
    from unsnarl.measures.superposition._baselines import superposition_baselines as superposition_baselines
    from unsnarl.measures.superposition._classifiers import DigitCNN as DigitCNN
    from unsnarl.measures.superposition._classifiers import DigitMLP as DigitMLP
    from unsnarl.measures.superposition._classifiers import ResNet18 as ResNet18
    from unsnarl.measures.superposition._dropout_study import ParityNetwork as ParityNetwork
    from unsnarl.measures.superposition._dropout_study import count_parity_features as count_parity_features
    from unsnarl.measures.superposition._dropout_study import dropout_study as dropout_study
    from unsnarl.measures.superposition._dropout_study import parity_superposition as parity_superposition
    from unsnarl.measures.superposition._effective_features import effective_features as effective_features
    from unsnarl.measures.superposition._language_models import FeatureGrowth as FeatureGrowth
    from unsnarl.measures.superposition._language_models import feature_growth as feature_growth
    from unsnarl.measures.superposition._language_models import fit_plateau as fit_plateau
    from unsnarl.measures.superposition._language_models import token_batches as token_batches
    from unsnarl.measures.superposition._language_models import transformer_sites as transformer_sites
    from unsnarl.measures.superposition._layer_activations import LayerActivations as LayerActivations
    from unsnarl.measures.superposition._layer_activations import record_layer as record_layer
    from unsnarl.measures.superposition._measure_superposition import encode_layer as encode_layer
    from unsnarl.measures.superposition._measure_superposition import measure_activations as measure_activations
    from unsnarl.measures.superposition._measure_superposition import measure_superposition as measure_superposition
    from unsnarl.measures.superposition._measure_superposition import sweep_dictionary_size as sweep_dictionary_size
    from unsnarl.measures.superposition._result import SuperpositionResult as SuperpositionResult
    from unsnarl.measures.superposition._toy_models import ToyModel as ToyModel
    from unsnarl.measures.superposition._toy_models import train_toy_models as train_toy_models
    from unsnarl.measures.superposition._train_autoencoders import TrainedAutoencoder as TrainedAutoencoder
    from unsnarl.measures.superposition._train_autoencoders import train_autoencoder as train_autoencoder
    from unsnarl.measures.superposition._train_autoencoders import train_autoencoders as train_autoencoders

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "AdversarialSuperpositionStudy": "._adversarial_study",
        "DigitCNN": "._classifiers",
        "DigitMLP": "._classifiers",
        "FeatureGrowth": "._language_models",
        "LayerActivations": "._layer_activations",
        "ParityNetwork": "._dropout_study",
        "ResNet18": "._classifiers",
        "SuperpositionResult": "._result",
        "ToyModel": "._toy_models",
        "TrainedAutoencoder": "._train_autoencoders",
        "count_parity_features": "._dropout_study",
        "dropout_study": "._dropout_study",
        "effective_features": "._effective_features",
        "encode_layer": "._measure_superposition",
        "feature_growth": "._language_models",
        "fit_plateau": "._language_models",
        "measure_activations": "._measure_superposition",
        "measure_superposition": "._measure_superposition",
        "parity_superposition": "._dropout_study",
        "record_layer": "._layer_activations",
        "superposition_baselines": "._baselines",
        "sweep_dictionary_size": "._measure_superposition",
        "token_batches": "._language_models",
        "train_autoencoder": "._train_autoencoders",
        "train_autoencoders": "._train_autoencoders",
        "train_toy_models": "._toy_models",
        "transformer_sites": "._language_models",
    },
)
