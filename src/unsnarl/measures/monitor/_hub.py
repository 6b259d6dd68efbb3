"""Vision models by name, through transformers."""

from __future__ import annotations

import os
from typing import Any

from unsnarl.errors import FileError, MissingExtraError


def load_vision_model(name: str | os.PathLike[str]) -> tuple[Any, Any]:
    """An image classifier of the Hugging Face hub (or a folder of one) in evaluation mode, and its image processor.

    Args:
        name: such as "google/vit-base-patch16-224" or "microsoft/resnet-50", or a folder `save_pretrained` wrote.

    Returns:
        (model, processor); the processor turns images into `{"pixel_values": ...}`, and is None where the folder has none.

    Raises:
        MissingExtraError: transformers is not installed.
        FileError: there is no such model, it cannot be reached, or it is no image classifier.

    No code of the model's repository is run and only safetensors weights are loaded.
    """
    try:
        from transformers import AutoImageProcessor, AutoModelForImageClassification
    except ImportError:
        raise MissingExtraError("transformers", "language") from None
    shown = os.fspath(name)
    try:
        model = AutoModelForImageClassification.from_pretrained(shown, use_safetensors=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        why = str(error).strip().split("\n")[0]
        raise FileError(f"cannot load {shown!r} as an image classifier: {why}") from None
    try:
        processor = AutoImageProcessor.from_pretrained(shown, trust_remote_code=False)
    except (OSError, ValueError, ImportError):
        processor = None
    return model.eval(), processor
