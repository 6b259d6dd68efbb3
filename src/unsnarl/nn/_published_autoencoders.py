"""Reading sparse autoencoders that others published: their tensors and settings in the terms of `SparseAutoencoder`.

What the packages compute is read from their documentation of the layouts; every setting that changes the codes is
either translated or refused by name, so that a file never loads into something that only looks like it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unsnarl.errors import CheckpointError, DataError, FileError

Settings = dict[str, Any]
Weights = dict[str, Tensor]

WEIGHTS = ("sae_weights.safetensors", "sae.safetensors", "model.safetensors")
CONFIGS = ("cfg.json", "config.json")
UNSAFE = (".pt", ".pth", ".bin", ".pkl", ".npz")

SAE_LENS = {"standard": "relu", "jumprelu": "jumprelu", "batchtopk": "jumprelu", "topk": "topk", "gated": "gated"}
NORMALISED = {None: "none", "none": "none", "layer_norm": "layer_norm", "constant_norm_rescale": "constant_norm"}


def read_folder(source: str | os.PathLike[str], subfolder: str) -> tuple[Weights, Settings]:
    """Tensors and settings of the autoencoder in a folder or hub repository."""
    folder = _folder(source, subfolder)
    config_path = next((folder / name for name in CONFIGS if (folder / name).is_file()), None)
    weights_path = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if config_path is None or weights_path is None:
        raise FileError(_nothing_there(folder, config_path))
    try:
        config = json.loads(config_path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        config = None
    if not isinstance(config, dict):
        raise CheckpointError(f"{config_path} is damaged: it holds no JSON object")
    tensors = _tensors(weights_path)
    try:
        return translate(tensors, config)
    except CheckpointError as error:
        raise CheckpointError(f"{weights_path}: {error}") from None
    except DataError as error:
        raise DataError(f"{config_path}: {error}") from None


def _folder(source: str | os.PathLike[str], subfolder: str) -> Path:
    where = Path(source)
    if not where.is_dir():
        name = os.fspath(source)
        if name.count("/") != 1 or name.startswith((".", "/", "~")):
            raise FileError(f"there is no folder {name}")
        from huggingface_hub import snapshot_download

        inside = f"{subfolder}/" if subfolder else ""
        try:
            patterns = [f"{inside}*.json", f"{inside}*.safetensors"]
            where = Path(snapshot_download(name, allow_patterns=patterns))
        except Exception as error:  # each release of the hub's client raises other kinds
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise FileError(
                f"{name} is neither a folder nor a repository on the hub that can be reached ({first})"
            ) from error
    if not (where / subfolder).is_dir():
        known = sorted(p.name for p in where.iterdir() if p.is_dir() and not p.name.startswith("."))
        raise FileError(f"{where} has no folder {subfolder}; it has {', '.join(known[:20]) or 'none'}")
    return where / subfolder


def _nothing_there(folder: Path, config: Path | None) -> str:
    names = sorted(p.name for p in folder.iterdir())
    unsafe = [name for name in names if name.endswith(UNSAFE)]
    if unsafe:
        return (
            f"{folder} holds {unsafe[0]}, which can run code when it is opened and is never loaded; convert its tensors "
            "to safetensors and use SparseAutoencoder.from_tensors"
        )
    folders = [name for name in names if (folder / name).is_dir()]
    if folders and config is None:
        return f"{folder} holds no autoencoder itself; name one of its folders as subfolder=: {', '.join(folders[:20])}"
    return f"{folder} holds no autoencoder: it needs {' or '.join(CONFIGS)}, and one of {', '.join(WEIGHTS)}"


def _tensors(path: Path) -> Weights:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return {name: tensor.float() for name, tensor in load_file(path).items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is truncated or no safetensors file ({str(error).splitlines()[0]})") from None


def translate(tensors: Weights, config: Settings) -> tuple[Weights, Settings]:
    """Tensors and settings of any known package, as `SparseAutoencoder` takes them."""
    names = set(tensors)
    if config.get("kind") == "SparseAutoencoder":
        found, settings = tensors, {name: value for name, value in config.items() if name != "kind"}
    elif {"W_enc", "W_dec", "b_dec"} <= names:
        found, settings = _sae_lens(tensors, config)
    elif {"encoder.weight", "encoder.bias", "W_dec", "b_dec"} <= names:
        found, settings = _sparsify(tensors, config)
    elif {"encoder.weight", "encoder.bias", "decoder.weight", "bias"} <= names:
        found, settings = _dictionary_learning(tensors, config)
    else:
        raise CheckpointError(f"tensors named {', '.join(sorted(names)) or 'nothing'} are of no known autoencoder")
    _check(found, settings)
    return {name: tensor.detach().float().contiguous() for name, tensor in found.items()}, settings


def _sae_lens(tensors: Weights, config: Settings) -> tuple[Weights, Settings]:
    architecture = config.get("architecture", "standard")
    activation = SAE_LENS.get(architecture)
    old = config.get("activation_fn_str") or config.get("activation_fn") or "relu"
    if activation == "relu" and old == "topk":
        activation = "topk"
    elif activation is None or old not in ("relu", "topk"):
        raise DataError(
            f"an autoencoder of architecture {architecture!r} with activation {old!r} cannot be read; known are "
            f"{', '.join(SAE_LENS)} with ReLU"
        )
    scaling = config.get("normalize_activations")
    if scaling not in NORMALISED:
        raise DataError(
            f"normalize_activations={scaling!r} cannot be read: its factor is not in the file; fold it into the weights "
            "first (SAELens: fold_activation_norm_scaling_factor)"
        )
    if config.get("reshape_activations", "none") not in ("none", "hook_z"):
        raise DataError(f"reshape_activations={config['reshape_activations']!r} cannot be read")
    encoder, decoder = tensors["W_enc"].T, tensors["W_dec"]
    bias = tensors.get("b_gate" if activation == "gated" else "b_enc", torch.zeros(len(decoder)))
    if config.get("rescale_acts_by_decoder_norm"):  # the k largest of a * |V|, decoded by V / |V|
        norm = decoder.norm(dim=1)
        encoder, bias, decoder = encoder * norm[:, None], bias * norm, decoder / norm[:, None]
    if config.get("finetuning_scaling_factor") and "scaling_factor" in tensors:
        decoder = decoder * tensors["scaling_factor"][:, None]
    found = {"weight": encoder, "bias": bias, "decoder": decoder, "decoder_bias": tensors["b_dec"]}
    if activation == "jumprelu":
        found["threshold"] = _needed(tensors, "threshold")
    if activation == "gated":
        found["log_scale"], found["magnitude_bias"] = _needed(tensors, "r_mag"), _needed(tensors, "b_mag")
    k = config.get("k") or (config.get("activation_fn_kwargs") or {}).get("k")
    return found, {
        "inputs": config.get("d_in", encoder.shape[1]),
        "features": config.get("d_sae", encoder.shape[0]),
        "tied": False,
        "activation": activation,
        "k": k if activation == "topk" else None,
        "subtract_bias": bool(config.get("apply_b_dec_to_input", True)),
        "normalize": NORMALISED[scaling],
    }


def _sparsify(tensors: Weights, config: Settings) -> tuple[Weights, Settings]:
    refused = {"transcode": False, "skip_connection": False, "signed": False, "activation": "topk"}
    for name, plain in refused.items():
        if config.get(name, plain) != plain:
            raise DataError(f"{name}={config[name]!r} cannot be read; only autoencoders with {name}={plain!r} can")
    encoder = tensors["encoder.weight"]
    names = {"bias": "encoder.bias", "decoder": "W_dec", "decoder_bias": "b_dec"}
    inputs = config.get("d_in", encoder.shape[1])
    return {"weight": encoder, **{ours: tensors[theirs] for ours, theirs in names.items()}}, {
        "inputs": inputs,
        "features": config.get("num_latents") or inputs * config.get("expansion_factor", 32),
        "tied": False,
        "activation": "topk",
        "k": config.get("k", 32),
        "subtract_bias": True,
    }


def _dictionary_learning(tensors: Weights, config: Settings) -> tuple[Weights, Settings]:
    kind = (config.get("trainer") or {}).get("dict_class", "AutoEncoder")
    if kind != "AutoEncoder":
        raise DataError(f"a dictionary of class {kind!r} cannot be read; only 'AutoEncoder' (ReLU) can")
    encoder = tensors["encoder.weight"]
    return {
        "weight": encoder,
        "bias": tensors["encoder.bias"],
        "decoder": tensors["decoder.weight"].T,
        "decoder_bias": tensors["bias"],
    }, {"inputs": encoder.shape[1], "features": encoder.shape[0], "tied": False, "subtract_bias": True}


def _needed(tensors: Weights, name: str) -> Tensor:
    if name not in tensors:
        raise CheckpointError(f"the tensor {name} is missing")
    return tensors[name]


def _check(tensors: Weights, settings: Settings) -> None:
    """The shapes that the settings announce, and finite numbers."""
    features, inputs = settings.get("features"), settings.get("inputs")
    if not isinstance(features, int) or not isinstance(inputs, int):
        raise CheckpointError("the configuration does not say how many inputs and features there are")
    wide = {"weight", "decoder"}
    expected = {"weight", "bias"} | (set() if settings.get("tied", True) else {"decoder", "decoder_bias"})
    expected |= {"jumprelu": {"threshold"}, "gated": {"log_scale", "magnitude_bias"}}.get(
        settings.get("activation", "relu"), set()
    )
    if set(tensors) != expected:
        raise CheckpointError(f"the tensors are {sorted(tensors)}, the configuration needs {sorted(expected)}")
    for name, tensor in tensors.items():
        shape = (features, inputs) if name in wide else (inputs,) if name == "decoder_bias" else (features,)
        if tuple(tensor.shape) != shape:
            raise CheckpointError(f"{name} has shape {tuple(tensor.shape)}, but the configuration asks for {shape}")
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{name} holds values that are not finite")
