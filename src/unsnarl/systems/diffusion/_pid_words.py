"""Words of a prompt: which one is meant, the prompt without it, and the words alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unsnarl.arrays import check_choice
from unsnarl.diffusion._conditions import Condition
from unsnarl.diffusion._words import find_word
from unsnarl.errors import DataError, OptionError

DELETIONS = ("string", "padding")
Word = str | tuple[str, int]
"""A word (or several in a row) of a prompt; with a number, which of several occurrences is meant, from 0."""


@dataclass(frozen=True)
class Mention:
    """A word where it stands in its prompt.

    Attributes:
        text: as it is written there.
        begin: of its letters.
        end: behind them.
        occurrence: which of the word's occurrences it is, where that was said.
    """

    text: str
    begin: int
    end: int
    occurrence: int | None = None

    def __str__(self) -> str:
        return self.text


def mention(prompt: str, word: Word, argument: str = "words") -> Mention:
    """The place of a word.

    Args:
        prompt: where it stands.
        word: the word, or (word, occurrence) where it stands more than once.
        argument: named in errors.

    Raises:
        DataError: it is not in the prompt.
        OptionError: it is there more than once and no occurrence is named, there are fewer, or it is not a word.

    Examples:
        >>> mention("a cat and a Cat", ("cat", 1))
        Mention(text='Cat', begin=12, end=15, occurrence=1)
    """
    which: int | None = None
    if isinstance(word, tuple):
        if len(word) != 2 or not isinstance(word[0], str) or not isinstance(word[1], int) or isinstance(word[1], bool):
            raise OptionError(f"{argument} holds {word!r}; a word is text, or (text, occurrence) such as ('cat', 1)")
        word, which = word
    if not isinstance(word, str):
        raise OptionError(f"{argument} holds {word!r}; a word is text, or (text, occurrence) such as ('cat', 1)")
    try:
        begin, end = find_word(prompt, word, which)
    except OptionError as error:
        if which is not None:
            raise
        raise OptionError(
            f"{argument}: {word!r} is more than once in {prompt!r}; say which, as ({word!r}, 0) or ({word!r}, 1)"
        ) from error
    return Mention(prompt[begin:end], begin, end, which)


def mentions(prompt: str, words: Sequence[Word], argument: str = "words") -> tuple[Mention, ...]:
    """The places of several words, in the order given.

    Raises:
        DataError: one is not in the prompt.
        OptionError: one is there more than once and no occurrence is named, or two of them share letters.
    """
    found = tuple(mention(prompt, word, argument) for word in words)
    for i, one in enumerate(found):
        for other in found[:i]:
            if one.begin < other.end and other.begin < one.end:
                same = "is named twice" if one.begin == other.begin and one.end == other.end else "overlaps another"
                raise OptionError(f"{argument}: {one.text!r} {same}; name words that share no letters")
    return found


def without(prompt: str, deleted: Sequence[Mention]) -> str:
    """The prompt without some words; spaces that this leaves are joined, and none stays before a comma or full stop.

    Examples:
        >>> prompt = "a cow, and a giraffe"
        >>> without(prompt, mentions(prompt, ["cow"]))
        'a, and a giraffe'
    """
    out = prompt
    for one in sorted(deleted, key=lambda m: -m.begin):
        out = out[: one.begin] + " " + out[one.end :]
    return re.sub(r" +([,.;:!?])", r"\1", re.sub(r"\s+", " ", out)).strip()


def alone(chosen: Sequence[Mention]) -> str:
    """Some words by themselves, in the order of the prompt.

    Examples:
        >>> prompt = "a red cat"
        >>> alone(mentions(prompt, ["cat", "red"]))
        'red cat'
    """
    return " ".join(one.text for one in sorted(chosen, key=lambda m: m.begin))


def padded(prompt: str, deleted: Sequence[Mention], tokenizer: Any) -> str:
    """The prompt with as many padding tokens in the place of each word as the word has, so that the others keep their positions.

    Args:
        prompt: the prompt.
        deleted: its words that go.
        tokenizer: of transformers; its padding token, written in the text, is read as that token.

    Examples:
        >>> from unsnarl.zoo import scene_tokenizer
        >>> padded("a red cat", mentions("a red cat", ["red"]), scene_tokenizer())
        'a <|endoftext|> cat'
    """
    out = prompt
    for one in sorted(deleted, key=lambda m: -m.begin):
        count = len(tokenizer(one.text, add_special_tokens=False).input_ids)
        out = out[: one.begin] + " ".join([tokenizer.pad_token] * count) + out[one.end :]
    return out


def told_without(host: Any, prompt: str, deleted: Sequence[Mention], deletion: str) -> Condition:
    """What the denoiser reads of a prompt without some words.

    Args:
        host: whose texts they are.
        prompt: the prompt.
        deleted: its words that go.
        deletion: "string": the prompt is written without them. "padding": padding tokens stand in their place, so that the other
            words keep their positions. The pooled vector of hosts that read one comes from the string: it is taken at the first
            end token, and padding may be that token.

    Raises:
        OptionError: another deletion, or "padding" for encoders that pad with different tokens.
    """
    check_choice(deletion, DELETIONS, "deletion")
    plain = host.encode_texts([without(prompt, deleted)])
    if deletion == "string" or not deleted:
        return plain
    there = (getattr(host.pipeline, f"tokenizer{end}", None) for end in ("", "_2", "_3"))
    tokenizers = [one for one in there if one is not None]
    if len({one.pad_token for one in tokenizers}) != 1:
        used = ", ".join(repr(one.pad_token) for one in tokenizers)
        raise OptionError(f"deletion='padding' needs text encoders that pad with one token; these have {used}")
    context = host.encode_texts([padded(prompt, deleted, tokenizers[0])]).context
    return Condition(context, plain.pooled)


def check_length(host: Any, prompt: str) -> None:
    """Refuse a prompt whose end the text encoder would not read: what is said of words there would be about nothing.

    Raises:
        DataError: it has more tokens than are read.
    """
    tokenizer = getattr(getattr(host, "pipeline", None), "tokenizer", None)
    if tokenizer is None:
        return
    count = len(tokenizer(prompt, truncation=False).input_ids)
    if count > tokenizer.model_max_length:
        raise DataError(
            f"prompt has {count} tokens and the text encoder reads {tokenizer.model_max_length}; shorten it: {prompt!r}"
        )


class Told:
    """What a host reads of texts and of a prompt without some of its words, each asked once.

    Args:
        host: with `encode_texts`.
        deletion: how words leave a prompt.

    Attributes:
        conditions: text -> what the host reads.
    """

    def __init__(self, host: Any, deletion: str):
        self.host, self.deletion = host, deletion
        self.conditions: dict[str, Condition] = {}

    def tell(self, text: str) -> str:
        """A text; its own name in `conditions`."""
        if text not in self.conditions:
            self.conditions[text] = self.host.encode_texts([text])
        return text

    def drop(self, prompt: str, gone: Sequence[Mention]) -> str:
        """The prompt without words, by what is left; padding leaves their places."""
        key = without(prompt, gone)
        if self.deletion == "padding" and gone:
            key += " | " + ", ".join(f"{one.text} at {one.begin}" for one in sorted(gone, key=lambda m: m.begin))
        if key not in self.conditions:
            self.conditions[key] = told_without(self.host, prompt, gone, self.deletion)
        return key
