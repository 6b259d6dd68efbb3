"""A causal language model, opened at its head: tokens in, hidden states and logits out, checked once that they belong together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unsnarl.errors import DataError, OptionError
from unsnarl.measures.language._heads import (
    LanguageHead,
    check_head_input,
    configured,
    find_head,
    probability_gap,
)
from unsnarl.nn._recorder import ActivationRecorder, find_layers

Tokens = Int[Tensor, "batch length"]


@dataclass(frozen=True, eq=False)
class OpenedModel:
    """A model whose head has been found and checked.

    Attributes:
        model: the model, left as it is.
        head: what turns h into logits.
        layer: name of the head's layer; h is its input.
        vocabulary: number of tokens V.
        dimension: number of entries d of h.
    """

    model: nn.Module
    head: LanguageHead
    layer: str
    vocabulary: int
    dimension: int

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))

    def __call__(
        self, tokens: Tokens, mask: Int[Tensor, "batch length"] | None = None
    ) -> tuple[Float[Tensor, "batch length d"], Float[Tensor, "batch length V"]]:
        """Hidden states at the head's input and the model's own logits, both at least float32."""
        hidden, logits = _run(self.model, self.layer, tokens.to(self.device), mask)
        return _at_least_float32(hidden), _at_least_float32(logits)


def open_model(
    model: Any,
    *,
    head: str | nn.Module | None = None,
    probe: Tokens | None = None,
    tolerance: float = 1e-3,
) -> OpenedModel:
    """Find a causal language model's head, and check by running it that h and the head give the model's probabilities.

    Args:
        model: `AutoModelForCausalLM` of transformers, or a module that turns tokens (batch, length) into logits
            (batch, length, V) and keeps its head under one of the usual names.
        head: name of the head's layer, or the layer, where it is not found by itself.
        probe: tokens (batch, length) to try it on; small numbers when absent.
        tolerance: largest difference of a probability.

    Raises:
        DataError: no language model, no head, an encoder (it looks at later tokens), or a head that does not give the
            model's probabilities.
        UnknownNameError: no layer of that name.
        OptionError: not a network.
    """
    if isinstance(model, OpenedModel):
        return model
    if not isinstance(model, nn.Module):
        raise OptionError(f"model must be a network that turns tokens into logits, got {type(model).__name__}")
    if head is None:
        name, module = find_head(model)
    else:
        find_head(model, required=False)  # refuses an encoder-decoder
        name, module = next(iter(find_layers(model, head).items()))
    assert module is not None
    if probe is None:
        probe = torch.arange(2 * 6).reshape(2, 6) % 7
    if probe.shape[1] < 3:
        raise DataError(f"probe needs sequences of at least 3 tokens, got {probe.shape[1]}")
    with evaluating(model), torch.no_grad():
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        probe = probe.to(device)
        hidden, logits = _run(model, name, probe, None)
        _refuse_look_ahead(model, name, probe, logits)
        found = _that_fits(model, module, hidden, logits, tolerance)
    return OpenedModel(model, replace(found, name=name), name, int(logits.shape[-1]), int(hidden.shape[-1]))


def _that_fits(model: nn.Module, module: nn.Module, hidden: Tensor, logits: Tensor, tolerance: float) -> LanguageHead:
    """The head with the scale and soft-cap that reproduce the model's probabilities."""
    plain = LanguageHead.of(module) if isinstance(module, nn.Linear) else LanguageHead(function=module)
    stated = configured(model)
    if plain.weight is None:
        function = plain.function
        assert function is not None
        bare = LanguageHead(scale=stated.get("scale", 1.0), softcap=stated.get("softcap"), function=function)
        options = [plain] if not stated else [LanguageHead(function=lambda h: bare.shaped(function(h))), plain]
    else:
        options = [replace(plain, **stated)]
        options += [replace(plain, **{key: value}) for key, value in stated.items()] if len(stated) > 1 else []
        options += [plain] if stated else []
    for option in options:
        if probability_gap(option, _at_least_float32(hidden), logits) <= tolerance:
            return option
    check_head_input(options[0], hidden, logits, tolerance=tolerance)
    raise AssertionError("unreachable")  # the check has raised


def _refuse_look_ahead(model: nn.Module, name: str, probe: Tokens, logits: Tensor) -> None:
    """Change the last token: a causal model's earlier logits do not move."""
    changed = probe.clone()
    changed[:, -1] = (changed[:, -1] + 1) % logits.shape[-1]
    _, after = _run(model, name, changed, None)
    moved = (after[:, :-1].float().softmax(-1) - logits[:, :-1].float().softmax(-1)).abs().max()
    if float(moved) > 1e-3:
        raise DataError(
            f"{type(model).__name__} is an encoder: its predictions change with later tokens (by {float(moved):.2g}), but "
            "these measures are of causal language models"
        )


def _run(
    model: nn.Module, layer: str, tokens: Tokens, mask: Int[Tensor, "batch length"] | None
) -> tuple[Tensor, Tensor]:
    with ActivationRecorder(model, [layer], side="input") as seen:
        if hasattr(model, "config") and callable(getattr(model, "get_output_embeddings", None)):
            keywords: dict[str, Any] = {"use_cache": False} if hasattr(model.config, "use_cache") else {}
            if mask is not None:
                keywords["attention_mask"] = mask.to(tokens.device)
            output = model(input_ids=tokens, **keywords)
        else:
            output = model(tokens)
        hidden = seen[layer]
    logits = getattr(output, "logits", output)
    if isinstance(logits, tuple | list):
        logits = logits[0]
    if not isinstance(logits, Tensor) or logits.ndim != 3 or logits.shape[:2] != tokens.shape:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise DataError(
            f"{type(model).__name__} must turn tokens {tuple(tokens.shape)} into logits (batch, length, V); it gave {found}"
        )
    if hidden.shape[:-1] != logits.shape[:-1]:
        raise DataError(
            f"the input of {layer!r} has shape {tuple(hidden.shape)}, the logits {tuple(logits.shape)}; it is not this "
            "model's head"
        )
    return hidden, logits


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode; every part of it is put back into the mode it was in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _at_least_float32(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
