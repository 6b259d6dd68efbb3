"""What an encoder of transformers is made from, as JSON, and an encoder made from it: for models that are saved with theirs."""

from __future__ import annotations

import json
from typing import Any

from torch import nn

from unsnarl.nn._text_host import TextHost


def architecture_of(host: TextHost | None) -> dict[str, Any] | None:
    """What an encoder of transformers is made from, as JSON; None for others."""
    config = getattr(host.model, "config", None) if host is not None else None
    if config is None or not hasattr(config, "to_json_string"):
        return None
    return dict(json.loads(config.to_json_string(use_diff=False)))


def encoder_from(values: dict[str, Any]) -> nn.Module:
    """An encoder of that architecture, its weights as they come."""
    import transformers

    config = transformers.AutoConfig.for_model(**values)
    encoder: nn.Module = transformers.AutoModel.from_config(config)
    return encoder
