"""The tokenizer of the zoo's text encoders: a real `CLIPTokenizer` in which every word of the captions is one token."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from unsnarl.data.scenes import vocabulary
from unsnarl.zoo._extra import transformers

LENGTH = 24  # tokens, those for begin and end included
END = "</w>"
BEGIN_TOKEN, END_TOKEN = "<|startoftext|>", "<|endoftext|>"


def scene_tokenizer() -> Any:
    """A `CLIPTokenizer` of length 24 for the words of `unsnarl.data.scenes`; other words fall into bytes as usual.

    Like CLIP's it pads with the end token, and like CLIP's it can be given more tokens by `add_tokens`.

    Raises:
        MissingExtraError: transformers is not installed.

    Examples:
        >>> tokenizer = scene_tokenizer()
        >>> tokenizer.tokenize("a photo of a crimson cat")
        ['a</w>', 'photo</w>', 'of</w>', 'a</w>', 'crimson</w>', 'cat</w>']
    """
    merges = word_merges(vocabulary())
    letters = _byte_letters()
    tokens = [*letters, *(letter + END for letter in letters), *dict.fromkeys(a + b for a, b in merges)]
    vocab = {token: i for i, token in enumerate([*tokens, BEGIN_TOKEN, END_TOKEN])}
    return transformers().CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=LENGTH)


def word_merges(words: Iterable[str]) -> list[tuple[str, str]]:
    """Byte-pair merges, in order, that make each word one token.

    Each word is first merged by what is there already; what is left of it is joined from the left by new merges. These
    rank behind all earlier ones, so they change no word before.

    Examples:
        >>> word_merges(["cat", "car"])
        [('c', 'a'), ('ca', 't</w>'), ('ca', 'r</w>')]
    """
    ranks: dict[tuple[str, str], int] = {}
    for word in words:
        symbols = _merged([*word[:-1], word[-1] + END], ranks)
        while len(symbols) > 1:
            ranks[symbols[0], symbols[1]] = len(ranks)
            symbols = _merged([symbols[0] + symbols[1], *symbols[2:]], ranks)
    return list(ranks)


def _merged(symbols: list[str], ranks: dict[tuple[str, str], int]) -> list[str]:
    while True:
        known = [ranks[pair] for pair in pairwise(symbols) if pair in ranks]
        if not known:
            return symbols
        best, out = min(known), symbols[:1]
        for symbol in symbols[1:]:
            if ranks.get((out[-1], symbol)) == best:
                out[-1] += symbol
            else:
                out.append(symbol)
        symbols = out


def _byte_letters() -> list[str]:
    """The printable letters that byte-level tokenizers write the 256 bytes as (Radford et al. 2019)."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte if byte in plain else next(others)) for byte in range(256)]
