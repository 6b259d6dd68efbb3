"""One call that measures a causal language model on texts: every number, interval and spectrum of this room."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from unsnarl.arrays import check_choice, check_range
from unsnarl.errors import DataError, UnsnarlError
from unsnarl.measures.language._draft_heads import Training
from unsnarl.measures.language._geometry import aligned_with_kernel
from unsnarl.measures.language._kernels import KINDS
from unsnarl.measures.language._language_report import LanguageReport, described
from unsnarl.measures.language._opened import open_model
from unsnarl.measures.language._stages import Tell, Work, entropy_numbers, metric_numbers, stage_teller
from unsnarl.measures.language._surplus import check_tokens, model_vectors, neural_surplus
from unsnarl.measures.language._windows import Windows, spread, windows_of

_EXTREMES = 6  # most and least certain contexts that are kept in words


def analyse_lm(
    model: Any,
    tokenizer: Any,
    texts: Any,
    *,
    contexts: int = 4_096,
    kernel_contexts: int | None = None,
    metric_contexts: int = 512,
    K: Sequence[int] = (2, 4),
    kernel: str = "bc",
    beta: float = 1.0,
    order: float = 0.5,
    reference: Any = None,
    surplus: bool = True,
    surplus_contexts: int = 16_384,
    training: Training | None = None,
    superposition: bool = True,
    sae: Any = None,
    expansion: float = 2.0,
    l1: float = 0.1,
    epochs: int = 60,
    length: int = 128,
    min_context: int = 4,
    batch: int = 8,
    repeats: int = 200,
    tolerance: float = 1e-3,
    head: Any = None,
    name: str | None = None,
    seed: int = 0,
    progress: bool | Tell = False,
) -> LanguageReport:
    """Everything this room measures, on the contexts of given texts.

    The model is run as it is. Its head is found and checked first: the probabilities made of the head's input must be the
    model's own. Categorical entropies are held against the negative log-likelihood; the pullback metric is averaged over
    contexts and taken apart; hidden states are held against a kernel of predictive similarity; draft heads look for the
    information surplus; a sparse autoencoder counts the features in the head's input.

    Args:
        model: `AutoModelForCausalLM` of transformers, or a module from tokens (batch, length) to logits.
        tokenizer: of transformers, or a function from a text to token ids; None where `texts` are token ids.
        texts: a list of strings (see `read_texts`).
        contexts: how many contexts the entropies are averaged over.
        kernel_contexts: for the kernel; 512, or twice the width of the model where that is more, since whitening needs
            more contexts than dimensions.
        metric_contexts: for the metric.
        K: the numbers of tokens whose surplus is estimated; empty for none.
        kernel: kind of predictive kernel, chosen before looking.
        beta: sharpness of the Hellinger and Jensen-Shannon kernels.
        order: a of the Renyi entropy.
        reference: what the kernel's predictions come from: another model with the same tokens, or a `TokenSource` whose
            probabilities are known. Without it the kernel comes from the model itself, which agrees with its own hidden
            states by construction; the report says so. With it the report also holds the checks of theorems 5.2 and 7.1.
        surplus: estimate the surplus at all.
        surplus_contexts: most contexts for its draft heads.
        training: of the draft heads.
        superposition: count effective features of the head's input.
        sae: an autoencoder of it (`unsnarl.nn.SparseAutoencoder`); without one a fresh one is trained on the hidden
            states, scaled to unit mean square so that `l1` means the same for every model.
        expansion: features of the fresh one, as a multiple of the width.
        l1: its penalty.
        epochs: the most epochs of its training.
        length: texts are cut into windows of this many tokens.
        min_context: contexts of fewer tokens are left out.
        batch: windows the model reads at a time.
        repeats: random halves of the windows behind the 95% intervals; 0 for no intervals.
        tolerance: largest difference between the head's and the model's probabilities.
        head: the head's layer, where it is not found by itself.
        name: what the model is called in the report; its hub name or folder when absent.
        seed: of every choice and training.
        progress: True for a line on stderr, or a function that is told the stage and the share of all that is done.

    Returns:
        A `LanguageReport`; what could not be measured is in `left_out` with the reason.

    Raises:
        DataError: no texts, texts that are too short, tokens the model does not have, an encoder, or a head whose
            probabilities are not the model's.
        OptionError: an option out of range.

    Cost: a pass of the model over max(contexts, surplus_contexts) tokens, plus O(kernel_contexts^2 V + V d^2). SmolLM2
        (135 million weights, V = 49,152) with the defaults on long texts: about 3.5 CPU-minutes and 4 GB.
    """
    check_range(contexts, "contexts", low=2, integer=True)
    check_range(metric_contexts, "metric_contexts", low=2, integer=True)
    check_range(length, "length", low=4, integer=True)
    check_range(min_context, "min_context", low=1, high=length - 2, integer=True)
    check_range(repeats, "repeats", low=0, integer=True)
    check_range(seed, "seed", low=0, integer=True)
    check_choice(kernel, KINDS, "kernel")
    for k in K:
        check_range(k, "K", low=2, high=length - min_context, integer=True)
    rng = np.random.default_rng(seed)
    surplus = surplus and len(K) > 0
    needed = max(contexts, surplus_contexts if surplus else 0)
    found = windows_of(texts, tokenizer, length=length, shortest=min_context + 1, enough=needed, seed=seed)
    windows = [found.windows[int(i)] for i in rng.permutation(len(found.windows))]
    probe = max(windows, key=len)[None, :64]
    if probe.shape[1] < 3:
        raise DataError("texts has no window of at least 3 tokens")
    opened = open_model(model, head=head, probe=probe, tolerance=tolerance)
    check_tokens(windows, opened.vocabulary)
    windows = _enough(windows, needed, min_context)
    work = Work(
        opened, windows, min_context, batch, order, repeats, seed, rng, stage_teller(progress, surplus, superposition)
    )
    observed, states = work.read(contexts)
    results: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    timings = {"reading": work.lap()}
    numbers, intervals = entropy_numbers(work, observed)

    spectrum, felt, felt_intervals = metric_numbers(work, observed, metric_contexts)
    numbers |= felt
    intervals |= felt_intervals
    timings["metric"] = work.lap()

    chosen = spread(len(observed), kernel_contexts or max(512, 2 * opened.dimension), rng)
    aligned = aligned_with_kernel(work, observed, chosen, spectrum, kernel, beta, reference, left_out)
    numbers |= aligned.numbers
    intervals |= aligned.intervals
    timings["alignment"] = work.lap()

    if surplus:
        try:
            scores = neural_surplus(
                windows,
                states,
                sorted(set(map(int, K))),
                min_context=min_context,
                training=training,
                seed=seed,
                vectors=model_vectors(opened),
                vocabulary=opened.vocabulary,
                progress=lambda share: work.tell("surplus", share),
            )
            results["surplus"] = scores
            for score in scores:
                numbers[score.name] = float(score)
                intervals[score.name] = (score.low, score.high)
        except UnsnarlError as error:
            left_out["surplus"] = str(error)
        timings["surplus"] = work.lap()

    if superposition:
        work.tell("superposition", 0.0)
        try:
            result = _superposition(observed.hidden, sae, expansion, l1, epochs, seed)
            results["superposition"] = result
            numbers["features"], numbers["features_per_dimension"] = float(result.F), float(result.psi)
        except UnsnarlError as error:
            left_out["superposition"] = str(error)
        timings["superposition"] = work.lap()
    work.tell("superposition", 1.0)

    return LanguageReport(
        numbers=numbers,
        intervals=intervals,
        spectrum=spectrum,
        alignment=aligned.alignment,
        kernel=aligned.shown,
        kernel_kind=kernel,
        kernel_source=aligned.source,
        kernel_contexts=described(windows, observed, aligned.shown_rows, tokenizer),
        certain=described(
            windows, observed, np.argsort(observed.numbers["entropy"], kind="stable")[:_EXTREMES], tokenizer
        ),
        uncertain=described(
            windows, observed, np.argsort(-observed.numbers["entropy"], kind="stable")[:_EXTREMES], tokenizer
        ),
        entropies=observed.numbers["entropy"],
        nlls=observed.numbers["nll"],
        surplus=results.get("surplus", []),
        superposition=results.get("superposition"),
        checks=aligned.checks,
        left_out=left_out,
        notes=aligned.notes,
        timings=timings,
        settings={
            "model": name or _name_of(model),
            "head": opened.layer,
            "vocabulary": opened.vocabulary,
            "dimension": opened.dimension,
            "softcap": opened.head.softcap,
            "scale": opened.head.scale,
            "texts": found.read,
            "texts_given": found.given,
            "windows": len(windows),
            "contexts": len(observed),
            "kernel_contexts": len(chosen),
            "metric_contexts": min(metric_contexts, len(observed)),
            "length": length,
            "min_context": min_context,
            "order": order,
            "beta": beta,
            "seed": seed,
        },
    )


def _name_of(model: Any) -> str:
    """The hub name of a model, the last part of its folder, or its type."""
    path = str(getattr(getattr(model, "config", None), "_name_or_path", "") or "")
    return (Path(path).name if Path(path).is_absolute() else path) or type(model).__name__


def _enough(windows: Windows, contexts: int, min_context: int) -> Windows:
    counts = np.cumsum([len(w) - min_context for w in windows])
    return windows[: max(int(np.searchsorted(counts, contexts)) + 1, min(len(windows), 10))]


def _superposition(hidden: Float[Tensor, "n d"], sae: Any, expansion: float, l1: float, epochs: int, seed: int) -> Any:
    """Effective features of the head's input; unreliable results say so in their `problems`."""
    from unsnarl.measures.superposition._measure_superposition import measure_activations

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they say is in the result
        if sae is not None:
            return measure_activations(hidden.numpy(), sae=sae, seed=seed)
        scaled = hidden / hidden.double().square().mean().sqrt().float().clamp(min=1e-12)
        return measure_activations(scaled.numpy(), expansion=expansion, l1=l1, epochs=epochs, seed=seed)
