"""Text on its way into a fusion network: frozen vectors as they are, or words and pieces through an encoder that learns too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from unsnarl.arrays import to_numpy
from unsnarl.errors import DataError
from unsnarl.nn._text_host import TextHost
from unsnarl.nn._word_pieces import WordPieces

KINDS = ("vectors", "pieces", "words", "module")
"""What the steps of the text are: given vectors, the pieces of a sentence, its words, or whatever a module makes of it."""


class TextEncoder(nn.Module):
    """A host that turns what was read into one vector a step.

    Args:
        host: a `TextHost` for strings, words and ids; any other module is called with the text as it was given, and with
            `input_ids=`, `attention_mask=` where that is ids.
        kind: "pieces": a step is a piece. "words": a step is a word, the mean of its pieces. "module": up to the module.
        steps: number of steps.
        finetune: False keeps the host as it is, without dropout.
    """

    def __init__(self, host: nn.Module, kind: str, steps: int, *, finetune: bool = True):
        super().__init__()
        self.host, self.kind, self.steps, self.finetune = host, kind, steps, finetune
        if not finetune:
            for parameter in host.parameters():
                parameter.requires_grad_(False)
        for name, parameter in host.named_parameters():
            if name.startswith(("pooler.", "model.pooler.")):
                parameter.requires_grad_(False)  # not used, so it would never get a gradient

    def train(self, mode: bool = True) -> TextEncoder:
        """Training mode, but a frozen host stays in evaluation mode."""
        super().train(mode)
        if not self.finetune:
            self.host.eval()
        return self

    def forward(self, text: Tensor) -> Float[Tensor, "batch time width"]:
        """Vectors of what `read_text` gave."""
        with torch.set_grad_enabled(self.finetune and torch.is_grad_enabled()):
            if self.kind == "module" and (text.is_floating_point() or text.ndim != 3):
                vectors = self.host(text)
            elif self.kind == "module":
                vectors = self.host(input_ids=text[:, 0], attention_mask=text[:, 1])
            else:
                mask = text[:, 1].bool()
                vectors = self.host(text[:, 0], mask)
                if self.kind == "words":
                    vectors = WordPieces(text[:, 0], mask, text[:, 2]).mean(vectors, self.steps)
        vectors = getattr(vectors, "last_hidden_state", vectors)
        vectors = vectors[0] if isinstance(vectors, tuple | list) else vectors
        if not isinstance(vectors, Tensor) or vectors.ndim != 3:
            raise DataError("the text encoder must return vectors of shape (batch, time, width)")
        return vectors.float()


def read_text(host: nn.Module, text: Any, steps: int | None) -> tuple[Tensor, Bool[Tensor, "n time"] | None, str]:
    """Text as a tensor that `TextEncoder` takes, which of its steps hold something, and its kind.

    Args:
        host: the encoder.
        text: strings (a step is a piece, sentences are cut or filled to `steps`); lists of words (a step is a word); ids
            (n, 3, time): ids, attention mask, segments, as the MMSA files store them; numbers, for other modules.
        steps: steps of the other modalities; for text that is not aligned with them, None: the longest sentence's.

    Raises:
        DataError: none of these, more words than steps, or segments other than 0.
    """
    if isinstance(host, TextHost) and not hasattr(text, "ndim") and len(text) and not _is_numbers(text):
        if all(isinstance(sentence, str) for sentence in text):
            return _read_sentences(host, list(text), steps)
        return _read_words(host, text, steps)
    array = to_numpy(text, "text")
    if array.dtype.kind in "U":
        return read_text(host, array.tolist(), steps)
    whole = array.dtype.kind in "iu" or (
        array.ndim == 3 and array.shape[1] == 3 and bool((array == array.round()).all())
    )
    if whole and array.ndim == 3 and array.shape[1] == 3:
        if array[:, 2].any() and isinstance(host, TextHost):
            raise DataError("text has segments other than 0; each sample must be one sentence (ids, mask, zeros)")
        ids = torch.as_tensor(array.astype("int64"))
        return ids, ids[:, 1].bool(), "pieces" if isinstance(host, TextHost) else "module"
    if isinstance(host, TextHost):
        raise DataError(
            f"text must be strings, lists of words or ids of shape (n, 3, time), got an array of shape {array.shape}; vectors "
            "need text_encoder=None"
        )
    return torch.as_tensor(array if array.dtype.kind in "iu" else array.astype("float32")), None, "module"


def _is_numbers(text: Any) -> bool:
    first = text[0]
    while isinstance(first, list | tuple) and first:
        first = first[0]
    return not isinstance(first, str)


def _read_sentences(host: TextHost, text: list[str], steps: int | None) -> tuple[Tensor, Tensor, str]:
    padding = {"padding": "longest"} if steps is None else {"padding": "max_length", "max_length": steps}
    cut = host.tokenizer(text, truncation=True, padding_side="right", return_tensors="pt", **padding)
    ids, mask = cut["input_ids"], cut["attention_mask"]
    return torch.stack([ids, mask, torch.zeros_like(ids)], 1), mask.bool(), "pieces"


def _read_words(host: TextHost, text: Sequence[Sequence[str]], steps: int | None) -> tuple[Tensor, Tensor, str]:
    pieces = host.pieces(text, max_pieces=host.max_pieces)
    longest = max(map(len, text))
    steps = longest if steps is None else steps
    if longest > steps:
        raise DataError(f"a sentence of text has {longest} words, but the other modalities have {steps} steps")
    mask = torch.zeros(len(text), steps, dtype=torch.bool)
    for row, words in zip(mask, text, strict=True):
        row[: len(words)] = True
    return torch.stack([pieces.ids, pieces.mask.long(), pieces.word], 1), mask, "words"
