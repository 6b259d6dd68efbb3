"""What every learner has: a task built from hyperparameters and facts, training, saving, loading, work in small parts."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from huggingface_hub import ModelHubMixin, hf_hub_download
from sklearn.base import BaseEstimator
from torch import Tensor

from unsnarl.errors import CheckpointError, FileError, NotFittedError, UnsnarlError
from unsnarl.files import atomic_write, json_values, reason
from unsnarl.training import Run, load_weights, read_tensors, stream_seed, train, write_json

Callback = Callable[[int, Any], None]


class Learner(ModelHubMixin, BaseEstimator):
    """A model with scikit-learn's conventions: keywords are hyperparameters, learned things end in an underscore.

    A subclass stores its hyperparameters in `__init__` and builds its task (networks, losses, optimisers) from them and
    from `facts` in `_make_task`. Facts are what the networks are sized by and what the data said: numbers of inputs,
    names of classes; they are written to config.json, so they must be JSON. Everything numeric that is learned, scalers
    and thresholds included, is a parameter or a buffer of the task, and so is saved with it.
    """

    seed: int
    task_: Any
    facts_: dict[str, Any]
    history_: pd.DataFrame

    def __new__(cls, *args: Any, **options: Any) -> Any:
        """Without the copy of the hyperparameters that `ModelHubMixin` would keep: `set_params` does not change it."""
        return object.__new__(cls)

    def _make_task(self, facts: dict[str, Any]) -> Any:
        raise NotImplementedError

    def _build(self, facts: dict[str, Any]) -> Any:
        """The task with its first weights, which depend on the seed alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream_seed(self.seed, 0))
            task = self._make_task(facts)
        return task.eval()

    # ---- learning -------------------------------------------------------------------------------------------------

    def _train(
        self,
        task: Any,
        facts: dict[str, Any],
        batches: Callable[[int], tuple[Tensor, ...]],
        *,
        steps: int,
        data: str = "",
        run: str | os.PathLike[str] | None = None,
        resume: bool = True,
        log_every: int = 100,
        checkpoint_every: int = 1000,
        progress: bool = False,
        callbacks: Sequence[Callback] = (),
        fabric: Any = None,
        label: str | None = None,
        seed: int | None = None,
        append: bool = False,
    ) -> Any:
        """Train a task and keep it as this learner's.

        Args:
            task: what `_build` gave; buffers that depend on the data are already filled.
            facts: kept as `facts_`.
            batches: step -> batch, a pure function of the step.
            steps: gradient steps.
            data: what tells this data from other data (see `fingerprint`); a run's folder accepts no other.
            run: folder for config, metrics and checkpoints; a run that was interrupted continues where it was.
            resume: False starts over in a folder that holds a run.
            log_every: log the losses every so many steps.
            checkpoint_every: write a checkpoint every so many steps.
            progress: show progress and the time left.
            callbacks: each is called as `callback(step, learner)` at step 0 and after every step.
            fabric: a launched `lightning.fabric.Fabric` for other devices, precisions or several processes.
            label: what the progress bar says; the class's name when absent.
            seed: seed of the noise; the learner's when absent.
            append: add the losses to those of an earlier stage, with the steps counted on.

        Returns:
            This learner.
        """
        folder = None
        if run is not None:
            config = {"system": type(self).__name__, **self._config(), "facts": facts, "data": data}
            config.pop("steps", None)
            folder = Run(run, config, resume=resume)
        self.task_, self.facts_ = task, facts
        history = pd.DataFrame(
            train(
                task,
                batches,
                steps=steps,
                seed=self.seed if seed is None else seed,
                run=folder,
                fabric=fabric,
                log_every=log_every,
                checkpoint_every=checkpoint_every,
                progress=progress,
                label=label or type(self).__name__,
                callbacks=[lambda step, call=call: call(step, self) for call in callbacks],  # type: ignore[misc]
            )
        )
        if append and len(getattr(self, "history_", ())) and len(history):
            history["step"] += int(self.history_["step"].iloc[-1])
            history = pd.concat([self.history_, history], ignore_index=True)
        self.history_ = history
        task.cpu().eval()
        if hasattr(task, "optimizers_"):
            del task.optimizers_  # moments would double what a copy or a pickle of the model weighs
        return self

    # ---- using ----------------------------------------------------------------------------------------------------

    def _in_parts(self, function: Callable[..., Any], *tensors: Tensor, rows: int = 256) -> Any:
        """A function of rows, a few at a time on the device of the networks, its tensors put together again.

        Args:
            function: takes one part of every tensor; gives a tensor, or a tuple or dict of them, rows first.
            tensors: with equally many rows.
            rows: how many at a time.
        """
        device = next((p.device for p in self.task_.parameters()), torch.device("cpu"))
        with torch.inference_mode():
            parts = [
                function(*(part.to(device) for part in split))
                for split in zip(*(t.split(rows) for t in tensors), strict=True)
            ]
        return _joined(parts)

    def _check_fitted(self) -> None:
        if not hasattr(self, "task_"):
            raise NotFittedError(f"this {type(self).__name__} has not learned anything yet; call fit first")

    # ---- saving ---------------------------------------------------------------------------------------------------

    def _config(self) -> dict[str, Any]:
        """The hyperparameters as JSON."""
        return {name: json_values(value) for name, value in self.get_params(deep=False).items()}

    @classmethod
    def _params_from_config(cls, params: dict[str, Any]) -> dict[str, Any]:
        """Hyperparameters from JSON, which has no tuples."""
        return {name: tuple(v) if isinstance(v, list) else v for name, v in params.items()}

    def save_pretrained(self, save_directory: str | os.PathLike[str], **options: Any) -> Any:
        """Write model.safetensors, config.json and a model card to a folder, from which `from_pretrained` loads.

        Args:
            save_directory: made if absent.
            options: those of `huggingface_hub.ModelHubMixin.save_pretrained`, such as `push_to_hub=True`.

        Raises:
            NotFittedError: before `fit`.
            FileError: the folder cannot be made, or the disk is full.
        """
        self._check_fitted()
        try:
            return super().save_pretrained(Path(save_directory), **options)
        except UnsnarlError:
            raise
        except OSError as error:
            raise FileError(f"cannot write {os.fspath(save_directory)}: {reason(error)}") from error

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **options: Any) -> Any:
        """A model from a folder that `save_pretrained` wrote, or from the Hugging Face Hub.

        Args:
            pretrained_model_name_or_path: a folder, or "owner/name" of a hub repository.
            options: `revision`, `token`, `cache_dir`, `force_download`, `local_files_only`.

        Raises:
            FileError: there is no such folder or repository.
            CheckpointError: damaged files, or a model of another class.
        """
        where = os.fspath(pretrained_model_name_or_path)
        try:
            return super().from_pretrained(where, **options)
        except UnsnarlError:
            raise
        except (OSError, ValueError, AttributeError) as error:  # the last when config.json holds no object
            if os.path.isdir(where):
                raise CheckpointError(f"{Path(where) / 'config.json'} is missing or damaged") from error
            raise FileError(
                f"{where} is neither a folder nor a model on the hub that can be reached "
                f"({str(error).strip().splitlines()[0]})"
            ) from error

    def _save_pretrained(self, save_directory: Path) -> None:
        from safetensors.torch import save

        state = {name: t.detach().contiguous() for name, t in self.task_.state_dict().items()}
        with atomic_write(save_directory / "model.safetensors", "wb") as file:
            file.write(save(state, metadata={"format": "pt"}))
        config: dict[str, Any] = {"system": type(self).__name__, "params": self._config(), "facts": self.facts_}
        if hasattr(self, "history_"):
            known = self.history_.astype(object).where(self.history_.notna(), None)
            config["history"] = {"columns": list(known), "rows": known.to_numpy().tolist()}
        write_json(save_directory / "config.json", config)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> Any:
        hub = ("revision", "cache_dir", "force_download", "local_files_only", "token")
        where = {name: options.pop(name) for name in hub if name in options}
        if os.path.isdir(model_id):
            paths = [Path(model_id) / name for name in ("config.json", "model.safetensors")]
        else:
            paths = [Path(hf_hub_download(model_id, name, **where)) for name in ("config.json", "model.safetensors")]
        try:
            config = json.loads(paths[0].read_text(encoding="utf-8"))
            system, params, facts = config["system"], dict(config["params"]), dict(config["facts"])
        except (OSError, ValueError, LookupError, TypeError):
            raise CheckpointError(f"{paths[0]} is missing, damaged or not from this library") from None
        if system != cls.__name__:
            raise CheckpointError(f"{model_id} holds a {system}, not a {cls.__name__}: use {system}.from_pretrained")
        try:
            model = cls(**cls._params_from_config(params))
        except TypeError as error:
            raise CheckpointError(f"{paths[0]} does not fit this version of {system}: {error}") from None
        model.facts_ = facts
        model.task_ = model._build(facts)
        tensors, _ = read_tensors(paths[1])
        load_weights(model.task_, tensors, paths[1])
        if "history" in config:
            model.history_ = pd.DataFrame(config["history"]["rows"], columns=config["history"]["columns"])
        return model


def fingerprint(*arrays: Any) -> str:
    """Tells data sets apart: of each array its shape, type and a hash of about a megabyte spread over it."""
    shown = []
    for array in arrays:
        values = array.detach().cpu().numpy() if isinstance(array, Tensor) else np.asarray(array)
        flat = values.reshape(len(values), -1) if values.ndim else values.reshape(1, 1)
        rows = flat[:: max(1, flat.size // 1_000_000)]
        digest = hashlib.sha256(np.ascontiguousarray(rows).tobytes()).hexdigest()[:12]
        shown.append(f"{tuple(values.shape)} {values.dtype} {digest}")
    return "; ".join(shown)


def _joined(parts: list[Any]) -> Any:
    first = parts[0]
    if isinstance(first, dict):
        return {name: _joined([part[name] for part in parts]) for name in first}
    if isinstance(first, tuple):
        return tuple(_joined(list(values)) for values in zip(*parts, strict=True))
    return torch.cat([part.cpu() for part in parts])
