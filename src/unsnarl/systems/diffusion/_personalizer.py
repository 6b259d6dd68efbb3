"""What DreamBooth-LoRA and DisenBooth share: a host with LoRA, learned from a few photos of a subject and asked by prompts."""

from __future__ import annotations

import inspect
import json
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from unsnarl.arrays import check_range
from unsnarl.diffusion._conditions import Condition
from unsnarl.diffusion._hosts import Host
from unsnarl.diffusion._lora import Lora
from unsnarl.diffusion._photos import load_photos
from unsnarl.diffusion._prior import PriorCache
from unsnarl.errors import CheckpointError, FileError, NotFittedError, OptionError
from unsnarl.files import json_values, reason
from unsnarl.systems._learner import fingerprint
from unsnarl.systems.diffusion._personal_task import PersonalTask, PhotoBatches
from unsnarl.training import Run, stream_seed, train, write_json
from unsnarl.zoo._recipe import SHELF
from unsnarl.zoo._shelf import PREFIX

ENCODED_AT_ONCE = 8
Callback = Callable[[int, Any], None]
_NOT_TAKEN = (
    *("generator", "num_images_per_prompt", "output_type", "prompts", "conditions", "negative_conditions"),
    *("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds"),
)
_DIFFUSERS_NAMES = {"num_inference_steps": "steps", "guidance_scale": "guidance", "negative_prompt": "negative"}


