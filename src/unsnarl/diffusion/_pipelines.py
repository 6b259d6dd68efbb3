"""A pipeline by whatever it is called: a model of the zoo, a name on the hub, a folder, or the object itself."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

from unsnarl.errors import FileError, OptionError
from unsnarl.zoo._extra import diffusers
from unsnarl.zoo._shelf import PREFIX, load


def load_pipeline(pipeline: Any) -> Any:
    """The diffusers pipeline of a name, in single precision; a pipeline is returned as it is.

    Args:
        pipeline: "zoo/sd-tiny-32" or another model of the zoo; a hub name such as "stable-diffusion-v1-5/stable-diffusion-v1-5",
            "stabilityai/stable-diffusion-2-1-base" or "stabilityai/stable-diffusion-3-medium-diffusers"; a folder that
            `save_pretrained` wrote; or a `DiffusionPipeline`.

    Raises:
        OptionError: neither text, nor path, nor pipeline.
        UnknownNameError: no such model in the zoo.
        FileError: no such folder, a hub that cannot be reached, or files that are no pipeline.
        MissingExtraError: diffusers is not installed.
    """
    library = diffusers()
    if isinstance(pipeline, library.DiffusionPipeline):
        return pipeline
    if not isinstance(pipeline, (str, os.PathLike)):
        raise OptionError(
            f"pipeline must be a diffusers pipeline, the name of one or a folder, got {type(pipeline).__name__}"
        )
    name = os.fspath(pipeline)
    if name.startswith(PREFIX):
        return load(name)
    folder = Path(name)
    if folder.is_dir() and not (folder / "model_index.json").is_file():
        raise FileError(
            f"{name} has no model_index.json; a folder must be one that save_pretrained of a pipeline wrote"
        )
    try:
        found = library.DiffusionPipeline.from_pretrained(name, dtype=torch.float32, **_absent(folder))
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise FileError(
            f"{name!r} is neither a folder here nor a pipeline that the hub gives: {first.rstrip('.')}"
        ) from error
    found.set_progress_bar_config(disable=True)
    return found


def _absent(folder: Path) -> dict[str, None]:
    """The parts that a pipeline was saved without, which diffusers wants to be told when they are not optional."""
    try:
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # a name on the hub, or a damaged file, which diffusers reports
    return {name: None for name, value in index.items() if value == [None, None]}
