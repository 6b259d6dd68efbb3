"""The head of a language model: the map from the hidden state h to next-token logits, and the numbers it makes of them.

k_head(h) = softmax(f(h)). For nearly every model f is linear, followed by at most a scale and a soft-cap,

    f(h) = c tanh(s (W h + b) / c),    W (V, d),

and all that is asked of it is then quick. Any other function is handled through automatic differentiation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from unsnarl.arrays import check_finite, check_range, to_numpy
from unsnarl.errors import DataError, OptionError

HEAD_NAMES = ("lm_head", "head", "unembed", "to_logits", "embed_out", "output", "decoder")
"""Attributes under which models that are not of transformers keep their head."""
SOFTCAPS = ("final_logit_softcapping", "logits_soft_cap", "softcap")
SCALES = {"logit_scale": 1, "lm_head_multiplier": 1, "logits_scaling": -1}
"""Numbers in a model's configuration that its logits are multiplied (1) or divided (-1) by."""

_BLOCK = 8192  # rows of W that are turned into float64 at a time

Hidden = Float[Tensor, "*batch d"]
Logits = Float[Tensor, "*batch V"]


@dataclass(frozen=True, eq=False)
class LanguageHead:
    """A map from hidden states (*, d) to logits (*, V).

    Attributes:
        weight: W (V, d), or None for a head that is only known as a function.
        bias: b (V,), or None.
        scale: s.
        softcap: c, or None for none.
        function: the map itself where `weight` is None.
        name: where it was found in its model.
    """

    weight: Float[Tensor, "V d"] | None = None
    bias: Float[Tensor, " V"] | None = None
    scale: float = 1.0
    softcap: float | None = None
    function: Callable[[Tensor], Tensor] | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if (self.weight is None) == (self.function is None):
            raise OptionError("a head has either a weight or a function")
        check_range(self.scale, "scale")
        if self.softcap is not None:
            check_range(self.softcap, "softcap", low=0, open_low=True)

    @classmethod
    def of(cls, head: Any) -> LanguageHead:
        """The head that is meant by a matrix W (V, d), a linear layer, a language model, or any function of h.

        For a model of transformers the scale and soft-cap are read from its configuration. Half precision becomes float32.

        Raises:
            DataError: a matrix that is not (V, d), or a model without a language-model head.
            OptionError: none of these.
        """
        if isinstance(head, LanguageHead):
            return head
        if isinstance(head, nn.Module) and not isinstance(head, nn.Linear):
            name, module = find_head(head, required=False)
            if module is not None:
                return replace(cls.of(module), name=name, **configured(head))
        if isinstance(head, nn.Linear):
            bias = None if head.bias is None else _full(head.bias)
            return cls(weight=_full(head.weight), bias=bias)
        if isinstance(head, Tensor | np.ndarray):
            weight = head if isinstance(head, Tensor) else torch.from_numpy(np.ascontiguousarray(head))
            if weight.ndim != 2 or weight.numel() == 0:
                raise DataError(f"the head's weight must be (vocabulary, d), got shape {tuple(weight.shape)}")
            return cls(weight=_full(weight))
        if callable(head):
            return cls(function=head)
        raise OptionError(
            f"model={type(head).__name__} is no head: pass a language model, its head, a weight (V, d), or a function of h"
        )

    @property
    def linear(self) -> bool:
        """Whether logits are W h + b times a number: what several formulas are exact for."""
        return self.weight is not None and self.softcap is None

    @property
    def dimension(self) -> int | None:
        """The number of entries of h, where it is known."""
        return None if self.weight is None else int(self.weight.shape[1])

    def __call__(self, hidden: Hidden) -> Logits:
        """Logits of hidden states, in their precision, at least float32; gradients flow."""
        if self.weight is None:
            assert self.function is not None
            logits = self.function(hidden)
            if not isinstance(logits, Tensor) or logits.shape[:-1] != hidden.shape[:-1]:
                found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
                raise DataError(
                    f"the head must turn hidden states (*, d) into logits (*, V); of {tuple(hidden.shape)} it made {found}"
                )
            return logits
        if hidden.shape[-1] != self.weight.shape[1]:
            raise DataError(
                f"h has {hidden.shape[-1]} entries, but the head takes {self.weight.shape[1]}; pass the input of the head"
            )
        wide = torch.promote_types(hidden.dtype, self.weight.dtype)
        if wide == self.weight.dtype:
            logits = nn.functional.linear(hidden.to(wide), self.weight, self.bias)
        else:  # a float64 copy of W block by block
            parts = [hidden @ rows.to(wide).T for rows in self.weight.split(_BLOCK)]
            logits = torch.cat(parts, dim=-1)
            logits = logits if self.bias is None else logits + self.bias.to(wide)
        return self.shaped(logits)

    def shaped(self, raw: Logits) -> Logits:
        """What the scale and the soft-cap make of W h + b."""
        logits = raw if self.scale == 1 else raw * self.scale
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)

    def slopes(self, logits: Logits) -> Logits | None:
        """The derivative of these logits by W h + b, entry by entry; None where it is 1 everywhere."""
        if self.softcap is None:
            return None if self.scale == 1 else torch.full_like(logits, self.scale)
        return self.scale * (1 - (logits / self.softcap) ** 2)


