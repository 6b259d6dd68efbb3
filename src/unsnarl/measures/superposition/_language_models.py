"""Language models: where to look, texts as batches, and how F grows with the number of texts read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unsnarl.arrays import as_vector, check_range, check_same_length
from unsnarl.errors import DataError, OptionError
from unsnarl.measures.language._load import load_tokenizer
from unsnarl.measures.superposition._effective_features import feature_shares, features_of_shares
from unsnarl.measures.superposition._layer_activations import rows_of, run_batch
from unsnarl.nn._recorder import ActivationRecorder
from unsnarl.nn._sparse_autoencoder import SparseAutoencoder

CHARACTERS = 512
STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000)


def token_batches(
    texts: Iterable[Any], tokenizer: Any, *, batch_size: int = 16, characters: int = CHARACTERS
) -> Iterator[dict[str, Tensor]]:
    """Texts as padded batches {input_ids, attention_mask}; texts without a token are left out.

    Args:
        texts: any number of texts; each is cut.
        tokenizer: a transformers tokenizer, or the name of one.
        batch_size: texts a batch.
        characters: the length to which a text is cut, 512 in the published measurements.

    Raises:
        OptionError: a size below 1.
        DataError: not texts.
        MissingExtraError: a tokenizer by name without transformers.
        FileError: there is no such tokenizer.
    """
    check_range(batch_size, "batch_size", low=1, integer=True)
    check_range(characters, "characters", low=1, integer=True)
    if isinstance(texts, str):
        raise DataError("texts is one text; give a list of them")
    if isinstance(tokenizer, str):
        tokenizer = load_tokenizer(tokenizer)
    waiting: list[list[int]] = []
    for text in texts:
        if not isinstance(text, str):
            raise DataError(f"texts must be strings, not {type(text).__name__}")
        ids = tokenizer(text[:characters])["input_ids"]
        if ids:
            waiting.append(ids)
        if len(waiting) == batch_size:
            yield _padded(waiting)
            waiting = []
    if waiting:
        yield _padded(waiting)


def _padded(rows: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """On the right, with token 0: what is there is masked and, in a causal model, seen by nobody."""
    longest = max(map(len, rows))
    ids, mask = torch.zeros(len(rows), longest, dtype=torch.long), torch.zeros(len(rows), longest, dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, : len(row)], mask[place, : len(row)] = torch.tensor(row), 1
    return {"input_ids": ids, "attention_mask": mask}


def transformer_sites(model: nn.Module) -> dict[str, str]:
    """The sites of a transformers causal language model and the layers they are: the token embedding, and of each block
    the attention's and the MLP's output and the residual stream after it (19 sites for the six blocks of Pythia-70M).

    >>> from transformers import GPTNeoXConfig, GPTNeoXForCausalLM  # doctest: +SKIP
    >>> transformer_sites(GPTNeoXForCausalLM(GPTNeoXConfig()))["mlp_out_layer0"]  # doctest: +SKIP
    'gpt_neox.layers.0.mlp'

    Returns:
        "embed", "attn_out_layer0", "mlp_out_layer0", "resid_out_layer0", ... -> name of the layer.

    Raises:
        OptionError: the model has no list of blocks with an attention and an MLP each.
    """
    names = {id(module): name for name, module in model.named_modules()}
    found: dict[str, str] = {}
    embedding = getattr(model, "get_input_embeddings", lambda: None)()
    if embedding is not None:
        found["embed"] = names[id(embedding)]
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) and _parts(module[0]):
            for number, block in enumerate(module):
                for site, part in (_parts(block) or {}).items():
                    found[f"{site}_layer{number}"] = names[id(part)]
            return found
    raise OptionError(
        f"a {type(model).__name__} has no blocks with an attention and an MLP each; name its layers yourself"
    )


def _parts(block: nn.Module) -> dict[str, nn.Module] | None:
    parts = dict(block.named_children())
    attention = next((m for n, m in parts.items() if n in ("attention", "self_attn", "attn", "self_attention")), None)
    mlp = next((m for n, m in parts.items() if n in ("mlp", "feed_forward", "ffn")), None)
    if attention is None or mlp is None:
        return None
    return {"attn_out": attention, "mlp_out": mlp, "resid_out": block}


@dataclass(frozen=True, eq=False)
class Plateau:
    """Where F ends as more text is read: F(n) = F_end / (1 + (half / n)^steepness).

    Attributes:
        F: the fitted end, F_end.
        half: number of texts at which half of it is reached.
        steepness: exponent.
        reached: the largest F measured as a share of the end.
    """

    F: float
    half: float
    steepness: float
    reached: float


@dataclass(frozen=True, eq=False)
class FeatureGrowth:
    """F of one layer as more texts are read.

    Attributes:
        texts: numbers of texts.
        F: effective features on the first so many.
        activity: sum of each feature's activations over all tokens.
        plateau: the end fitted to it; None with fewer than four points.
    """

    texts: Int[np.ndarray, " step"]
    F: Float[np.ndarray, " step"]
    activity: Float[np.ndarray, " feature"]
    plateau: Plateau | None


def feature_growth(
    model: nn.Module,
    saes: Mapping[str, SparseAutoencoder],
    loader: Iterable[Any],
    *,
    at: Sequence[int] = STEPS,
) -> dict[str, FeatureGrowth]:
    """Effective features of several layers of a language model against the number of texts, in one pass.

    |a| is summed over all tokens of all texts read so far. F grows with their number and levels off (Bereska et al. 2025
    read 50,000 texts of at most 512 characters; at 10,000 one per cent was missing), so a number from few texts is a
    property of the texts. With the layers of `transformer_sites` and one autoencoder each this is the published measurement.

    Args:
        model: a causal language model.
        saes: layer name -> its autoencoder.
        loader: batches as in `measure_superposition`; each row is one text.
        at: numbers of texts at which F is taken; the total is added.

    Raises:
        DataError: no texts, or an autoencoder of another width than its layer.
        UnknownNameError: the model has no layer of that name.
        OptionError: no autoencoders.

    Cost: one pass of the model and O(tokens * N * D) for each layer; memory O(tokens of a batch * D).
    """
    if not saes:
        raise OptionError("saes is empty; give a layer and its autoencoder")
    wanted = sorted({int(step) for step in at})
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    sums = {name: np.zeros(sae.features) for name, sae in saes.items()}
    seen, steps = 0, []
    curves: dict[str, list[float]] = {name: [] for name in saes}

    def take() -> None:
        steps.append(seen)
        for name, activity in sums.items():
            curves[name].append(features_of_shares(feature_shares(activity)))

    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad(), ActivationRecorder(model, list(saes)) as recorder:
            for batch in loader:
                mask = run_batch(model, batch, device)
                whole = {name: recorder[name] for name in saes}
                count = len(next(iter(whole.values())))
                ends = [step - seen for step in wanted if seen < step < seen + count]
                start = 0
                for end in [*ends, count]:
                    part = None if mask is None else mask[start:end]
                    for name, sae in saes.items():
                        rows = rows_of(whole[name][start:end], part, None, f"layer {name!r}")
                        sums[name] += sae.encode(rows.to(sae.weight.device)).sum(0, dtype=torch.float64).cpu().numpy()
                    seen += end - start
                    start = end
                    if seen in wanted:
                        take()
    finally:
        for module, mode in modes.items():
            module.training = mode
    if not seen:
        raise DataError("loader gives no texts")
    if not steps or steps[-1] != seen:
        take()
    texts = np.array(steps)
    found = {}
    for name, curve in curves.items():
        F = np.array(curve)
        plateau = fit_plateau(texts, F) if len(texts) >= 4 and (F > 0).all() else None
        found[name] = FeatureGrowth(texts, F, sums[name], plateau)
    return found


def fit_plateau(texts: Any, F: Any) -> Plateau:
    """Fit F(n) = F_end / (1 + (half / n)^steepness) by least squares on the logarithm of F.

    On the published curve of Pythia-70M (191 effective features on 1 text, 6,328 on 50,000) the fit to the numbers up to
    1,000 texts ends within 10% of the last one.

    Args:
        texts: numbers of texts, ascending.
        F: effective features at each.

    Raises:
        DataError: fewer than four points, lengths that differ, or numbers that are not positive.
    """
    from scipy.optimize import least_squares

    texts, F = as_vector(texts, "texts", min_rows=4), as_vector(F, "F", min_rows=4)
    check_same_length(texts=texts, F=F)
    if (texts <= 0).any() or (F <= 0).any():
        raise DataError("texts and F must be positive")
    log_n, log_F = np.log(texts.astype(float)), np.log(F.astype(float))

    def missing(parameters: np.ndarray) -> np.ndarray:
        end, half, steepness = parameters
        return end - np.logaddexp(0, steepness * (half - log_n)) - log_F

    start = (log_F.max() + 0.05, float(np.interp(log_F.max() - np.log(2), np.sort(log_F), np.sort(log_n))), 0.8)
    fitted = least_squares(missing, start, bounds=([log_F.min(), -20, 0.05], [log_F.max() + 10, 40, 10]))
    end, half, steepness = np.exp(fitted.x[0]), np.exp(fitted.x[1]), fitted.x[2]
    return Plateau(float(end), float(half), float(steepness), float(F.max() / end))
