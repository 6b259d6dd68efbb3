"""Effective features of a layer: how many features it encodes, and how many share one neuron.

Bereska, Tzifa-Kratira, Samavi and Gavves 2025, "Superposition as Lossy Compression: Measure with Sparse Autoencoders and
Connect to Adversarial Vulnerability" (arXiv 2512.13568). A sparse autoencoder is trained on the layer's activations; the
exponential of the entropy of its features' shares of activity is F, the number of features that would do the same work with
equal shares; psi = F / N. Symbols in the code: H is (n, N), the code a is (n, D).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import nn

from unsnarl.arrays import check_choice, check_range
from unsnarl.errors import DataError, OptionError
from unsnarl.information import EstimatorWarning
from unsnarl.measures.superposition._effective_features import feature_shares, features_of_shares
from unsnarl.measures.superposition._layer_activations import LayerActivations, record_layer
from unsnarl.measures.superposition._result import UNRELIABLE_FVU, SuperpositionResult
from unsnarl.measures.superposition._train_autoencoders import TrainedAutoencoder, train_autoencoder
from unsnarl.nn._sparse_autoencoder import SparseAutoencoder

BLOCK = 2**24
"""Codes of about this many numbers are held at a time."""
ENOUGH_TEXTS = 10_000


def measure_superposition(
    model: nn.Module | str,
    layer: str | nn.Module,
    loader: Iterable[Any],
    *,
    expansion: float = 4,
    l1: float = 0.1,
    sae: SparseAutoencoder | None = None,
    tied: bool = True,
    values: Literal["post-ReLU", "pre-activation"] | str | None = None,
    side: Literal["output", "input"] | str = "output",
    channels: Literal["auto", "first", "last"] | str = "auto",
    samples: int = 10_000,
    epochs: int = 800,
    batch_size: int = 128,
    lr: float = 1e-3,
    patience: int | None = 10,
    seed: int = 0,
    progress: bool = False,
) -> SuperpositionResult:
    """The effective features of one layer on a stream of inputs.

    The layer is recorded in evaluation mode; a sparse autoencoder of D = int(expansion * N) features is trained on at most
    `samples` rows, drawn at random from all inputs and positions; then every row of every input is encoded and F is taken
    from the summed activity of each feature. For a convolution each position is a row and N is the number of channels, for a
    language model each token that the attention mask leaves in. Summing the code over the positions of an input first, as
    published, gives the same shares, since codes are never negative.

    F depends on the dictionary: compare it at equal D, l1 and site only (`SuperpositionResult.ratio` sees to that), and look
    at several sizes with `sweep_dictionary_size`. It also depends on how long the autoencoder was trained: one that has not
    converged spreads over more features than it needs.

    >>> net = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> result = measure_superposition(net, "1", torch.rand(500, 6).split(100), epochs=200)
    >>> result.N, result.D, 0 <= result.F <= 16
    (4, 16, True)

    Args:
        model: any network, a transformers causal language model, or the name or folder of one such as
            "EleutherAI/pythia-70m-deduped" or "HuggingFaceTB/SmolLM2-135M" (needs the package transformers).
        layer: name as `model.named_modules()` gives it (for language models see `transformer_sites`), or the module.
        loader: batches: tensors, tuples that begin with one, or dictionaries of keywords such as `input_ids` and
            `attention_mask`; with the name of a language model also plain texts.
        expansion: D / N, at least 1.
        l1: weight of the mean absolute code in the training loss; one feature's penalty is l1 / D.
        sae: an autoencoder that was trained elsewhere (`SparseAutoencoder.from_pretrained`); nothing is trained then.
        tied: train an autoencoder that decodes with its encoder's weights; False trains two biased layers.
        values: say what the layer gives, "post-ReLU" (never negative) or "pre-activation" (signed), to have it checked;
            the result's `site` names what was found.
        side: the layer's "output" or its first "input".
        channels: where neurons are in a tensor of more than two dimensions, see `record_layer`.
        samples: the most inputs, and the most rows to train on. With `sae` all inputs are used.
        epochs: the most epochs, each of samples / batch_size steps.
        batch_size: rows a step.
        lr: Adam's learning rate.
        patience: epochs without a new lowest training loss before training stops, with the best weights restored; None
            trains all epochs.
        seed: of the draw of rows, of the autoencoder's first weights and of its batches.
        progress: show progress on stderr.

    Returns:
        F, psi, and what is needed to judge them.

    Raises:
        OptionError: D < N, another option out of range, or a layer that is no part of the model.
        UnknownNameError: the model has no layer of that name.
        DataError: no inputs, activations that are not finite, that are not what `values` says, or of another width than
            `sae` reads.
        MissingExtraError: a language model by name without transformers.

    Warns:
        EstimatorWarning: the number is unreliable: FVU above 0.3, fewer rows than features, a dead layer, training that
            ended before the loss stopped falling, or a language model's autoencoder on fewer than 10,000 texts. The
            sentences are also in `problems`.

    Cost: one pass of the model (two where activations exceed 256 MB), and O(epochs * samples * N * D) for training: for
    N = 64, D = 256 and 10,000 rows about 0.15 s an epoch on one core.
    """
    if isinstance(model, str):
        from unsnarl.measures.language._load import load_causal_model
        from unsnarl.measures.superposition._language_models import token_batches

        name, loader = model, list(loader)
        model = cast("nn.Module", load_causal_model(name))
        if loader and isinstance(loader[0], str):
            loader = token_batches(loader, name)
    if values is not None:
        check_choice(values, ("post-ReLU", "pre-activation"), "values")
    activations = record_layer(
        model, layer, loader, side=side, channels=channels, inputs=None if sae else samples, samples=samples, seed=seed
    )
    if values is not None and activations.signed != (values == "pre-activation"):
        raise DataError(f"values={values!r}, but what was recorded is the {activations.site}")
    return _warned(
        _measure(
            activations,
            expansion,
            l1,
            sae,
            tied=tied,
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            patience=patience,
            seed=seed,
            progress=progress,
        )
    )


def measure_activations(
    activations: LayerActivations | Any,
    *,
    expansion: float = 4,
    l1: float = 0.1,
    sae: SparseAutoencoder | None = None,
    samples: int = 10_000,
    seed: int = 0,
    **training: Any,
) -> SuperpositionResult:
    """As `measure_superposition`, of activations one already has.

    >>> from unsnarl.data.known._sparse_features import sparse_features
    >>> H = sparse_features(2_000, 8, sparsity=0.9)  # eight features, a neuron each
    >>> round(measure_activations(H, expansion=2, lr=1e-2).F)
    8

    Args:
        activations: a matrix (n, N), or what `record_layer` returned.
        expansion: D / N, at least 1.
        l1: weight of the mean absolute code in the training loss.
        sae: an autoencoder that was trained elsewhere; nothing is trained then.
        samples: the most rows to train on.
        seed: of the draw of rows and of the training.
        training: further keywords of `train_autoencoder`: tied, epochs, batch_size, lr, patience, progress.

    Raises:
        OptionError: D < N, or another option out of range.
        DataError: not a finite numeric matrix, or of another width than `sae` reads.

    Warns:
        EstimatorWarning: as `measure_superposition`.
    """
    return _warned(_measure(_as_layer(activations, samples, seed), expansion, l1, sae, seed=seed, **training))


def _measure(
    layer: LayerActivations, expansion: float, l1: float, sae: SparseAutoencoder | None, **training: Any
) -> SuperpositionResult:
    check_range(expansion, "expansion", low=0, open_low=True)
    features = int(expansion * layer.neurons)
    if sae is not None:
        if sae.inputs != layer.neurons:
            raise DataError(f"sae reads {sae.inputs} neurons, but the {layer.site} has {layer.neurons}")
        return encode_layer(layer, sae)
    if features < layer.neurons:
        raise OptionError(
            f"expansion={expansion!r} gives {features} features for {layer.neurons} neurons; an autoencoder needs at least as "
            "many (expansion >= 1); sweep_dictionary_size shows smaller ones beside"
        )
    return encode_layer(layer, train_autoencoder(layer.sample, features, l1=l1, **training), l1=l1)


def _warned(result: SuperpositionResult) -> SuperpositionResult:
    """Warn at the line that called the public function; of a dead layer that has been done."""
    if result.problems and result.F > 0:
        warnings.warn(f"F = {result.F:.1f} is unreliable: {'; '.join(result.problems)}", EstimatorWarning, stacklevel=3)
    return result


def sweep_dictionary_size(
    activations: LayerActivations | Any,
    *,
    expansions: Sequence[float] = (0.5, 1, 2, 4, 8, 16),
    l1: float = 0.1,
    samples: int = 10_000,
    seed: int = 0,
    **training: Any,
) -> list[SuperpositionResult]:
    """F for dictionaries of several sizes: whether it settles, or only follows D.

    A dictionary smaller than the layer (0.5) cannot hold as many features as there are neurons, so F <= D < N says nothing of
    superposition; it is trained and returned as the left end of the curve, flagged unreliable. Since a feature's penalty is
    l1 / D, equal l1 is a weaker pressure in a larger dictionary.

    Args:
        activations: a matrix (n, N), or what `record_layer` returned.
        expansions: D / N of each dictionary.
        l1: weight of the mean absolute code in the training loss.
        samples: the most rows to train on.
        seed: of the draw of rows and of the training.
        training: further keywords of `train_autoencoder`: tied, epochs, batch_size, lr, patience, progress.

    Returns:
        One result for each expansion, with its `problems`; nothing is warned of but a dead layer.

    Raises:
        OptionError: no expansions, or one so small that no feature is left.
        DataError: not a finite numeric matrix.

    Cost: that of training each; it grows with the sum of the sizes.
    """
    if not len(expansions):
        raise OptionError("expansions is empty; give at least one")
    layer = _as_layer(activations, samples, seed)
    for expansion in expansions:
        check_range(expansion, "expansions", low=1 / layer.neurons)
    sizes = [int(expansion * layer.neurons) for expansion in expansions]
    trained = (train_autoencoder(layer.sample, D, l1=l1, seed=seed, **training) for D in sizes)
    return [encode_layer(layer, autoencoder, l1=l1) for autoencoder in trained]


def _as_layer(activations: LayerActivations | Any, samples: int, seed: int) -> LayerActivations:
    if isinstance(activations, LayerActivations):
        return activations
    return LayerActivations.of(activations, samples=samples, seed=seed)


@torch.no_grad()
def encode_layer(
    layer: LayerActivations, trained: SparseAutoencoder | TrainedAutoencoder, *, l1: float | None = None
) -> SuperpositionResult:
    """F of a layer by an autoencoder: every row is encoded, in blocks."""
    sae = trained if isinstance(trained, SparseAutoencoder) else trained.sae
    activity = np.zeros(sae.features)
    total, squares = np.zeros(layer.neurons), 0.0
    errors, active = 0.0, 0
    device = sae.weight.device
    for whole in layer.again():
        for rows in whole.split(max(1, BLOCK // sae.features)):
            rows = rows.to(device)
            codes, reconstruction = sae(rows)
            activity += codes.sum(0, dtype=torch.float64).cpu().numpy()
            active += int((codes > 0).sum())
            errors += (rows - reconstruction).square().sum(dtype=torch.float64).item()
            squares += rows.square().sum(dtype=torch.float64).item()
            total += rows.sum(0, dtype=torch.float64).cpu().numpy()
    p = feature_shares(activity)
    F = features_of_shares(p)
    variance = squares - float(total @ total) / layer.rows
    fvu = errors / variance if variance > 1e-12 * max(squares, 1e-300) else (0.0 if errors == 0 else np.inf)
    result = SuperpositionResult(
        F=F,
        psi=F / layer.neurons,
        p=p,
        fvu=float(fvu),
        l0=active / layer.rows,
        sae=sae,
        D=sae.features,
        N=layer.neurons,
        l1=l1,
        rows=layer.rows,
        inputs=layer.inputs,
        layer=layer.layer,
        site=layer.site,
        signed=layer.signed,
        losses=np.zeros(0) if isinstance(trained, SparseAutoencoder) else trained.losses,
    )
    object.__setattr__(result, "problems", tuple(_problems(result, trained)))
    return result


def _problems(result: SuperpositionResult, trained: SparseAutoencoder | TrainedAutoencoder) -> list[str]:
    found = []
    if result.F == 0:
        found.append("every code is zero, so no feature is active")
    if not result.fvu <= UNRELIABLE_FVU:
        found.append(
            f"the autoencoder leaves {result.fvu:.0%} of the variance unexplained (more than {UNRELIABLE_FVU:.0%})"
        )
    if result.rows < result.D:
        found.append(f"{result.rows:,} rows are fewer than the {result.D:,} features")
    if result.D < result.N:
        found.append(f"{result.D} features cannot hold those of {result.N} neurons")
    if isinstance(trained, TrainedAutoencoder) and trained.converged is False:
        found.append(
            f"training ended after {len(trained.losses)} epochs while its loss was still falling, and F falls with it; raise epochs="
        )
    if isinstance(trained, SparseAutoencoder) and result.rows > result.inputs and result.inputs < ENOUGH_TEXTS:
        found.append(
            f"F grows with the amount of text and {result.inputs:,} texts are fewer than {ENOUGH_TEXTS:,}; use more, or feature_growth"
        )
    return found
