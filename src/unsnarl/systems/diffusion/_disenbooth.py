"""DisenBooth: the identity of a subject in the text, all else of a photo in one visual vector beside it.

Chen et al., "DisenBooth: Identity-Preserving Disentangled Tuning for Subject-Driven Text-to-Image Generation", ICLR 2024,
arXiv 2305.03374. While a denoiser learns a few photos of a subject by LoRA, it is told each photo by the sum of two embeddings: f_s
of the prompt "a V* class", the same for all photos, and f_i, made of the photo by a frozen CLIP and a small adapter
(`IrrelevantAdapter`), which is added to every token. What differs between photos can only come by f_i. With one noise e and one time
t a photo, shared by both passes of the denoiser:

    L_1 = |e - e_theta(z_t, t, f_s + f_i)|^2          reconstruction
    L_2 = |e - e_theta(z_t, t, f_s)|^2                weak denoising: the text alone must nearly do, so that it keeps the subject
    L_3 = cos(mean over tokens of f_s, f_i)           the two embeddings should say different things; -1 is allowed
    L   = L_1 + 0.01 L_2 + 0.001 L_3.

Hosts that predict something else than the noise are asked for that in its place.

Asked with w_text f_s(prompt) + w_img f_i(photo), the host then shows the subject elsewhere (1, 0), what else is in a photo (0, 1, with
an empty prompt), or another subject in the surroundings of a photo (1, 1).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unsnarl.arrays import check_range
from unsnarl.diffusion._conditions import Condition
from unsnarl.diffusion._image_encoder import FITTING, ImageEncoder, fitting_encoder
from unsnarl.diffusion._lora import Lora
from unsnarl.diffusion._photos import load_photos
from unsnarl.errors import DataError, FileError, OptionError
from unsnarl.files import atomic_write
from unsnarl.systems.diffusion._disenbooth_task import DisenBoothTask, likeness, told_with
from unsnarl.systems.diffusion._irrelevant import IrrelevantAdapter
from unsnarl.systems.diffusion._personal_task import PersonalTask
from unsnarl.systems.diffusion._personalizer import Callback, Personalizer, sampled_prompts
from unsnarl.training import load_weights, read_tensors

ADAPTER = "adapter.safetensors"


class DisenBooth(Personalizer):
    """A subject learned from a few photos apart from what else they show.

    Args:
        base: a pipeline, a name ("stabilityai/stable-diffusion-2-1-base", "stable-diffusion-v1-5/stable-diffusion-v1-5",
            "zoo/sd-tiny-32"), a folder, or a `Host`. A pipeline that is given is adapted in place.
        image_encoder: a CLIP whose projected embedding is as wide as the text's vectors, or what else `ImageEncoder` takes. When absent,
            the one that fits the host's texts: "laion/CLIP-ViT-H-14-laion2B-s32B-b79K" (1024) for Stable Diffusion 2,
            "openai/clip-vit-large-patch14" (768) for 1, "zoo/clip-tiny" (128) for the zoo.
        rank: of the LoRA.
        alpha: its scale times the rank; the rank when absent.
        weak_weight: lambda_2.
        contrast_weight: lambda_3.
        mask: False leaves the mask m out.
        map_width: learn a linear map from the embedding to the text's width instead of refusing another width.
        official_preprocessing: train, as the authors' code does, on embeddings of pixels in [-1, 1] without CLIP's mean and
            deviation, though references are later seen with them. Off, both see the same.
        lr: of AdamW, constant, for LoRA and adapter.
        betas: of AdamW.
        weight_decay: of AdamW.
        clip_norm: of the gradient of the LoRA; that of the adapter is not clipped.
        batch_size: photos a step.
        identifier: the rare word that the subject's prompt must hold.
        flips: learn from mirror images as well.
        prior_weight: of prior preservation; the paper uses none.
        prior_images: how many images of the class are made for it, where none are given.
        one_pass: both passes of the denoiser as one with twice the rows: the same numbers, sooner.
        seed: of the first weights, the noise and the order of photos.

    Attributes:
        lora_: the LoRA on the host.
        adapter_: the adapter.
        photo_embeddings_: CLIP's embeddings of the photos, so that `reference=0` means the first of them.
        cosine_: mean over the photos of the cosine of f_s and f_i. Near -1 f_i is the opposite of the subject, and a large
            `image_weight` then takes the subject away from what another prompt asks for.
        history_: the losses.
    """

    _objects: ClassVar[tuple[str, ...]] = ("base", "image_encoder")
    adapter_: IrrelevantAdapter
    photo_embeddings_: Tensor
    cosine_: float

    def __init__(
        self,
        base: Any = "stabilityai/stable-diffusion-2-1-base",
        image_encoder: Any = None,
        rank: int = 4,
        *,
        alpha: float | None = None,
        weak_weight: float = 0.01,
        contrast_weight: float = 0.001,
        mask: bool = True,
        map_width: bool = False,
        official_preprocessing: bool = False,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 1e-2,
        clip_norm: float = 1.0,
        batch_size: int = 1,
        identifier: str = "sks",
        flips: bool = False,
        prior_weight: float = 0.0,
        prior_images: int = 100,
        one_pass: bool = True,
        seed: int = 0,
    ):
        self.base, self.image_encoder, self.rank, self.alpha = base, image_encoder, rank, alpha
        self.weak_weight, self.contrast_weight, self.mask, self.map_width = (
            weak_weight,
            contrast_weight,
            mask,
            map_width,
        )
        self.official_preprocessing = official_preprocessing
        self.lr, self.betas, self.weight_decay, self.clip_norm = lr, betas, weight_decay, clip_norm
        self.batch_size, self.identifier, self.flips, self.one_pass = batch_size, identifier, flips, one_pass
        self.prior_weight, self.prior_images, self.seed = prior_weight, prior_images, seed

    @property
    def encoder(self) -> ImageEncoder:
        """The image encoder, loaded on first use."""
        if not hasattr(self, "_encoder"):
            self._encoder = ImageEncoder(self._object("image_encoder"))
        return self._encoder

    def _object(self, name: str) -> Any:
        if name != "image_encoder" or self.image_encoder is not None:
            return getattr(self, name)
        width = self._text_width()
        if width not in FITTING:
            known = ", ".join(map(str, FITTING))
            raise OptionError(
                f"no image encoder is known for texts of width {width} (only for {known}); give image_encoder="
            )
        return FITTING[width]

    def _text_width(self) -> int:
        return int(self.host.encode_texts([""]).context.shape[-1])

    # ---- learning -------------------------------------------------------------------------------------------------

    def fit(
        self,
        images: Any,
        subject_prompt: str,
        *,
        steps: int = 2000,
        prior: Any = None,
        class_prompt: str | None = None,
        run: str | os.PathLike[str] | None = None,
        resume: bool = True,
        log_every: int = 100,
        checkpoint_every: int = 500,
        progress: bool = True,
        callbacks: Sequence[Callback] = (),
        fabric: Any = None,
    ) -> DisenBooth:
        """Learn a subject. Of several subjects in one set of photos learn each in turn, with an identifier of its own.

        Args:
            images: 3 to 6 photos of it: a tensor in [-1, 1], PIL images, paths, or a folder (see `load_photos`).
            subject_prompt: such as "a sks dog".
            steps: gradient steps; the authors take 1000 for cats and dogs and 2000 for vases.
            prior: images of the class, or a `PriorCache`; made by the host when absent and `prior_weight` is above 0.
            class_prompt: of the prior; the subject's prompt without the identifier when absent.
            run: folder for config, metrics and checkpoints; a run that was interrupted continues where it was.
            resume: False starts over.
            log_every: log the losses every so many steps.
            checkpoint_every: write a checkpoint every so many steps.
            progress: show progress and the time left.
            callbacks: each is called as `callback(step, self)` at step 0 and after every step.
            fabric: a launched `lightning.fabric.Fabric`.

        Raises:
            DataError: no photos, or not like photos.
            OptionError: the image encoder's width is not the text's, a denoiser that holds another adapter, or a bad option.
            TrainingError: the loss is no longer finite; the host is then as it was.

        Cost: two rows of the denoiser, forward and backward, for each photo of a batch and step; texts, latents and image embeddings
        are computed once.
        """
        self._check()
        self._check_widths()
        self.__dict__.pop("cosine_", None)  # of what was learned before
        self._fit(
            images,
            subject_prompt,
            steps=steps,
            prior=prior,
            class_prompt=class_prompt,
            run=run,
            resume=resume,
            log_every=log_every,
            checkpoint_every=checkpoint_every,
            progress=progress,
            callbacks=callbacks,
            fabric=fabric,
        )
        with torch.no_grad():
            told = self.adapter_(self._trained_on)
            self.cosine_ = float(likeness(self.host.encode_texts([subject_prompt]), told).mean())
        del self._trained_on
        return self

    def remove(self) -> DisenBooth:
        """Take the LoRA off the host, which is then as it was before `fit`; what was learned is lost unless saved."""
        super().remove()
        return self

    def _check(self) -> None:
        super()._check()
        check_range(self.weak_weight, "weak_weight", low=0)
        check_range(self.contrast_weight, "contrast_weight", low=0)

    def _check_widths(self) -> int:
        width = self._text_width()
        if self.encoder.width != width and not self.map_width:
            raise OptionError(
                f"the image encoder's embeddings have {self.encoder.width} numbers and the text's vectors {width}: "
                f"{fitting_encoder(width)}, or learn a map between them with map_width=True"
            )
        return width

    def _check_photos(self, photos: Tensor) -> None:
        if len(photos) // (2 if self.flips else 1) < 2:
            warnings.warn(
                "with fewer than 2 photos nothing tells the subject from what surrounds it; give at least 2, in different places",
                UserWarning,
                stacklevel=4,
            )

    def _prepare(self, photos: Tensor) -> tuple[Tensor, ...]:
        self.encoder.model.to(self.host.device)
        with torch.no_grad():
            seen = self.encoder(photos).float()
            trained = self.encoder(photos, raw=True).float() if self.official_preprocessing else seen
        self.photo_embeddings_ = seen[: len(seen) // (2 if self.flips else 1)].cpu()
        self._trained_on = trained.to(self.host.device)
        return (self._trained_on,)

    def _make_task(self, lora: Lora, prior: Any) -> PersonalTask:
        self.adapter_ = self._make_adapter()
        return DisenBoothTask(
            self.host,
            lora,
            self.adapter_,
            self.host.encode_texts([self.subject_prompt_]),
            weak_weight=self.weak_weight,
            contrast_weight=self.contrast_weight,
            prior=prior,
            prior_weight=self.prior_weight,
            lr=self.lr,
            betas=self.betas,
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
            one_pass=self.one_pass,
        )

    def _make_adapter(self) -> IrrelevantAdapter:
        width = self._check_widths()
        return IrrelevantAdapter(width, mask=self.mask, source=self.encoder.width)

    # ---- asking ---------------------------------------------------------------------------------------------------

    def identity_embedding(self, prompt: str | None = None) -> Float[Tensor, "length width"]:
        """f_s: the text as the host reads it; the subject's own prompt when absent. Its identity lies in the LoRA that reads it."""
        self._check_fitted()
        return self.host.encode_texts([self.subject_prompt_ if prompt is None else prompt]).context[0]

    def irrelevant_embedding(self, image: Any) -> Float[Tensor, " width"]:
        """f_i of a photo: a path, a PIL image, a tensor (3, height, width) in [-1, 1], or the number of a photo that was learned from."""
        self._check_fitted()
        found = self._irrelevant(image)
        if len(found) != 1:
            raise DataError(f"image must be one photo, got {len(found)}")
        return found[0]

    @torch.no_grad()
    def _irrelevant(self, reference: Any) -> Float[Tensor, "n width"]:
        numbers = list(reference) if isinstance(reference, (list, tuple, range)) else [reference]
        if numbers and all(isinstance(number, Integral) for number in numbers):
            for number in numbers:
                check_range(number, "reference", low=0, high=len(self.photo_embeddings_) - 1, integer=True)
            seen = self.photo_embeddings_[[int(number) for number in numbers]]
        else:
            seen = self.encoder(load_photos(reference, self.host.image_size)).float()
        return self.adapter_(seen.to(self.host.device))

    def generate(
        self,
        prompt: str | Sequence[str],
        reference: Any = None,
        *,
        text_weight: float = 1.0,
        image_weight: float = 0.0,
        seeds: int | np.integer | Sequence[int] | np.ndarray = 0,
        steps: int = 50,
        guidance: float = 7.0,
        negative: str = "",
        output: str = "pt",
        **options: Any,
    ) -> Any:
        """Images told w_text f_s(prompt) + w_img f_i(reference), by the pipeline's own call.

        The subject in a new scene: `generate("a sks dog on a beach")`. What photo 2 shows besides it:
        `generate("", 2, text_weight=0, image_weight=1)`. Another subject there: `generate("a white cat", 2, image_weight=1)`, where
        the weights need some trying. Guidance leads away from w_text f_s(negative), without any image.

        Args:
            prompt: one, or one an image.
            reference: a photo, the number of a photo that was learned from, or as many photos or numbers as images.
            text_weight: w_text.
            image_weight: w_img.
            seeds: one an image.
            steps: of sampling.
            guidance: of classifier-free guidance.
            negative: what guidance leads away from.
            output: "pt": a tensor (n, 3, height, width) in [-1, 1]; "pil": PIL images.
            options: further ones of `Host.generate`, such as `rows=`, and of the pipeline.

        Raises:
            NotFittedError: nothing was learned.
            OptionError: `image_weight` without a reference, or numbers of prompts, seeds and references that do not fit.
        """
        self._check_fitted()
        check_range(text_weight, "text_weight")
        check_range(image_weight, "image_weight")
        prompts, numbers = sampled_prompts(prompt, seeds)
        if reference is None and image_weight != 0:
            raise OptionError(f"image_weight={image_weight} needs a photo: give reference=, or image_weight=0")
        if reference is not None and image_weight == 0:
            warnings.warn(
                "reference is given but image_weight=0: it is ignored; give image_weight=1 to use it",
                UserWarning,
                stacklevel=2,
            )
        if image_weight == 0 and text_weight != 0 and not all(self._names_subject(text) for text in prompts):
            lacking = next(text for text in prompts if not self._names_subject(text))
            warnings.warn(
                f"prompt={lacking!r} lacks the identifier {self.identifier!r}, so the subject is not asked for",
                UserWarning,
                stacklevel=2,
            )
        told = self._told(prompts, reference, text_weight, image_weight)
        named = self._named({"steps": steps, "guidance": guidance, "negative": negative}, options)
        against = self.host.encode_texts([named.pop("negative")])
        nothing = torch.zeros(1, against.context.shape[-1], device=self.host.device)
        options = {
            "conditions": told,
            "negative_conditions": told_with(against, nothing, text_weight=text_weight, image_weight=0.0),
        }
        return self._sample(numbers, output, {**options, **named})

    def _told(self, prompts: list[str], reference: Any, text_weight: float, image_weight: float) -> Condition:
        text = self._conditions(prompts)
        if image_weight == 0:
            irrelevant = torch.zeros(1, text.context.shape[-1], device=self.host.device)
        else:
            irrelevant = self._irrelevant(reference)
            if len(irrelevant) not in (1, len(prompts)):
                raise OptionError(
                    f"there are {len(irrelevant)} references for {len(prompts)} images; give one or as many"
                )
        return told_with(text, irrelevant, text_weight=text_weight, image_weight=image_weight)

    # ---- saving ---------------------------------------------------------------------------------------------------

    def _facts(self) -> dict[str, Any]:
        cosine = getattr(self, "cosine_", None)  # known once all is learned
        return {**super()._facts(), "cosine": cosine, "source_width": self.encoder.width}

    def _save_more(self, folder: Path) -> None:
        from safetensors.torch import save

        state = {name: value.detach().cpu().contiguous() for name, value in self.adapter_.state_dict().items()}
        with atomic_write(folder / ADAPTER, "wb") as file:
            file.write(
                save({**state, "photo_embeddings": self.photo_embeddings_.contiguous()}, metadata={"format": "pt"})
            )

    def _load_more(self, folder: Path, facts: dict[str, Any]) -> None:
        tensors, _ = read_tensors(folder / ADAPTER)
        if "photo_embeddings" not in tensors:
            raise FileError(f"{folder / ADAPTER} is not from this library")
        self.photo_embeddings_ = tensors.pop("photo_embeddings")
        self.adapter_ = self._make_adapter()
        load_weights(self.adapter_, tensors, folder / ADAPTER)
        self.adapter_.to(self.host.device).eval()
        cosine = facts.get("cosine")
        self.cosine_ = float("nan") if cosine is None else float(cosine)
