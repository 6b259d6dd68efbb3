"""The small sample that comes with the package: 60 short utterances of each mode, with their vectors.

They are the first 60 of at most 10 words of the data sets with seed 0. Features are rounded to 16-bit floats, vectors further
to 6 bits of mantissa (an error of up to .8 % of a number), so that the file stays small; the vectors of the two modes are
the same, since their sentences are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float16

from unsnarl.data.sentiment._draws import MODES
from unsnarl.data.sentiment._store import gather, read_parts
from unsnarl.data.sentiment._utterances import TOKEN_HOST, Utterances
from unsnarl.files import atomic_write

SAMPLE = Path(__file__).with_name("sample.npz")
SIZE, LONGEST, MANTISSA = 60, 10, 6


def read_sample(mode: str, size: int = SIZE) -> Utterances:
    """The utterances of one mode that come with the package; nothing else is read."""
    parts = read_parts(SAMPLE)
    mine = {name.split("/", 1)[1]: values for name, values in parts.items() if name.startswith(mode + "/")}
    found = gather([mine], SIZE, {"mode": mode, "seed": 0, "source": "vader"}, None)
    tokens = np.zeros((*found.mask.shape, parts["tokens"].shape[1]), dtype=np.float16)
    tokens[found.mask] = parts["tokens"]
    found.given_tokens[TOKEN_HOST] = tokens
    return found.subset(slice(0, size)) if size < SIZE else found


def write_sample(sets: dict[str, Utterances], path: Path = SAMPLE) -> Path:
    """Write the sample out of built data sets.

    Args:
        sets: the data set of each mode, of seed 0, long enough to hold 60 short sentences (a few hundred).
        path: the file.
    """
    parts: dict[str, np.ndarray] = {}
    for mode in MODES:
        lengths = np.array([len(words) for words in sets[mode].words])
        few = sets[mode].subset(np.flatnonzero(lengths <= LONGEST)[:SIZE])
        table = few.factors.values
        parts |= {
            f"{mode}/text": np.array(few.text),
            f"{mode}/row": few.rows,
            f"{mode}/y": few.y,
            f"{mode}/silent_frames": few.silent_frames,
            f"{mode}/audio": few.audio[few.mask].astype(np.float16),
            f"{mode}/vision": few.vision[few.mask].astype(np.float16),
            **{f"{mode}/factor.{name}": np.array(table[name].tolist()) for name in table.columns},
        }
        parts["tokens"] = _rounded(few.tokens()[few.mask].astype(np.float16))
    with atomic_write(path) as file:
        np.savez_compressed(file, **parts)  # type: ignore[arg-type]
    return path


def _rounded(values: Float16[np.ndarray, "word width"]) -> Float16[np.ndarray, "word width"]:
    """The nearest numbers whose mantissa ends in zeros."""
    drop = 10 - MANTISSA
    bits = values.view(np.uint16).astype(np.uint32) + (1 << (drop - 1))
    return (bits >> drop << drop).astype(np.uint16).view(np.float16)
