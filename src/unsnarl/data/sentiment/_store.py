"""Data sets on the disk: a folder of chunks of 50 utterances, each written whole or not at all.

Utterance `row` is a function of (mode, seed, row) and the sentences alone, so chunks can be made in any order, by several
processes at once, and a data set of 3,000 is the beginning of one of 4,000.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from unsnarl.data._factors import FactorTable
from unsnarl.data.sentiment._audio import AUDIO_NAMES
from unsnarl.data.sentiment._face import IDENTITIES, VISION_NAMES
from unsnarl.data.sentiment._sentences import WORDS
from unsnarl.data.sentiment._speech import VOICES
from unsnarl.data.sentiment._utterances import PathLike, Utterances
from unsnarl.errors import FileError
from unsnarl.files import atomic_write, check_readable

CHUNK = 50
FORMAT = 1
ABOUT = "about.json"
KINDS = {"speaker": "discrete", "identity": "discrete"}


def cache_folder(folder: PathLike | None = None) -> Path:
    """Where data sets are kept: `folder`, else the environment variable UNSNARL_CACHE, else ~/.cache/unsnarl; then trisent."""
    if folder is not None:
        return Path(folder).expanduser()
    return Path(os.environ.get("UNSNARL_CACHE") or "~/.cache/unsnarl").expanduser() / "trisent"


def chunk_file(folder: Path, number: int) -> Path:
    return folder / f"chunk-{number:05d}.npz"


def write_chunk(folder: Path, number: int, parts: dict[str, np.ndarray]) -> None:
    """One chunk as an .npz file without pickles."""
    with atomic_write(chunk_file(folder, number)) as file:
        np.savez_compressed(file, **parts)  # type: ignore[arg-type]


def read_chunk(folder: Path, number: int) -> dict[str, np.ndarray]:
    """The arrays of a chunk.

    Raises:
        FileError: missing or damaged.
    """
    return read_parts(chunk_file(folder, number))


def read_parts(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an .npz file without pickles."""
    where = check_readable(path)
    try:
        with np.load(where, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # zip, zlib and NumPy each have their own for damage
        raise FileError(f"{path} is damaged ({type(error).__name__}); remove it, and it is made anew") from None


def chunk_words(folder: Path, number: int) -> list[list[str]]:
    """The words of the sentences of one chunk."""
    return [str(line).split(" ") for line in read_chunk(folder, number)["text"]]


def write_about(folder: Path, about: dict[str, Any]) -> None:
    with atomic_write(folder / ABOUT, "w") as file:
        json.dump(about, file, indent=1)


def read_about(folder: Path) -> dict[str, Any] | None:
    """What a folder says of its data set; None where there is none.

    Raises:
        FileError: damaged, or of another version of this format.
    """
    path = folder / ABOUT
    if not path.is_file():
        return None
    try:
        about = json.loads(check_readable(path).read_text("utf-8"))
        version = about["format"]
    except (ValueError, KeyError, TypeError):
        raise FileError(f"{path} is damaged; remove the folder, and the data set is made anew") from None
    if version != FORMAT:
        raise FileError(f"{folder} holds format {version}, not {FORMAT}; remove it, and the data set is made anew")
    return dict(about)


def gather(parts: Sequence[dict[str, np.ndarray]], size: int, about: dict[str, Any], folder: Path | None) -> Utterances:
    """The first `size` utterances of chunks that follow each other from row 0."""
    joined = {name: np.concatenate([part[name] for part in parts])[:size] for name in parts[0]}
    words = [str(line).split(" ") for line in joined["text"]]
    lengths = np.array([len(sentence) for sentence in words])
    mask = np.arange(WORDS) < lengths[:, None]
    audio = np.zeros((len(words), WORDS, len(AUDIO_NAMES)), dtype=np.float32)
    vision = np.zeros((len(words), WORDS, len(VISION_NAMES)), dtype=np.float32)
    first = int(np.concatenate([[0], np.cumsum(lengths)])[-1])
    spoken = {name: np.concatenate([part[name] for part in parts])[:first] for name in ("audio", "vision")}
    audio[mask], vision[mask] = spoken["audio"], spoken["vision"]
    columns = {name[7:]: values for name, values in joined.items() if name.startswith("factor.")}
    frame = pd.DataFrame({n: v.astype(str) if v.dtype.kind == "U" else v for n, v in columns.items()})
    levels = {"speaker": np.unique([v.rpartition("+")[2] for v in VOICES]), "identity": np.arange(IDENTITIES)}
    kinds = {name: KINDS.get(name, "continuous") for name in columns}
    table = FactorTable.of(frame, kinds=kinds)
    return Utterances(
        words=words,
        audio=audio,
        vision=vision,
        mask=mask,
        y=joined["y"].astype(np.float32),
        factors=FactorTable(table.values, table.kinds, levels),
        rows=joined["row"].astype(np.int64),
        mode=about["mode"],
        seed=int(about["seed"]),
        source=about["source"],
        silent_frames=joined["silent_frames"].astype(np.int64),
        folder=folder,
    )
