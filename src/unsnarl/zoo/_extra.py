"""The libraries that the zoo's models belong to, imported when they are needed."""

from __future__ import annotations

from typing import Any

from unsnarl.errors import MissingExtraError


def transformers() -> Any:
    """The module `transformers`.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("transformers", "diffusion") from error
    return transformers


def diffusers() -> Any:
    """The module `diffusers`.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import diffusers
    except ImportError as error:
        raise MissingExtraError("diffusers", "diffusion") from error
    return diffusers
