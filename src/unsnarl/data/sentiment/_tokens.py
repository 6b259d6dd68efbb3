"""Frozen vectors of words, computed chunk by chunk and kept beside the data sets, whose modes share them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from unsnarl.data.sentiment._utterances import Utterances
from unsnarl.files import atomic_write, check_readable

Tokens = Float[np.ndarray, "n T width"]


def read_tokens(utterances: Utterances, host: Any, progress: Callable[[int, int], None] | None) -> Tokens:
    """See `Utterances.tokens`."""
    length = utterances.mask.shape[1]
    if isinstance(host, str) and host in utterances.given_tokens:
        return utterances.given_tokens[host].astype(np.float32)
    if utterances.folder is None or not isinstance(host, str):
        return embed(utterances.words, host, length).astype(np.float32)
    from unsnarl.data.sentiment._store import CHUNK, chunk_words, read_about

    sentences = (read_about(utterances.folder) or {})["sentences"]
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", host)
    folder = utterances.folder.parent / f"tokens-{name}-seed{utterances.seed}-{sentences}"
    folder.mkdir(parents=True, exist_ok=True)
    chunk = utterances.rows // CHUNK
    needed = np.unique(chunk)
    loaded: Any = host
    out: Tokens | None = None
    for done, number in enumerate(needed):
        file = folder / f"chunk-{number:05d}.npy"
        if file.is_file():
            part = np.load(check_readable(file), allow_pickle=False)
        else:
            if loaded is host:
                loaded = _host(host)
            part = embed(chunk_words(utterances.folder, int(number)), loaded, length)
            with atomic_write(file) as target:
                np.save(target, part)
        if out is None:
            out = np.zeros((len(utterances), length, part.shape[2]), dtype=np.float32)
        here = chunk == number
        out[here] = part[utterances.rows[here] % CHUNK]
        if progress is not None:
            progress(done + 1, len(needed))
    assert out is not None  # a data set has rows
    return out


def embed(words: Sequence[Sequence[str]], host: Any, length: int) -> Float[np.ndarray, "n T width"]:
    """Vectors as 16-bit floats, which is how they are kept, so that a second call gives the same numbers."""
    vectors, _ = _host(host).embed_words(words, n_words=length)
    return vectors.numpy().astype(np.float16)


def _host(host: Any) -> Any:
    from unsnarl.nn._text_host import text_host  # only here does a data set ask for a network

    return text_host(host)
