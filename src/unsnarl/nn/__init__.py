"""Layers and networks that several systems share."""

from unsnarl.nn._architecture import ARCHITECTURES, Architecture, find_architecture
from unsnarl.nn._conv import ConvDecoder, ConvEncoder, StyleBlock, StyleDecoder
from unsnarl.nn._dense import DenseDecoder, DenseEncoder, dense_stack
from unsnarl.nn._quantize import Quantized, ScalarQuantizer, VectorQuantizer
from unsnarl.nn._recorder import ActivationRecorder, find_layers, record_activations

__all__ = [
    "ARCHITECTURES",
    "ActivationRecorder",
    "Architecture",
    "ConvDecoder",
    "ConvEncoder",
    "DenseDecoder",
    "DenseEncoder",
    "Quantized",
    "ScalarQuantizer",
    "StyleBlock",
    "StyleDecoder",
    "VectorQuantizer",
    "dense_stack",
    "find_architecture",
    "find_layers",
    "record_activations",
]
