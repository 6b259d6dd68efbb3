"""Layers and networks that several systems share."""

from unsnarl.nn._architecture import ARCHITECTURES, Architecture, find_architecture
from unsnarl.nn._conv import ConvDecoder, ConvEncoder, StyleBlock, StyleDecoder
from unsnarl.nn._dense import DenseDecoder, DenseEncoder, dense_stack
from unsnarl.nn._gpt import GPT, gpt_parameter_groups
from unsnarl.nn._noise import StochasticNet
from unsnarl.nn._quantize import Quantized, ScalarQuantizer, VectorQuantizer
from unsnarl.nn._recorder import ActivationRecorder, find_layers, record_activations
from unsnarl.nn._sparse_autoencoder import SparseAutoencoder

__all__ = [
    "ARCHITECTURES",
    "GPT",
    "ActivationRecorder",
    "Architecture",
    "ConvDecoder",
    "ConvEncoder",
    "DenseDecoder",
    "DenseEncoder",
    "Quantized",
    "ScalarQuantizer",
    "SparseAutoencoder",
    "StochasticNet",
    "StyleBlock",
    "StyleDecoder",
    "VectorQuantizer",
    "dense_stack",
    "find_architecture",
    "find_layers",
    "gpt_parameter_groups",
    "record_activations",
]
