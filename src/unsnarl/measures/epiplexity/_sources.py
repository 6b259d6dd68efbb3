"""Token rows from files and published sets: text, token arrays, images, `datasets` names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from unsnarl.arrays import check_range
from unsnarl.errors import DataError, FileError, MissingExtraError, OptionError
from unsnarl.files import check_readable
from unsnarl.measures.epiplexity._tokens import CONTEXT, TokenRows, as_token_rows

IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
ARRAYS = (".npy", ".npz")
BYTES = "bytes"
_CHUNK = 1 << 20  # characters a call of the tokenizer


def read_tokens(
    path: str | os.PathLike[str],
    *,
    context: int = CONTEXT,
    tokenizer: Any = BYTES,
    color: bool = False,
    limit: int | None = None,
) -> TokenRows:
    """Token rows from one file, or from a folder of images.

    Arrays (.npy, .npz or "file.npz:name") are tokens as `as_token_rows` takes them; images are the bytes of their
    pixels, row by row; every other file is text, or whatever its bytes are.

    Args:
        path: the file.
        context: tokens in a row.
        tokenizer: "bytes", a name on the Hugging Face hub or a folder, or a tokenizer object; for text only.
        color: red, green and blue of every pixel instead of its grey value.
        limit: read no more than so many tokens.

    Raises:
        FileError: missing, empty, damaged, or no image in the folder.
        DataError: too few tokens for two rows, or an array that holds no tokens.
        MissingExtraError: a tokenizer by name without transformers.
    """
    if limit is not None:
        check_range(limit, "limit", low=2, integer=True)
    shown = os.fspath(path)
    suffix = Path(shown).suffix.lower()
    if Path(shown).is_dir():
        found = sorted(p for p in Path(shown).iterdir() if p.suffix.lower() in IMAGES)
        if not found:
            raise FileError(f"the folder {shown} holds no images; name a file, or a folder of images")
        data = np.concatenate([_pixels(p, color) for p in found])
        return _named(data[:limit], context, shown, BYTES)
    if suffix in ARRAYS or any(s + ":" in shown.lower() for s in ARRAYS):
        from unsnarl.data._array_files import read_array

        array = read_array(shown)
        unit = BYTES if array.dtype == np.uint8 and array.ndim != 2 else "tokens"
        return _named(array[:limit] if array.ndim == 1 else array, context, shown, unit)
    check_readable(shown)
    if suffix in IMAGES:
        return _named(_pixels(Path(shown), color)[:limit], context, shown, BYTES)
    if isinstance(tokenizer, str) and tokenizer == BYTES:
        return _named(np.fromfile(shown, dtype=np.uint8, count=-1 if limit is None else limit), context, shown, BYTES)
    try:
        text = Path(shown).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FileError(f"{shown} is not UTF-8 text (byte {error.start:,}); pass tokenizer='bytes'") from None
    return tokenize([text], tokenizer, context=context, name=shown, limit=limit)


def tokenize(
    texts: Any, tokenizer: Any, *, context: int = CONTEXT, name: str = "text", limit: int | None = None
) -> TokenRows:
    """Token rows from texts, run together, by a tokenizer of transformers.

    Args:
        texts: strings.
        tokenizer: "bytes", a name or folder, or a tokenizer object (`encode` and a length).
        context: tokens in a row.
        name: what to call the data.
        limit: stop after so many tokens.

    Raises:
        DataError: something other than strings, or too few tokens.
        MissingExtraError: a tokenizer by name without transformers.
    """
    raw = isinstance(tokenizer, str) and tokenizer == BYTES
    coder = None if raw else _tokenizer(tokenizer)
    parts: list[np.ndarray] = []
    count = 0
    for text in [texts] if isinstance(texts, str) else texts:
        if not isinstance(text, str):
            raise DataError(f"texts must hold strings, found a {type(text).__name__}")
        for start in range(0, len(text), _CHUNK):
            piece = text[start : start + _CHUNK]
            if coder is None:
                parts.append(np.frombuffer(piece.encode("utf-8", "surrogatepass"), dtype=np.uint8))
            else:
                parts.append(np.asarray(coder.encode(piece, add_special_tokens=False), dtype=np.int64))
            count += len(parts[-1])
            if limit is not None and count >= limit:
                break
        if limit is not None and count >= limit:
            break
    if not count:
        raise DataError(f"{name} has no tokens")
    tokens = np.concatenate(parts)[:limit]
    if coder is None:
        return _named(tokens, context, name, BYTES)
    return _named(
        tokens, context, name, f"tokens of {getattr(coder, 'name_or_path', '') or type(coder).__name__}", len(coder)
    )


def read_dataset(
    name: str,
    *,
    split: str = "train",
    column: str = "text",
    tokenizer: Any = BYTES,
    context: int = CONTEXT,
    limit: int = 10_000_000,
) -> TokenRows:
    """Token rows from a set of the Hugging Face hub, streamed, such as "Skylion007/openwebtext".

    Args:
        name: the set's id, such as "Skylion007/openwebtext" or "monology/pile-uncopyrighted".
        split: which part.
        column: which column holds the text.
        tokenizer: as in `tokenize`.
        context: tokens in a row.
        limit: how many tokens to take.

    Raises:
        MissingExtraError: the package `datasets` is not installed.
        FileError: the set cannot be reached.
        DataError: it has no such column.
    """
    check_range(limit, "limit", low=2, integer=True)
    try:
        from datasets import load_dataset
    except ImportError:
        raise MissingExtraError("datasets", "language") from None
    try:
        rows = load_dataset(name, split=split, streaming=True)
    except Exception as error:  # the hub's errors have no common class
        raise FileError(f"cannot load the set {name!r}: {str(error).splitlines()[0]}") from None

    def texts() -> Any:
        for row in rows:
            if column not in row:
                raise DataError(f"{name} has no column {column!r}; it has {', '.join(map(repr, row))}")
            yield row[column]

    return tokenize(texts(), tokenizer, context=context, name=name, limit=limit)


def _named(data: np.ndarray, context: int, name: str, unit: str, vocabulary: int | None = None) -> TokenRows:
    try:
        return as_token_rows(data, context=context, vocabulary=vocabulary, name=name, unit=unit)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None


def _pixels(path: Path, color: bool) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB" if color else "L"), dtype=np.uint8).reshape(-1)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FileError(f"cannot read the image {path}: {str(error).splitlines()[0]}") from None


def _tokenizer(tokenizer: Any) -> Any:
    if not isinstance(tokenizer, str | os.PathLike):
        if not (hasattr(tokenizer, "encode") and hasattr(tokenizer, "__len__")):
            raise OptionError(f"tokenizer is a {type(tokenizer).__name__}; pass 'bytes', a name, or a tokenizer object")
        return tokenizer
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise MissingExtraError("transformers", "language") from None
    try:
        return AutoTokenizer.from_pretrained(os.fspath(tokenizer))
    except (OSError, ValueError) as error:
        raise FileError(f"cannot load the tokenizer {os.fspath(tokenizer)!r}: {str(error).splitlines()[0]}") from None
