"""Where a word of a prompt stands among the tokens."""

from __future__ import annotations

import re
from typing import Any

from unsnarl.errors import DataError, OptionError


def find_word(text: str, word: str, occurrence: int | None = None) -> tuple[int, int]:
    """Begin and end of a word, or of several words, in a text.

    Args:
        text: a prompt.
        word: whole words, in any case of letters.
        occurrence: which one counts, from 0, if it is there more than once.

    Raises:
        DataError: it is not there.
        OptionError: it is there more than once and `occurrence` is absent, or there are fewer.

    Examples:
        >>> find_word("a cat and a category", "cat")
        (2, 5)
    """
    if not word.strip():
        raise DataError("word must not be empty")
    pattern = rf"(?<!\w){re.escape(word.strip())}(?!\w)"
    found = [match.span() for match in re.finditer(pattern, text, flags=re.IGNORECASE)]
    if not found:
        raise DataError(f"the word {word!r} is not in the prompt {text!r}")
    if occurrence is None:
        if len(found) > 1:
            raise OptionError(f"the word {word!r} is {len(found)} times in {text!r}; say which by occurrence=0, 1, ...")
        occurrence = 0
    if not 0 <= occurrence < len(found):
        raise OptionError(f"occurrence={occurrence} must be below {len(found)}, as often as {word!r} is in {text!r}")
    return found[occurrence]


def token_positions(tokenizer: Any, text: str, word: str, occurrence: int | None = None) -> list[int]:
    """Positions of a word's tokens in the tokenized text, the begin token being number 0.

    Args:
        tokenizer: of transformers; one that splits words before it splits within them, as CLIP's does.
        text: a prompt.
        word: whole words.
        occurrence: which one counts, from 0, if it is there more than once.

    Raises:
        DataError: the word is not there, or lies beyond the tokenizer's length.
        OptionError: it is there more than once and `occurrence` is absent.

    Examples:
        >>> from unsnarl.zoo import scene_tokenizer
        >>> token_positions(scene_tokenizer(), "a photo of a cat", "cat")
        [5]
    """
    begin, end = find_word(text, word, occurrence)
    before = len(tokenizer(text[:begin].rstrip(), add_special_tokens=False).input_ids) if text[:begin].strip() else 0
    count = len(tokenizer(text[begin:end], add_special_tokens=False).input_ids)
    positions = list(range(1 + before, 1 + before + count))
    if positions[-1] >= tokenizer.model_max_length - 1:
        raise DataError(
            f"the word {word!r} is token {positions[-1]}, beyond the {tokenizer.model_max_length} tokens a text can have"
        )
    return positions
