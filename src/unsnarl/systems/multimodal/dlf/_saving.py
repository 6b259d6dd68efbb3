"""Saving and loading of learners whose text encoder learns too: its architecture and tokenizer go along with the weights."""

from __future__ import annotations

import os
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from torch import nn

from unsnarl.errors import FileError
from unsnarl.nn._host_architecture import architecture_of, encoder_from
from unsnarl.nn._text_host import TextHost
from unsnarl.systems._learner import Learner

_FOLDER: ContextVar[Path | None] = ContextVar("folder that is being loaded", default=None)


class EncodedLearner(Learner):
    """A learner whose `text_encoder` is a text encoder by name, folder or module, or None."""

    text_encoder: Any
    tokenizer: Any

    def _config(self) -> dict[str, Any]:
        """The hyperparameters as JSON; of modules only the name, since the architecture is among the facts."""
        given = {**super()._config(), "tokenizer": None}
        if isinstance(self.text_encoder, nn.Module):
            given["text_encoder"] = getattr(self.text_encoder, "name", None) or type(self.text_encoder).__name__
        elif self.text_encoder is not None:
            given["text_encoder"] = os.fspath(self.text_encoder)
        return given

    def _save_pretrained(self, save_directory: Path) -> None:
        encoder = self.task_.encoder
        if encoder is not None and self.facts_["encoder"] is None:
            raise FileError(
                "a text encoder that is not a model of transformers cannot be saved: its architecture has no name"
            )
        super()._save_pretrained(save_directory)
        if encoder is not None:
            encoder.host.tokenizer.save_pretrained(str(save_directory / "tokenizer"))

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> Any:
        if not os.path.isdir(model_id):
            from huggingface_hub import snapshot_download

            known = ("revision", "cache_dir", "force_download", "local_files_only", "token")
            model_id = snapshot_download(model_id, **{k: options.pop(k) for k in known if k in options})
        token = _FOLDER.set(Path(model_id))
        try:
            return super()._from_pretrained(model_id=model_id, **options)
        finally:
            _FOLDER.reset(token)


def named_architecture(host: nn.Module | None) -> dict[str, Any] | None:
    """What a host is made from, as JSON, where it is a model of transformers with a tokenizer."""
    return architecture_of(host) if isinstance(host, TextHost) else None


def saved_host(facts: dict[str, Any]) -> TextHost | None:
    """The host of the model that is being loaded, with weights yet to come; None where it has none."""
    folder = _FOLDER.get()
    if facts["encoder"] is None or folder is None:
        return None
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder / "tokenizer"), local_files_only=True)
    return TextHost(encoder_from(facts["encoder"]), tokenizer).eval()
