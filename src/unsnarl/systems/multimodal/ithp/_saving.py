"""Saving and loading of learners that hold a text host: its architecture and tokenizer go along with the weights."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from torch import nn

from unsnarl.errors import FileError
from unsnarl.systems._learner import Learner


class HostedLearner(Learner):
    """A learner whose `host` is a text encoder by name, folder or module, or None."""

    host: Any
    tokenizer: Any
    tokenizer_: Any

    def _config(self) -> dict[str, Any]:
        params = {**self.get_params(deep=False)}
        if isinstance(self.host, nn.Module):
            params["host"] = getattr(self.host, "name", None) or type(self.host).__name__
        elif self.host is not None:
            params["host"] = os.fspath(self.host)
        params["tokenizer"] = None
        return dict(json.loads(json.dumps(params)))

    def _save_pretrained(self, save_directory: Path) -> None:
        if self.facts_["encoder"] is None and self.host is not None:
            raise FileError("a host that is not a model of transformers cannot be saved: its architecture has no name")
        super()._save_pretrained(save_directory)
        if self.host is not None:
            self.tokenizer_.save_pretrained(str(save_directory / "tokenizer"))

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> Any:
        if not os.path.isdir(model_id):
            from huggingface_hub import snapshot_download

            known = ("revision", "cache_dir", "force_download", "local_files_only", "token")
            model_id = snapshot_download(model_id, **{k: options.pop(k) for k in known if k in options})
        model = super()._from_pretrained(model_id=model_id, **options)
        if model.host is not None:
            import transformers

            model.tokenizer_ = transformers.AutoTokenizer.from_pretrained(
                str(Path(model_id) / "tokenizer"), local_files_only=True
            )
        return model
