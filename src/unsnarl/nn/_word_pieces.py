"""Words to pieces and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unsnarl.arrays import check_range
from unsnarl.errors import DataError


@dataclass(frozen=True, eq=False)
class WordPieces:
    """Sentences as pieces, and which word each piece is of.

    Attributes:
        ids: what the encoder reads, (sentence, piece).
        mask: whether a place holds a piece or a pad.
        word: index of the word that a piece belongs to; -1 for special pieces ([CLS], [SEP]) and pads.
    """

    ids: Int[Tensor, "sentence piece"]
    mask: Bool[Tensor, "sentence piece"]
    word: Int[Tensor, "sentence piece"]

    def __len__(self) -> int:
        return len(self.ids)

    def repeat(self, features: Float[Tensor, "sentence word feature"]) -> Float[Tensor, "sentence piece feature"]:
        """Each piece with the features of its word; rows of special pieces and pads are zeros.

        Raises:
            DataError: another number of sentences, or fewer words than the pieces refer to.
        """
        if len(features) != len(self.ids) or (self.word.numel() and int(self.word.max()) >= features.shape[1]):
            raise DataError(
                f"features of shape {tuple(features.shape)} do not fit {len(self)} sentences whose pieces refer to "
                f"{int(self.word.max()) + 1} words; word features need one row a word"
            )
        if not features.shape[1]:
            return features.new_zeros(*self.word.shape, features.shape[2])
        place = self.word.to(features.device).clamp_min(0)
        repeated = features.gather(1, place[:, :, None].expand(-1, -1, features.shape[2]))
        return repeated * (self.word.to(features.device) >= 0)[:, :, None]

    def mean(
        self, vectors: Float[Tensor, "sentence piece width"], n_words: int | None = None
    ) -> Float[Tensor, "sentence word width"]:
        """Each word with the mean of its pieces' vectors; words without a piece get zeros.

        Args:
            vectors: one vector a piece.
            n_words: number of words of the result; the largest index that occurs + 1 when absent.

        Raises:
            DataError: vectors of other sentences or pieces, or fewer words asked for than there are.
        """
        if vectors.shape[:2] != self.word.shape:
            raise DataError(
                f"vectors of shape {tuple(vectors.shape)} do not fit pieces of shape {tuple(self.word.shape)}"
            )
        used = int(self.word.max()) + 1 if self.word.numel() else 0
        n_words = used if n_words is None else n_words
        if n_words < used:
            raise DataError(f"n_words={n_words}, but the pieces refer to {used} words")
        word = self.word.to(vectors.device)
        place = torch.where(word >= 0, word, n_words)  # one row more than there are words takes what is no word's
        sums = vectors.new_zeros(len(vectors), n_words + 1, vectors.shape[2])
        sums = sums.scatter_add(1, place[:, :, None].expand_as(vectors), vectors)
        counts = vectors.new_zeros(len(vectors), n_words + 1).scatter_add(
            1, place, torch.ones_like(place, dtype=vectors.dtype)
        )
        return sums[:, :n_words] / counts[:, :n_words, None].clamp_min(1)


def word_pieces(
    tokenizer: Any, sentences: Sequence[Sequence[str]], *, max_pieces: int = 50, fill: bool = False
) -> WordPieces:
    """Cut the words of sentences into the pieces of a fast tokenizer of transformers, with its special pieces around them.

    Args:
        tokenizer: a fast tokenizer, which knows the word of each piece.
        sentences: sentences as lists of words.
        max_pieces: what is longer is cut, special pieces included (50 in the official code of ITHP).
        fill: pad to `max_pieces`, not to the longest of these sentences.

    Returns:
        Pieces, padded on the right.

    Raises:
        DataError: no sentence, a sentence that is not a list of words, or a word that is not a string.
        OptionError: no room for a piece beside the special ones.
    """
    check_range(max_pieces, "max_pieces", low=3, integer=True)
    check_sentences(sentences)
    cut = tokenizer(
        [list(words) for words in sentences],
        is_split_into_words=True,
        truncation=True,
        max_length=int(max_pieces),
        padding="max_length" if fill else True,
        padding_side="right",
    )
    mask = torch.tensor(cut["attention_mask"]).bool()
    word = torch.tensor([[-1 if w is None else w for w in cut.word_ids(i)] for i in range(len(sentences))])
    return WordPieces(torch.tensor(cut["input_ids"]), mask, torch.where(mask, word, -1))


def check_sentences(sentences: Any) -> None:
    """Refuse what is not a list of lists of words.

    Raises:
        DataError: no sentence, a sentence that is a string or no list, or a word that is not a string.
    """
    if isinstance(sentences, str) or not hasattr(sentences, "__len__") or len(sentences) == 0:
        raise DataError("sentences must be a list of lists of words, with at least one sentence")
    for i, words in enumerate(sentences):
        if isinstance(words, str) or not hasattr(words, "__len__"):
            raise DataError(f"sentence {i} is {type(words).__name__}, not a list of words; use text.split()")
        for word in words:
            if not isinstance(word, str):
                raise DataError(f"sentence {i} holds {word!r}, which is not a string")