class Personalizer:
    """A host that learns one subject by LoRA; its subclasses say by which losses, and how it is asked.

    A subclass stores its hyperparameters in `__init__`, each under its own name. The host's denoiser holds the LoRA from `fit`
    (or `load`) on until `remove()`. Everything else of the host stays as it is.
    """

    base: Any
    rank: int
    alpha: float | None
    lr: float
    betas: tuple[float, float]
    weight_decay: float
    clip_norm: float
    batch_size: int
    identifier: str
    flips: bool
    prior_weight: float
    prior_images: int
    one_pass: bool
    seed: int
    _objects: ClassVar[tuple[str, ...]] = ("base",)  # hyperparameters that may be objects, which no file can hold

    lora_: Lora
    subject_prompt_: str
    history_: pd.DataFrame

    # ---- what subclasses say --------------------------------------------------------------------------------------

    def _prepare(self, photos: Tensor) -> tuple[Tensor, ...]:
        """What a batch holds beside the latents, one row a photo; called before LoRA is attached."""
        return ()

    def _make_task(self, lora: Lora, prior: Any) -> PersonalTask:
        raise NotImplementedError

    # ---- the host -------------------------------------------------------------------------------------------------

    @property
    def host(self) -> Host:
        """The host, loaded on first use."""
        if not hasattr(self, "_host"):
            self._host = Host(self.base)
        return self._host

    def _check(self) -> None:
        check_range(self.rank, "rank", low=1, integer=True)
        check_range(self.batch_size, "batch_size", low=1, integer=True)
        check_range(self.lr, "lr", low=0, open_low=True)
        for name in ("weight_decay", "prior_weight"):
            check_range(getattr(self, name), name, low=0)
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise OptionError(f"betas={self.betas} must be two numbers from 0 to below 1")
        check_range(self.clip_norm, "clip_norm", low=0, open_low=True)
        if not isinstance(self.identifier, str) or not self.identifier.strip():
            raise OptionError(f"identifier={self.identifier!r} must be a word")

    def remove(self) -> Personalizer:
        """Take the LoRA off the host, which is then as it was before `fit`; what was learned is lost unless saved."""
        if hasattr(self, "lora_"):
            self.lora_.remove()
            del self.lora_
        return self

    def _check_fitted(self) -> None:
        if not hasattr(self, "lora_"):
            raise NotFittedError(f"this {type(self).__name__} has not learned a subject; call fit or load first")

    def class_prompt(self, subject_prompt: str) -> str:
        """A prompt without the identifier: what the subject is one of.

        Examples:
            `class_prompt("a photo of a sks dog")` is "a photo of a dog".
        """
        return " ".join(f" {subject_prompt} ".replace(f" {self.identifier} ", " ").split())

    def _names_subject(self, prompt: str) -> bool:
        words = " ".join(word.strip(".,;:!?\"'()") for word in prompt.split())
        return f" {self.identifier} " in f" {words} " or f" {self.identifier} " in f" {prompt} "

    # ---- learning -------------------------------------------------------------------------------------------------

    def _fit(
        self,
        images: Any,
        subject_prompt: str,
        *,
        steps: int,
        prior: Any,
        class_prompt: str | None,
        run: str | os.PathLike[str] | None,
        resume: bool,
        log_every: int,
        checkpoint_every: int,
        progress: bool,
        callbacks: Sequence[Callback],
        fabric: Any,
    ) -> Any:
        self._check()
        check_range(steps, "steps", low=1, integer=True)
        if not isinstance(subject_prompt, str) or not subject_prompt.strip():
            raise OptionError(f"subject_prompt={subject_prompt!r} must be a text such as 'a {self.identifier} dog'")
        if not self._names_subject(subject_prompt):
            warnings.warn(
                f"subject_prompt={subject_prompt!r} lacks the identifier {self.identifier!r}: every image of the class would be "
                "learned to look like the subject; write it before the class word, or name your own as identifier=",
                UserWarning,
                stacklevel=3,
            )
        self.remove()
        host = self.host
        if fabric is not None:
            host.pipeline.to(fabric.device)
        photos = load_photos(images, host.image_size, flips=self.flips)
        self._check_photos(photos)
        beside = self._prepare(photos)
        said = class_prompt or getattr(prior, "prompt", None) or self.class_prompt(subject_prompt)
        kept = self._prior(prior, said, run)
        latents = _encoded(host, photos)
        self.subject_prompt_ = subject_prompt
        folder = None
        if run is not None:
            first = [p.detach().flatten()[:1000] for p in list(host.denoiser.parameters())[:4]]
            data = fingerprint(*(t.float() for t in (photos, *beside, *first, *(() if kept is None else kept[:1]))))
            config = {"system": type(self).__name__, **self._config(), "subject_prompt": subject_prompt, "data": data}
            folder = Run(run, config, resume=resume)
        batches = PhotoBatches(latents, *beside, batch_size=self.batch_size, seed=self.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream_seed(self.seed, 0))
            self.lora_ = Lora(host, rank=self.rank, alpha=self.alpha, name=type(self).__name__.lower())
            try:
                self.task_ = self._make_task(self.lora_, kept)
            except BaseException:
                self.remove()
                raise
        try:
            self.task_.to(host.device)
            rows = train(
                self.task_,
                batches,
                steps=steps,
                seed=self.seed,
                run=folder,
                fabric=fabric,
                log_every=log_every,
                checkpoint_every=checkpoint_every,
                progress=progress,
                label=type(self).__name__,
                callbacks=[lambda step, call=call: call(step, self) for call in callbacks],  # type: ignore[misc]
            )
        except BaseException:
            self.remove()  # the host is no half-trained one
            raise
        self.history_ = pd.DataFrame(rows)
        del self.task_.optimizers_
        return self

    def _check_photos(self, photos: Tensor) -> None:
        """Warn of what cannot be learned from these photos."""

    def _prior(
        self, prior: Any, class_prompt: str, run: str | os.PathLike[str] | None
    ) -> tuple[Tensor, Condition] | None:
        if self.prior_weight == 0:
            if prior is not None:
                warnings.warn("prior is given but prior_weight=0: it is not used", UserWarning, stacklevel=4)
            return None
        if prior is None:
            kept = None if run is None else Path(run) / "prior"  # so that a run that goes on finds them
            prior = PriorCache(self.host, class_prompt, self.prior_images, seed=self.seed, folder=kept)
        if isinstance(prior, PriorCache):
            latents = prior.latents()
        else:
            latents = _encoded(self.host, load_photos(prior, self.host.image_size))
        return latents, self.host.encode_texts([class_prompt])

    # ---- asking ---------------------------------------------------------------------------------------------------

    def _conditions(self, prompts: Sequence[str]) -> Condition:
        """Texts as the host reads them, each text encoded once."""
        distinct = list(dict.fromkeys(prompts))
        rows = torch.tensor([distinct.index(prompt) for prompt in prompts])
        return self.host.encode_texts(distinct)[rows]

    def _sample(self, seeds: Sequence[int], output: str, options: dict[str, Any]) -> Any:
        """Images by `Host.generate`, as a tensor in [-1, 1] or as PIL images; names that pipelines use are understood."""
        if output not in ("pt", "pil"):
            raise OptionError(f"output={output!r} is not allowed; choose one of 'pt', 'pil'")
        images = self.host.generate(seeds=seeds, **options)
        if output == "pt":
            return images
        from PIL import Image

        bytes_ = ((images + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        return [Image.fromarray(one) for one in bytes_]

    @staticmethod
    def _named(defaults: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
        named = {_DIFFUSERS_NAMES.get(name, name): value for name, value in given.items()}
        for name in _NOT_TAKEN:
            if name in named:
                raise OptionError(
                    f"{name} is not taken here; give prompt, negative=, seeds=, one an image, and output="
                )
        named = defaults | named
        if named.get("negative", "") is None:
            named["negative"] = ""
        if not isinstance(named.get("negative", ""), str):
            raise OptionError(f"negative={named['negative']!r} must be one text for all images")
        return named

    # ---- saving ---------------------------------------------------------------------------------------------------

    def _config(self) -> dict[str, Any]:
        """The hyperparameters as JSON; of objects only the name they were loaded by, if any."""
        out = {}
        for name in inspect.signature(type(self).__init__).parameters:
            if name == "self":
                continue
            value = self._object(name) if name in self._objects else getattr(self, name)
            if name in self._objects and not isinstance(value, (str, os.PathLike)):
                value = _name_of(value)
            out[name] = json_values(os.fspath(value) if isinstance(value, os.PathLike) else value)
        return out

    def _object(self, name: str) -> Any:
        return getattr(self, name)

    def _facts(self) -> dict[str, Any]:
        return {"subject_prompt": self.subject_prompt_}

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write what was learned: LoRA in the format of diffusers, config.json, and what else the system needs.

        `pipeline.load_lora_weights(folder)` of plain diffusers reads the LoRA.

        Returns:
            The folder.

        Raises:
            NotFittedError: nothing was learned.
            FileError: the folder cannot be written.
        """
        self._check_fitted()
        where = Path(folder)
        if (where / "checkpoint").is_dir():
            raise FileError(f"{where} is the folder of a run, which needs its own config.json; save into another one")
        try:
            where.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"cannot make the folder {where}: {reason(error)}") from None
        self.lora_.save(where)
        self._save_more(where)
        params, facts = self._config(), json_values(self._facts())
        write_json(where / "config.json", {"system": type(self).__name__, "params": params, "facts": facts})
        return where

    def _save_more(self, folder: Path) -> None: ...

    def _load_more(self, folder: Path, facts: dict[str, Any]) -> None: ...

    @classmethod
    def load(cls, folder: str | os.PathLike[str], **objects: Any) -> Any:
        """What `save` wrote, attached to its host.

        Args:
            folder: that was written.
            objects: `base=` (and for DisenBooth `image_encoder=`) in place of the one that was saved by name. Needed where it was
                an object without a name.

        Raises:
            CheckpointError: files are missing, damaged, or of another system.
            OptionError: the base has no name and was not given.
        """
        where = Path(folder)
        try:
            config = json.loads((where / "config.json").read_text(encoding="utf-8"))
            system, params, facts = config["system"], dict(config["params"]), dict(config["facts"])
            prompt = facts["subject_prompt"]
        except (OSError, ValueError, LookupError, TypeError):
            raise CheckpointError(f"{where / 'config.json'} is missing, damaged or not from this library") from None
        if system != cls.__name__:
            raise CheckpointError(f"{where} holds a {system}, not a {cls.__name__}: use {system}.load")
        for name in objects:
            if name not in cls._objects:
                raise OptionError(f"load takes {', '.join(cls._objects)} beside the folder, got {name}")
        for name in cls._objects:
            params[name] = objects.get(name, params.get(name))
            if params[name] is None:
                raise OptionError(f"{where} does not say which {name} it was learned on; give it as {name}=")
        try:
            model = cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in params.items()})
        except TypeError as error:
            raise CheckpointError(f"{where / 'config.json'} does not fit this version of {system}: {error}") from None
        model.subject_prompt_ = prompt
        model.lora_ = Lora(model.host, rank=model.rank, alpha=model.alpha, name=cls.__name__.lower())
        try:
            model.lora_.read(where)
            model._load_more(where, facts)
        except BaseException:
            model.remove()
            raise
        return model


def _encoded(host: Host, images: Tensor) -> Tensor:
    """Images as latents, a few at a time: an autoencoder takes far more memory than what comes out of it."""
    return torch.cat([host.encode_images(part) for part in images.split(ENCODED_AT_ONCE)])


def _name_of(value: Any) -> str | None:
    """The name that an object of diffusers or transformers was loaded by; "zoo/..." wherever the package lies."""
    given = getattr(value, "name", None)
    if isinstance(given, str):  # of an ImageEncoder
        return given
    value = getattr(value, "pipeline", getattr(value, "model", value))
    name = getattr(getattr(value, "config", None), "_name_or_path", None) or getattr(value, "name_or_path", None)
    if not name:
        return None
    return PREFIX + Path(name).name if Path(name).parent == SHELF else str(name)


def sampled_prompts(
    prompt: str | Sequence[str], seeds: int | np.integer | Sequence[int] | np.ndarray
) -> tuple[list[str], list[int]]:
    """One prompt and one seed an image; a single one of either stands for all.

    Examples:
        >>> sampled_prompts("a sks cat", [0, 1])
        (['a sks cat', 'a sks cat'], [0, 1])
    """
    texts = [prompt] if isinstance(prompt, str) else list(prompt)
    numbers = [int(seed) for seed in np.atleast_1d(seeds)]
    if not texts or not numbers:
        raise OptionError("give at least one prompt and one seed")
    if len(texts) == 1:
        texts = texts * len(numbers)
    elif len(numbers) == 1:
        numbers = numbers * len(texts)
    if len(texts) != len(numbers):
        raise OptionError(f"there are {len(texts)} prompts and {len(numbers)} seeds; give one seed an image")
    return texts, numbers
