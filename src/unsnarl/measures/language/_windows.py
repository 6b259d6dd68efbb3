"""Texts as windows of tokens, and what a model says at each of their contexts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unsnarl.arrays import check_range, to_numpy
from unsnarl.errors import DataError, FileError
from unsnarl.files import check_readable
from unsnarl.measures.language._entropy import entropies_of
from unsnarl.measures.language._opened import OpenedModel, evaluating

Windows = list[Int[Tensor, "_"]]


def read_texts(path: Any) -> list[str]:
    """The texts of a file: of .jsonl each line's "text" (or the line itself, a string), else paragraphs between blank lines.

    A file without blank lines gives its lines when there are at least ten, else one text.

    Raises:
        FileError: missing, not readable as UTF-8, or a line of .jsonl that holds no text.
        DataError: no text in it.
    """
    file = check_readable(path)
    try:
        content = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FileError(f"{file} is not UTF-8 text ({error.reason} at byte {error.start})") from None
    if Path(file).suffix.lower() == ".jsonl":
        texts = [_line_text(line, number, file) for number, line in enumerate(content.splitlines(), 1) if line.strip()]
    else:
        texts = [part.strip() for part in content.replace("\r\n", "\n").split("\n\n")]
        texts = [text for text in texts if text]
        if len(texts) == 1 and len(lines := [line for line in texts[0].split("\n") if line.strip()]) >= 10:
            texts = lines
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise DataError(f"{file} holds no text")
    return texts


def _line_text(line: str, number: int, file: Path) -> str:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise FileError(f"line {number} of {file} is not JSON: {error.msg}") from None
    text = value.get("text") if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise FileError(f'line {number} of {file} has no text; each line must be a string or have a "text"')
    return text


class Cut(NamedTuple):
    """Windows of texts, how many texts they come from and how many there were."""

    windows: Windows
    read: int
    given: int


def windows_of(
    texts: Any, tokenizer: Any, *, length: int, shortest: int, enough: int | None = None, seed: int = 0
) -> Cut:
    """Texts, in random order, cut into windows of at most `length` tokens; those of fewer than `shortest` are left out.

    Args:
        texts: strings; or, without a tokenizer, rows of token ids.
        tokenizer: of transformers, or a function from a text to its ids; None for token ids.
        length: most tokens of a window.
        shortest: fewest.
        enough: stop when the windows have this many tokens beyond their first `shortest - 1`, and there are ten of them;
            None reads all texts.
        seed: of the order of the texts.

    Raises:
        DataError: not texts, or none is long enough.
    """
    if isinstance(texts, str):
        texts = [texts]
    if not isinstance(texts, Iterable):
        raise DataError(f"texts must be a list of strings, got {type(texts).__name__}")
    given = list(texts)
    windows: Windows = []
    contexts = read = 0
    for i in np.random.default_rng(seed).permutation(len(given)):
        parts = [part for part in _tokens(given[int(i)], tokenizer).split(length) if len(part) >= shortest]
        windows += parts
        contexts += sum(len(part) - shortest + 1 for part in parts)
        read += 1
        if enough is not None and contexts >= enough and len(windows) >= 10:
            break
    if not windows:
        raise DataError(
            f"texts holds {len(given)} texts, none with {shortest} tokens; contexts need that many"
            if given
            else "texts is empty"
        )
    return Cut(windows, read, len(given))


def _tokens(text: Any, tokenizer: Any) -> Int[Tensor, "_"]:
    if tokenizer is None:
        if isinstance(text, str):
            raise DataError("texts holds strings, but there is no tokenizer; pass one, or token ids")
        values = to_numpy(text, "texts")
    else:
        if not isinstance(text, str):
            raise DataError(f"texts must be strings, not {type(text).__name__}")
        made = tokenizer(text)
        ids = made["input_ids"] if hasattr(made, "keys") else made
        values = to_numpy(ids, "the tokenizer's ids") if len(ids) else np.zeros(0, np.int64)
    values = values.reshape(-1)
    if values.size and values.dtype.kind not in "iu":
        raise DataError(f"token ids must be integers, got dtype {values.dtype}")
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64))


@dataclass(eq=False)
class Observed:
    """What a model said at the contexts of windows: one row a context, in order of the windows.

    Attributes:
        window: (n,) which window the context is in.
        position: (n,) how many tokens it has.
        hidden: (n, d) the head's input.
        numbers: name -> (n,): `entropy`, `tv`, `renyi`, `nll` of the token that came, `log_partition`, `attraction`
            (the logit of the token that came), `top` (the likeliest token) and `top_probability`.
        shares: (V,) the sum of all predictions.
    """

    window: Int[np.ndarray, " n"] = field(default_factory=lambda: np.zeros(0, np.int64))
    position: Int[np.ndarray, " n"] = field(default_factory=lambda: np.zeros(0, np.int64))
    hidden: Float[Tensor, "n d"] = field(default_factory=lambda: torch.zeros(0, 0))
    numbers: dict[str, np.ndarray] = field(default_factory=dict)
    shares: Float[np.ndarray, " V"] = field(default_factory=lambda: np.zeros(0))

    def __len__(self) -> int:
        return len(self.window)


def observe(
    opened: OpenedModel,
    windows: Sequence[Int[Tensor, "_"]],
    *,
    contexts: int,
    min_context: int,
    order: float,
    batch: int,
    tell: Callable[[float], None] | None = None,
) -> tuple[Observed, list[Float[Tensor, "_ d"]]]:
    """Run the model over windows; statistics of the first `contexts` contexts, hidden states of all.

    A context has at least `min_context` tokens and a token that follows it. Windows of one length are read together.

    Returns:
        The observed contexts, and for every window the hidden states at all its tokens.
    """
    check_range(batch, "batch_size", low=1, integer=True)
    states: list[Any] = [None] * len(windows)
    parts: dict[int, tuple[np.ndarray, Tensor, dict[str, np.ndarray]]] = {}
    counts = np.array([len(w) - min_context for w in windows])
    wanted = set(range(int(np.searchsorted(counts.cumsum(), contexts)) + 1)) & set(range(len(windows)))
    shares: Any = np.zeros(opened.vocabulary)
    order_of = sorted(range(len(windows)), key=lambda i: len(windows[i]))
    done = 0
    with evaluating(opened.model), torch.no_grad():
        while done < len(order_of):
            size = len(windows[order_of[done]])
            here = [i for i in order_of[done : done + batch] if len(windows[i]) == size]
            hidden, logits = opened(torch.stack([windows[i] for i in here]))
            for row, i in enumerate(here):
                states[i] = hidden[row].cpu().clone()
                if i in wanted:
                    part = slice(min_context - 1, size - 1)
                    targets = windows[i][min_context:].to(logits.device)
                    numbers, share = _statistics(logits[row, part].float(), targets, order)
                    shares = shares + share
                    parts[i] = (np.arange(min_context, size), states[i][part], numbers)
            done += len(here)
            if tell is not None:
                tell(done / len(order_of))
    chosen = sorted(parts)
    names = parts[chosen[0]][2]
    observed = Observed(
        window=np.concatenate([np.full(len(parts[i][0]), i) for i in chosen]),
        position=np.concatenate([parts[i][0] for i in chosen]),
        hidden=torch.cat([parts[i][1] for i in chosen]),
        numbers={name: np.concatenate([parts[i][2][name] for i in chosen]) for name in names},
        shares=shares,
    )
    return observed, states


def _statistics(
    logits: Float[Tensor, "n V"], targets: Int[Tensor, " n"], order: float
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    partition = torch.logsumexp(logits, -1)
    logp = logits - partition[:, None]
    p = logp.exp()
    came = logits.gather(1, targets[:, None])[:, 0]
    top, token = p.max(-1)
    numbers = {
        "entropy": entropies_of(logp, "kl", order),
        "tv": entropies_of(logp, "tv", order),
        "renyi": entropies_of(logp, "renyi", order),
        "nll": partition - came,
        "log_partition": partition,
        "attraction": came,
        "top": token,
        "top_probability": top,
    }
    return {name: v.cpu().double().numpy() for name, v in numbers.items()}, p.sum(0).cpu().double().numpy()


def marginal_entropy(shares: Float[np.ndarray, " V"]) -> float:
    """Entropy in nats of the mean prediction, from the sum of all of them."""
    p = shares / shares.sum()
    p = p[p > 0]
    return -float(p @ np.log(p)) if len(p) > 1 else 0.0


def spread(n: int, count: int, rng: np.random.Generator) -> Int[np.ndarray, " chosen"]:
    """Up to `count` of n rows, drawn without replacement, in order."""
    return np.sort(rng.choice(n, size=min(n, count), replace=False)) if n else np.zeros(0, np.int64)


def equally_likely(entropy: float) -> float:
    """How many equally likely tokens have this entropy (the perplexity).

    >>> round(equally_likely(math.log(8)), 6)
    8.0
    """
    return math.exp(min(entropy, 700.0))