def as_hidden(hidden: Any, argument: str = "h") -> Hidden:
    """Checked hidden states as a floating tensor; half precision becomes float32.

    Raises:
        DataError: no numbers, no entries, or not finite.
    """
    if isinstance(hidden, Tensor):
        states = hidden
    else:
        array = to_numpy(hidden, argument)
        if array.dtype.kind not in "iuf":
            raise DataError(f"{argument} must hold numbers, got dtype {array.dtype}")
        check_finite(array, argument)
        states = torch.from_numpy(np.ascontiguousarray(array))
    if not states.is_floating_point():
        states = states.double()
    if states.ndim == 0 or states.numel() == 0:
        raise DataError(f"{argument} has shape {tuple(states.shape)}; hidden states are (d,) or (n, d)")
    if not bool(torch.isfinite(states.detach()).all()):
        raise DataError(f"{argument} has values that are not finite")
    return states.float() if states.dtype in (torch.float16, torch.bfloat16) else states


def find_head(model: nn.Module, *, required: bool = True) -> tuple[str, nn.Module | None]:
    """Name and module of a model's language-model head.

    transformers models say themselves; of others the attributes `HEAD_NAMES` are tried.

    Raises:
        DataError: an encoder-decoder or a model without a head, where one is required.
    """
    config = getattr(model, "config", None)
    if getattr(config, "is_encoder_decoder", False):
        raise DataError(
            f"{type(model).__name__} is an encoder-decoder; a causal language model (AutoModelForCausalLM) is needed"
        )
    module = None
    if callable(getattr(model, "get_output_embeddings", None)):
        module = model.get_output_embeddings()  # type: ignore[operator]
    else:
        module = next((m for n in HEAD_NAMES if isinstance(m := getattr(model, n, None), nn.Module)), None)
    if module is None:
        if required:
            raise DataError(
                f"{type(model).__name__} has no language-model head; load a model with one (AutoModelForCausalLM), or name "
                "the layer with head="
            )
        return "", None
    name = next((n for n, m in model.named_modules() if m is module), "")
    return name, module


def configured(model: Any) -> dict[str, Any]:
    """Scale and soft-cap as a model's configuration states them."""
    config = getattr(model, "config", None)
    get_text = getattr(config, "get_text_config", None)
    config = get_text() if callable(get_text) else config
    found: dict[str, Any] = {}
    for name in SOFTCAPS:
        value = getattr(config, name, None)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            found.setdefault("softcap", float(value))
    scale = 1.0
    for name, power in SCALES.items():
        value = getattr(config, name, None)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            scale *= float(value) ** power
    if scale != 1.0:
        found["scale"] = scale
    return found


def probability_gap(head: LanguageHead, hidden: Hidden, logits: Float[Tensor, "*batch V"]) -> float:
    """The largest difference between the probabilities the head makes of h and those of the logits."""
    with torch.no_grad():
        made = head(hidden.float())
        if made.shape != logits.shape:
            return math.inf
        gap = (made.float().softmax(-1) - logits.float().softmax(-1)).abs().max()
    return float(gap)


def check_head_input(
    head: Any,
    hidden: Any,
    logits: Any,
    *,
    tolerance: float = 1e-3,
    norm: Callable[[Tensor], Tensor] | None = None,
) -> None:
    """Refuse hidden states that do not give the model's own probabilities through its head.

    The two usual mistakes are named: h taken before the final norm, and logits taken before the soft-cap.

    Args:
        head: anything `LanguageHead.of` takes.
        hidden: (*batch, d) what is believed to be the input of the head.
        logits: (*batch, V) the model's own.
        tolerance: largest difference of a probability.
        norm: the model's final norm, to tell whether it was forgotten.

    Raises:
        DataError: the probabilities differ by more than the tolerance, or the shapes do not fit.
        OptionError: tolerance not above 0.
    """
    check_range(tolerance, "tolerance", low=0, open_low=True)
    head = LanguageHead.of(head)
    hidden = as_hidden(hidden)
    logits = as_hidden(logits, "logits")
    if hidden.shape[:-1] != logits.shape[:-1]:
        raise DataError(f"h has shape {tuple(hidden.shape)}, logits {tuple(logits.shape)}; one row of each a context")
    gap = probability_gap(head, hidden, logits)
    if gap <= tolerance:
        return
    start = f"the head makes other probabilities of h than the logits say (largest difference {gap:.3g}, tolerance {tolerance:g})"
    if norm is not None:
        with torch.no_grad():
            if probability_gap(head, norm(hidden), logits) <= tolerance:
                raise DataError(f"{start}: h was taken before the final norm; take the input of the head itself")
    if head.softcap is not None and probability_gap(replace(head, softcap=None), hidden, logits) <= tolerance:
        raise DataError(
            f"{start}: the logits were taken before the soft-cap of {head.softcap:g}; take those of the model"
        )
    raise DataError(f"{start}: h is not what this head takes, or something more happens to the logits after it")


def _full(weight: Tensor) -> Tensor:
    weight = weight.detach()
    if not weight.is_floating_point():
        return weight.float()
    return weight.float() if weight.dtype in (torch.float16, torch.bfloat16) else weight
