"""Layers and networks that several systems share."""

from unsnarl.nn._architecture import ARCHITECTURES, Architecture, find_architecture
from unsnarl.nn._conv import ConvDecoder, ConvEncoder, StyleBlock, StyleDecoder
from unsnarl.nn._crossmodal import CrossmodalEncoder
from unsnarl.nn._dense import DenseDecoder, DenseEncoder, dense_stack
from unsnarl.nn._gated_attention import GatedAttention
from unsnarl.nn._gpt import GPT, gpt_parameter_groups
from unsnarl.nn._noise import StochasticNet
from unsnarl.nn._product_of_experts import ProductOfExperts
from unsnarl.nn._quantize import Quantized, ScalarQuantizer, VectorQuantizer
from unsnarl.nn._recorder import ActivationRecorder, find_layers, record_activations
from unsnarl.nn._self_normalizing import PathwayEncoder, self_normalizing_block
from unsnarl.nn._sparse_autoencoder import SparseAutoencoder
from unsnarl.nn._text_host import TextHost, text_host
from unsnarl.nn._word_pieces import WordPieces, word_pieces
from unsnarl.nn.prototypes import GaussianPrototypes, PointPrototypes

__all__ = [
    "ARCHITECTURES",
    "GPT",
    "ActivationRecorder",
    "Architecture",
    "ConvDecoder",
    "ConvEncoder",
    "CrossmodalEncoder",
    "DenseDecoder",
    "DenseEncoder",
    "GatedAttention",
    "GaussianPrototypes",
    "PathwayEncoder",
    "PointPrototypes",
    "ProductOfExperts",
    "Quantized",
    "ScalarQuantizer",
    "SparseAutoencoder",
    "StochasticNet",
    "StyleBlock",
    "StyleDecoder",
    "TextHost",
    "VectorQuantizer",
    "WordPieces",
    "dense_stack",
    "find_architecture",
    "find_layers",
    "gpt_parameter_groups",
    "record_activations",
    "self_normalizing_block",
    "text_host",
    "word_pieces",
]
