"""How surprising a word is in its prompt, for the redundancy of Finn and Lizier: -log p from a masked language model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from unsnarl.errors import DataError, FileError, OptionError
from unsnarl.information._pointwise_pid import check_surprisals
from unsnarl.systems.diffusion._pid_words import Mention
from unsnarl.zoo._extra import transformers

UNIFORM = "uniform"


def read_prior(prior: Any) -> Any:
    """A prior as `word_surprisals` takes it, with the model of a name loaded.

    Raises:
        OptionError: none of what it may be.
        FileError: the model cannot be had.
    """
    if isinstance(prior, str):
        return prior if prior == UNIFORM else _load(prior)
    pair = tuple(prior) if isinstance(prior, Sequence) else ()
    if len(pair) == 2 and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in pair):
        if not all(0 < value <= 1 for value in pair):
            raise OptionError(f"prior={prior!r} must be two probabilities above 0 and at most 1")
        return pair
    if len(pair) == 2 and callable(pair[0]) and callable(pair[1]):
        return pair
    raise OptionError(
        f"prior={prior!r} must be 'uniform', two probabilities, the name of a masked language model, or (model, tokenizer)"
    )


def word_surprisals(prior: Any, prompt: str, words: Sequence[Mention]) -> tuple[float, float] | None:
    """-log p(y_1) and -log p(y_2), in nats.

    Args:
        prior: "uniform" for equal ones; two probabilities in (0, 1]; the name or folder of a masked language model such as
            "bert-base-uncased"; or a pair (model, tokenizer) of transformers.
        prompt: where the words stand.
        words: two of its words.

    Returns:
        The surprisals, or None for "uniform", where only their being equal matters.

    Raises:
        OptionError: something else.
        FileError: the model cannot be had.
        DataError: the model reads a word as nothing.
    """
    prior = read_prior(prior)
    if isinstance(prior, str):
        return None
    if callable(prior[0]):
        first, second = (_surprisal(prior[0], prior[1], prompt, word) for word in words)
        return first, second
    return check_surprisals([float(-torch.tensor(float(value), dtype=torch.float64).log()) for value in prior])


def _load(name: str) -> tuple[Any, Any]:
    library = transformers()
    try:
        return library.AutoModelForMaskedLM.from_pretrained(name).eval(), library.AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise FileError(
            f"prior={name!r} is neither a folder here nor a masked language model that the hub gives"
        ) from error


@torch.no_grad()
def _surprisal(model: Any, tokenizer: Any, prompt: str, word: Mention) -> float:
    """-log p of all pieces of a word, masked together, given the rest of the prompt."""
    read = tokenizer(word.text, add_special_tokens=False).input_ids
    if not read:
        raise DataError(f"the language model reads the word {word.text!r} as nothing")
    masks = " ".join([tokenizer.mask_token] * len(read))
    told = tokenizer(prompt[: word.begin] + masks + prompt[word.end :], return_tensors="pt")
    at = (told.input_ids[0] == tokenizer.mask_token_id).nonzero()[:, 0]
    if len(at) != len(read):
        raise DataError(f"the language model cannot mask the word {word.text!r} in {prompt!r}")
    chances = model(**told).logits[0, at].double().log_softmax(-1)
    return float(-chances[torch.arange(len(read)), torch.tensor(read)].sum())
