"""DiffusionPID: what each of two words of a prompt tells of an image, alone, both, or only together, pixel by pixel.

Dewan et al. 2024, "DiffusionPID: Interpreting Diffusion via Partial Information Decomposition" (arXiv 2406.05191), on the estimator of
Kong et al. 2024 (arXiv 2310.07972). A diffusion model that is told more guesses the noise in an image better, and the gap between its
guesses, summed over all noise levels, is information in nats (`information/_denoiser_information.py`):

    i(x; y | c) = 1/2 integral E |e(z | c) - e(z | y, c)|^2 d(log-SNR).

With y_1 and y_2 the words, i_1, i_2 and i_12 what they and both tell, and r what both of them tell,

    u_1 = i_1 - r,    u_2 = i_2 - r,    s = i_12 - i_1 - i_2 + r                 (`information/_pointwise_pid.py`).

By default the words stand alone: i_1 = i(x; y_1), told "cat" and counted from the empty prompt. Conditional (CPID): given the
prompt without both, i_1 = i(x; y_1 | rest), so told everything but y_2.

The paper's formula for r is not stated in what of it could be read; "min" is ours (the pointwise form of Williams and Beer's), and
Finn and Lizier's, to which the paper's word probabilities point, is there as "specificity-ambiguity".
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from unsnarl.arrays import check_choice, check_range
from unsnarl.diffusion._conditions import Condition
from unsnarl.diffusion._hosts import Host
from unsnarl.errors import DataError, OptionError
from unsnarl.information._denoiser_information import DenoiserInformation, Pair, diffusion_gaps
from unsnarl.information._log_snr_quadrature import log_snr_quadrature
from unsnarl.information._pointwise_pid import REDUNDANCIES, Redundancy
from unsnarl.information._reliability import EstimatorWarning
from unsnarl.systems.diffusion._pid_attention import attention_maps
from unsnarl.systems.diffusion._pid_checks import (
    check_prompt,
    checked_seeds,
    read_images,
    refuse_distilled,
    refuse_guidance,
    warn_range,
)
from unsnarl.systems.diffusion._pid_pixels import fold_to_pixels, pixel_factor
from unsnarl.systems.diffusion._pid_priors import UNIFORM, read_prior, word_surprisals
from unsnarl.systems.diffusion._pid_result import InformationResult, Intervention, PIDResult
from unsnarl.systems.diffusion._pid_terms import as_array, pairs_of, resized, terms_of
from unsnarl.systems.diffusion._pid_words import (
    DELETIONS,
    Mention,
    Told,
    Word,
    alone,
    check_length,
    mention,
    mentions,
    told_without,
    without,
)

REST = "rest"
PUBLISHED, OF_PIXELS = (1.0, 2.0), (-2.0, 3.0)  # centre and scale of the law of the log-SNRs
CURVE_NOISES = 50
Progress = Callable[[int, int], None]


class DiffusionPID:
    """Takes apart what two words of a prompt tell of an image (equations at the head of this module).

    Args:
        pipe_or_name: a text-to-image pipeline of diffusers, a name ("stabilityai/stable-diffusion-2-1-base",
            "stabilityai/stable-diffusion-3-medium-diffusers", "zoo/sd-tiny-32"), a folder, or anything with the questions of
            `unsnarl.diffusion.Host`. Not one that was distilled to few steps.
        n_snr: log-SNRs; 100 as published.
        n_noise: noises at each.
        redundancy: "min", "specificity-ambiguity", or a function (i1, i2, i12) -> r of maps.
        prior: for "specificity-ambiguity": "uniform"; two probabilities; the name of a masked language model such as
            "bert-base-uncased", asked for each word in the prompt; or its (model, tokenizer).
        estimate: "i_o" or "i_s"; when absent i_o, and for "specificity-ambiguity", which is about log-ratios, i_s.
        deletion: how words leave a prompt: "string", or "padding" (padding tokens in their place).
        loc: of the law of the log-SNRs; see `log_snr_quadrature`. When absent, 1 as published; for latents that are pixels, as in the
            zoo, -2: what covers d pixels and channels alike is decided near a log-SNR of -log d, a frame of 240 pixels at -6.6.
        scale: of it. When absent, 2 as published, 3 where latents are pixels.
        clip: of it.
        stratified: one log-SNR from each part of the law: the same expectation and far less chance than independent ones, which were
            published (in closed-form worlds with 100 of them, errors of .01 instead of .06 nats).
        guidance: None or 1; anything else is refused.
        rows: of the denoiser at a time.
        seed: of log-SNRs and noise.

    Raises:
        OptionError: a distilled model, guidance, or an option outside its range.
        UnknownNameError, FileError, MissingExtraError: as `unsnarl.diffusion.load_pipeline`.

    Warns:
        UserWarning: the log-SNRs of the integral are not all in the model's noise schedule.
        EstimatorWarning: fewer than 16 log-SNRs.

    Examples:
        `DiffusionPID("zoo/sd-tiny-32").decompose("a photo of a cat and a tree", ("cat", "tree"), image).draw("maps.png")`
    """

    def __init__(
        self,
        pipe_or_name: Any = "stabilityai/stable-diffusion-2-1-base",
        n_snr: int = 100,
        n_noise: int = 1,
        redundancy: Redundancy = "min",
        *,
        prior: Any = UNIFORM,
        estimate: str | None = None,
        deletion: str = "string",
        loc: float | None = None,
        scale: float | None = None,
        clip: float = 3.0,
        stratified: bool = True,
        guidance: float | None = None,
        rows: int = 32,
        seed: int = 0,
    ):
        refuse_guidance(guidance)
        for name, value in (("n_snr", n_snr), ("n_noise", n_noise), ("rows", rows)):
            check_range(value, name, low=1, integer=True)
        check_range(seed, "seed", low=0, integer=True)
        check_choice(deletion, DELETIONS, "deletion")
        if not callable(redundancy):
            check_choice(redundancy, REDUNDANCIES, "redundancy")
        check_choice(estimate, (None, "i_o", "i_s"), "estimate")
        if redundancy != "specificity-ambiguity" and not (isinstance(prior, str) and prior == UNIFORM):
            raise OptionError('prior is for redundancy="specificity-ambiguity"; other redundancies take none')
        prior = read_prior(prior)
        asks = hasattr(pipe_or_name, "predict_noise") and hasattr(pipe_or_name, "encode_texts")
        self.host = pipe_or_name if asks else Host(pipe_or_name)
        law = OF_PIXELS if pixel_factor(self.host) else PUBLISHED
        loc, scale = (usual if given is None else given for given, usual in zip((loc, scale), law, strict=True))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EstimatorWarning)  # said when something is computed
            nodes = log_snr_quadrature(n_snr, loc=loc, scale=scale, clip=clip, stratified=stratified, seed=seed)
        refuse_distilled(getattr(self.host, "pipeline", None), pipe_or_name if isinstance(pipe_or_name, str) else None)
        warn_range(self.host, nodes.low, nodes.high)
        self.n_snr, self.n_noise, self.redundancy, self.prior = n_snr, n_noise, redundancy, prior
        self.estimate = estimate or ("i_s" if redundancy == "specificity-ambiguity" else "i_o")
        self.deletion, self.stratified, self.rows, self.seed = deletion, stratified, rows, seed
        self.loc, self.scale, self.clip = loc, scale, clip

    # four terms

    def decompose(
        self,
        prompt: str,
        words: tuple[Word, Word] | Sequence[Any],
        image: Any = None,
        *,
        conditional: bool = False,
        reference: str = "",
        seeds: Sequence[int] = (0,),
        steps: int = 25,
        sampling_guidance: float = 3.0,
        progress: Progress | None = None,
    ) -> Any:
        """What two words of a prompt tell of an image.

        Args:
            prompt: in which the words stand.
            words: the two, each a text or, where it stands more than once, (text, occurrence) with occurrences counted from 0; or a
                list of such pairs, all asked of the same noise.
            image: one or several, as large as the host's: a tensor or array (3, s, s) or (n, 3, s, s), float in [-1, 1] or uint8, or
                PIL. Terms are computed for each and averaged. When absent, images of the prompt are generated.
            conditional: given the rest of the prompt (CPID).
            reference: the text that information is counted from when not conditional. The default is the empty prompt, so that a
                word also tells whatever every use of it implies; name a text that implies the same to leave that out.
            seeds: of the images that are generated.
            steps: of sampling them.
            sampling_guidance: guidance of sampling them; information is computed without.
            progress: called with rows done and rows in all.

        Returns:
            A `PIDResult`, or one a pair.

        Raises:
            DataError: a word that is not in the prompt, a prompt longer than the text encoder reads, or an image of another size.
            OptionError: a word that stands more than once without its occurrence, the same word twice, or a reference with
                `conditional`.

        Cost: 4 n n_snr n_noise rows of the denoiser for one pair and n images; shared conditions of several pairs are asked once.
        """
        check_prompt(prompt)
        single, asked = pairs_of(words)
        found = [mentions(prompt, pair) for pair in asked]
        if conditional and reference:
            raise OptionError(
                "reference is for conditional=False; with conditional=True the rest of the prompt is what is given"
            )
        check_prompt(reference, "reference")
        check_length(self.host, prompt)
        check_length(self.host, reference)
        surprisals = [
            word_surprisals(self.prior, prompt, pair) if self.redundancy == "specificity-ambiguity" else None
            for pair in found
        ]
        images = self._images(prompt, image, seeds, steps, sampling_guidance)
        told = Told(self.host, self.deletion)
        plans = []
        for first, second in found:
            if conditional:
                keys = [told.drop(prompt, gone) for gone in ((second,), (first,), (), (first, second))]
            else:
                keys = [
                    told.tell(text) for text in (alone([first]), alone([second]), alone([first, second]), reference)
                ]
            plans.append([(key, keys[3]) for key in keys[:3]])
        gaps = self.information(images, told.conditions, [pair for plan in plans for pair in plan], progress=progress)
        results = [
            self._result(prompt, pair, [gaps[one] for one in plan], images, conditional, reference, surprising)
            for pair, plan, surprising in zip(found, plans, surprisals, strict=True)
        ]
        return results[0] if single else results

    # parts of it

    def information(
        self,
        images: Float[Tensor, "n 3 height width"],
        told: Mapping[str, str | Condition],
        pairs: Sequence[Pair],
        *,
        n_noise: int | None = None,
        progress: Progress | None = None,
    ) -> dict[Pair, DenoiserInformation]:
        """Information between images and any texts, all at the same noise: what everything else here is computed from.

        Args:
            images: in [-1, 1].
            told: name -> text, or what the host reads of one.
            pairs: (name of what is told, name of what it is counted from).
            n_noise: in place of the constructor's.
            progress: called with rows done and rows in all.

        Returns:
            pair -> information at the places of the latents; at true pixels where latents are pixels rearranged.
        """
        side = self.host.image_size
        if images.ndim != 4 or images.shape[2:] != (side, side):
            raise DataError(f"images must have the shape (n, 3, {side}, {side}), got {tuple(images.shape)}")
        conditions = {
            name: self.host.encode_texts([one]) if isinstance(one, str) else one for name, one in told.items()
        }
        return diffusion_gaps(
            self.host.predict_noise,
            self.host.encode_images(images),
            conditions,
            pairs,
            n_snr=self.n_snr,
            n_noise=self.n_noise if n_noise is None else n_noise,
            loc=self.loc,
            scale=self.scale,
            clip=self.clip,
            stratified=self.stratified,
            snap=lambda log_snr: self.host.snap(log_snr)[0],
            fold=fold_to_pixels(self.host),
            block=self.rows,
            seed=self.seed,
            progress=progress,
        )

    def mutual_information(
        self,
        prompt: str,
        word: Word | None,
        image: Any = None,
        *,
        given: str | Sequence[Word] | None = None,
        n_noise: int | None = None,
        seeds: Sequence[int] = (0,),
        steps: int = 25,
        sampling_guidance: float = 3.0,
        progress: Progress | None = None,
    ) -> InformationResult:
        """What one word tells of an image: MI, or CMI given other words.

        Args:
            prompt: in which the word stands.
            word: text, or (text, occurrence); None for the whole prompt.
            image: as in `decompose`.
            given: None for nothing; "rest" for the prompt without the word; or a list of other words of the prompt.
            n_noise: in place of the constructor's.
            seeds: of the images that are generated when there is none.
            steps: of sampling them.
            sampling_guidance: of sampling them.
            progress: called with rows done and rows in all.

        Raises:
            DataError, OptionError: as `decompose`.

        Cost: 2 n n_snr n_noise rows of the denoiser.
        """
        check_prompt(prompt)
        check_length(self.host, prompt)
        told = Told(self.host, self.deletion)
        if word is None:
            if given is not None:
                raise OptionError("given is for a word; the whole prompt (word=None) is counted from nothing")
            keys = told.tell(prompt), told.tell("")
        elif isinstance(given, str):
            check_choice(given, (REST,), "given")
            keys = told.drop(prompt, ()), told.drop(prompt, (mention(prompt, word, "word"),))
        else:
            both = mentions(prompt, [word, *(given or ())], "word and given")
            keys = told.tell(alone(both)), told.tell(alone(both[1:]))
        images = self._images(prompt, image, seeds, steps, sampling_guidance)
        one = self.information(images, told.conditions, [keys], n_noise=n_noise, progress=progress)[keys]
        side, nodes = self.host.image_size, one.quadrature
        return InformationResult(
            told=keys[0],
            instead=keys[1],
            map_o=resized(one.i_o.mean(0), side),
            map_s=resized(one.i_s.mean(0), side),
            i_o=float(one.total_o.mean()),
            i_s=float(one.total_s.mean()),
            se_o=float(nodes.standard_error(one.curve_o.mean(1))),
            se_s=float(nodes.standard_error(one.curve_s.mean(1))),
            log_snr=as_array(one.log_snr),
            curve_o=as_array(one.curve_o.mean(1)),
            curve_s=as_array(one.curve_s.mean(1)),
            images=images,
        )

    def snr_curve(
        self, prompt: str, word: Word | None = None, image: Any = None, *, n_noise: int = CURVE_NOISES, **options: Any
    ) -> InformationResult:
        """`mutual_information` with 50 noises at each log-SNR, for its curve: at which noise a word tells something.

        High log-SNRs are about detail, low ones about the whole. Arguments, errors and cost as `mutual_information`.
        """
        return self.mutual_information(prompt, word, image, n_noise=n_noise, **options)

    # what to hold it against

    def attention_map(
        self,
        prompt: str,
        word: Word,
        image: Any = None,
        *,
        sizes: int | Sequence[int] | None = None,
        steps: int = 25,
        seeds: Sequence[int] = (0,),
        sampling_guidance: float = 3.0,
    ) -> Float[np.ndarray, "height width"]:
        """DAAM, the usual map of a word: its cross-attention averaged over heads, layers and noise levels (Tang et al. 2023).

        The image is noised at `steps` evenly spaced times, where DAAM watches the sampling of an image: so that it can be had of any
        image. It says where a word is looked for, not what it tells.

        Args:
            prompt: in which the word stands.
            word: text, or (text, occurrence).
            image: as in `decompose`.
            sizes: only layers with so many places a column.
            steps: noise levels; also of sampling the images when there is none.
            seeds: of these images.
            sampling_guidance: of them.

        Raises:
            DataError, OptionError: as `decompose`.

        Cost: n * steps rows of the denoiser.
        """
        check_prompt(prompt)
        one = mention(prompt, word, "word")
        latents = self.host.encode_images(self._images(prompt, image, seeds, steps, sampling_guidance))
        kept = [sizes] if isinstance(sizes, int) else sizes
        found = attention_maps(self.host, latents, prompt, [one], sizes=[kept], steps=steps, seed=self.seed)
        return np.asarray(found[0, 0].mean(0))

    def intervene(
        self, prompt: str, word: Word, *, seeds: Sequence[int] = (0,), steps: int = 25, sampling_guidance: float = 3.0
    ) -> Intervention:
        """Draw the prompt with and without a word from the same noise: a word that tells nothing of its own should not be missed.

        Args:
            prompt: in which the word stands.
            word: text, or (text, occurrence).
            seeds: of the images.
            steps: of sampling.
            sampling_guidance: of it.

        Raises:
            DataError, OptionError: as `decompose`.

        Cost: 2 len(seeds) steps rows of the denoiser, twice that with guidance.
        """
        check_prompt(prompt)
        check_length(self.host, prompt)
        one = mention(prompt, word, "word")
        options: dict[str, Any] = {"seeds": checked_seeds(seeds), "steps": steps, "guidance": sampling_guidance}
        before = self.host.generate(conditions=self.host.encode_texts([prompt]), **options)
        left = told_without(self.host, prompt, (one,), self.deletion)
        after = self.host.generate(conditions=left, **options)
        squares = (after - before).double() ** 2
        return Intervention(
            prompt=prompt,
            deleted=one.text,
            left=without(prompt, (one,)),
            before=before,
            after=after,
            change=as_array(squares.mean((1, 2, 3))),
            map=as_array(squares.sum(1)),
        )

    # inside

    def _images(self, prompt: str, image: Any, seeds: Sequence[int], steps: int, guidance: float) -> Tensor:
        if image is not None:
            return read_images(image, self.host.image_size)
        made: Tensor = self.host.generate([prompt], seeds=checked_seeds(seeds), steps=steps, guidance=guidance)
        return made.clamp(-1, 1)

    def _result(
        self,
        prompt: str,
        pair: tuple[Mention, ...],
        gaps: list[DenoiserInformation],
        images: Tensor,
        conditional: bool,
        reference: str,
        surprisals: tuple[float, float] | None,
    ) -> PIDResult:
        name = (
            self.redundancy if isinstance(self.redundancy, str) else getattr(self.redundancy, "__name__", "a function")
        )
        return PIDResult(
            prompt=prompt,
            words=(pair[0].text, pair[1].text),
            **terms_of(gaps, self.estimate, self.redundancy, surprisals, self.host.image_size),
            conditional=conditional,
            kind=name,
            estimate=self.estimate,
            reference=reference,
            images=images,
            passes=4 * len(images) * self.n_snr * self.n_noise,
        )
