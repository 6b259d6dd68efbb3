"""Saving and loading of learners that hold a text encoder: its architecture and tokenizer go along with the weights."""

from __future__ import annotations

import os
from contextvars import ContextVar
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from unsnarl.errors import FileError
from unsnarl.nn._host_architecture import encoder_from
from unsnarl.nn._text_host import TextHost
from unsnarl.systems._learner import Learner

_FOLDER: ContextVar[Path | None] = ContextVar("folder that is being loaded", default=None)


class HostedLearner(Learner):
    """A learner one of whose hyperparameters is a text encoder by name, folder or module, or None.

    The entry "encoder" of its facts is the encoder's architecture (see `architecture_of`).
    """

    encoder_keyword: ClassVar[str] = "host"
    tokenizer: Any

    def _tokenizer_in_use(self) -> Any:
        """The tokenizer of the fitted learner's encoder."""
        raise NotImplementedError

    def _config(self) -> dict[str, Any]:
        """The hyperparameters as JSON; of modules only the name, since the architecture is among the facts."""
        encoder = getattr(self, self.encoder_keyword)
        if isinstance(encoder, nn.Module):
            encoder = getattr(encoder, "name", None) or type(encoder).__name__
        elif encoder is not None:
            encoder = os.fspath(encoder)
        return {**super()._config(), "tokenizer": None, self.encoder_keyword: encoder}

    def _save_pretrained(self, save_directory: Path) -> None:
        hosted = getattr(self, self.encoder_keyword) is not None
        if hosted and self.facts_["encoder"] is None:
            raise FileError(
                "a text encoder that is not a model of transformers cannot be saved: its architecture has no name"
            )
        super()._save_pretrained(save_directory)
        if hosted:
            self._tokenizer_in_use().save_pretrained(str(save_directory / "tokenizer"))

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


def saved_host(facts: dict[str, Any]) -> TextHost | None:
    """The host of the model that is being loaded, with weights yet to come; None where it has none, or none is loaded."""
    folder = _FOLDER.get()
    if facts["encoder"] is None or folder is None:
        return None
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder / "tokenizer"), local_files_only=True)
    return TextHost(encoder_from(facts["encoder"]), tokenizer).eval()
