"""DreamBooth by LoRA: a rare word and a few photos, and the denoiser learns what the word looks like (Ruiz et al. 2023, arXiv 2208.12242).

    L = |e - e_theta(z_t, t, f("a V* class"))|^2  +  w |e' - e_theta(z'_t', t', f("a class"))|^2,

the first term over photos of the subject, the second over images that the host itself made of the class before it was tuned
(prior preservation; w = 0 leaves it out). Hosts that predict something else than the noise are asked for that in its place.
Only LoRA on the attention layers is trained. Whatever the photos share, such as a background, is learned with the subject: the
baseline of systems that disentangle the two.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unsnarl.diffusion._conditions import Condition
from unsnarl.diffusion._hosts import Host
from unsnarl.diffusion._lora import Lora
from unsnarl.systems.diffusion._personal_task import PersonalTask, denoising_errors, on_cpu
from unsnarl.systems.diffusion._personalizer import Callback, Personalizer, sampled_prompts


class DreamBoothTask(PersonalTask):
    """The loss of this module.

    Args:
        host: the host.
        lora: attached to it.
        condition: the subject's prompt.
        options: those of `PersonalTask`.
    """

    def __init__(self, host: Host, lora: Lora, condition: Condition, **options: Any):
        super().__init__(host, lora, **options)
        self._told = (condition,)

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The loss, and its term of the prior where there is one."""
        draws = on_cpu(generator)
        askings = [self.noised(batch[0], self._told[0], draws)]
        askings += self.prior_askings(len(batch[0]), draws)
        errors = denoising_errors(self.host, askings, one_pass=self.one_pass)
        losses = {"loss": errors[0].mean()}
        if len(errors) > 1:
            losses = {"loss": losses["loss"] + self.prior_weight * errors[1].mean(), "prior": errors[1].mean().detach()}
        return losses


class DreamBoothLoRA(Personalizer):
    """A subject learned by LoRA from a few photos, and the rare word that stands for it.

    Args:
        base: a pipeline, a name ("stabilityai/stable-diffusion-2-1-base", "zoo/sd-tiny-32"), a folder, or a `Host`. A pipeline that is
            given is adapted in place.
        rank: of the LoRA.
        alpha: its scale times the rank; the rank when absent.
        lr: of AdamW, constant.
        betas: of AdamW.
        weight_decay: of AdamW.
        clip_norm: of the gradient.
        batch_size: photos a step.
        identifier: the rare word that the subject's prompt must hold.
        flips: learn from mirror images as well.
        prior_weight: of prior preservation; 0 leaves it out, 1 is usual.
        prior_images: how many images of the class are made for it, where none are given.
        one_pass: photos and images of the class in one pass of the denoiser, which takes more memory.
        seed: of the first weights, the noise and the order of photos.

    Attributes:
        lora_: the LoRA on the host.
        subject_prompt_: what was learned.
        history_: the losses.

    The defaults are those of the published training script for LoRA on Stable Diffusion.
    """

    def __init__(
        self,
        base: Any = "stabilityai/stable-diffusion-2-1-base",
        rank: int = 4,
        *,
        alpha: float | None = None,
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
        self.base, self.rank, self.alpha, self.lr, self.betas = base, rank, alpha, lr, betas
        self.weight_decay, self.clip_norm, self.batch_size = weight_decay, clip_norm, batch_size
        self.identifier, self.flips, self.one_pass, self.seed = identifier, flips, one_pass, seed
        self.prior_weight, self.prior_images = prior_weight, prior_images

    def fit(
        self,
        images: Any,
        subject_prompt: str,
        *,
        steps: int = 500,
        prior: Any = None,
        class_prompt: str | None = None,
        run: str | os.PathLike[str] | None = None,
        resume: bool = True,
        log_every: int = 100,
        checkpoint_every: int = 500,
        progress: bool = True,
        callbacks: Sequence[Callback] = (),
        fabric: Any = None,
    ) -> DreamBoothLoRA:
        """Learn a subject.

        Args:
            images: 3 to 6 photos of it: a tensor in [-1, 1], PIL images, paths, or a folder (see `load_photos`).
            subject_prompt: such as "a photo of a sks dog".
            steps: gradient steps.
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
            OptionError: a denoiser that holds another adapter, or a bad option.
            TrainingError: the loss is no longer finite; the host is then as it was.
        """
        return self._fit(
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

    def _make_task(self, lora: Lora, prior: Any) -> PersonalTask:
        return DreamBoothTask(
            self.host,
            lora,
            self.host.encode_texts([self.subject_prompt_]),
            prior=prior,
            prior_weight=self.prior_weight,
            lr=self.lr,
            betas=self.betas,
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
            one_pass=self.one_pass,
        )

    def generate(
        self,
        prompt: str | Sequence[str],
        *,
        seeds: int | np.integer | Sequence[int] | np.ndarray = 0,
        steps: int = 50,
        guidance: float = 7.0,
        output: str = "pt",
        **options: Any,
    ) -> Any:
        """Images of the subject by the pipeline's own call.

        Args:
            prompt: one, or one an image; with the identifier where the subject is meant.
            seeds: one an image.
            steps: of sampling.
            guidance: of classifier-free guidance.
            output: "pt": a tensor (n, 3, height, width) in [-1, 1]; "pil": PIL images.
            options: further ones of `Host.generate`, such as `negative=` or `rows=`, and of the pipeline.

        Raises:
            NotFittedError: nothing was learned.
            OptionError: numbers of prompts and seeds that do not fit.
        """
        self._check_fitted()
        prompts, numbers = sampled_prompts(prompt, seeds)
        named = self._named({"steps": steps, "guidance": guidance}, options)
        return self._sample(numbers, output, {"conditions": self._conditions(prompts), **named})
