"""Files: checked before they are read, and written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import IO, Any

from unsnarl.errors import FileError, OptionError

DISK_TROUBLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a file for writing under a temporary name beside `path`; it takes its place only when all went well.

    When the block raises, or the disk is full, the temporary file is removed and an old file stays as it was. Other
    processes see the old file or the new one, never half of one. Text is written as UTF-8 with unchanged line ends.

    Args:
        path: the file to write; its folder must exist.
        mode: "wb" for bytes, "w" for text.

    Raises:
        FileError: the folder is missing, `path` is a folder, there is no permission, or the disk is full.

    Examples:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> with atomic_write(folder.name + "/note.txt", "w") as file:
        ...     _ = file.write("whole or not at all")
        >>> Path(folder.name, "note.txt").read_text()
        'whole or not at all'
        >>> folder.cleanup()
    """
    if mode not in ("wb", "w"):
        raise OptionError(f"mode={mode!r} is not allowed; choose one of 'wb', 'w'")
    shown = os.fspath(path)
    target = Path(os.path.realpath(shown))  # through a symbolic link, so that the link survives
    if os.path.isdir(target):
        raise FileError(f"cannot write {shown}: it is a folder; name a file in it")
    text = {"encoding": "utf-8", "newline": ""} if mode == "w" else {}
    if os.path.exists(target) and not os.path.isfile(target):  # a pipe or device cannot be replaced
        with _explained(shown, everything=False), open(target, mode, **text) as file:  # type: ignore[call-overload]
            yield file
        return
    if not os.path.isdir(target.parent):
        raise FileError(f"cannot write {shown}: the folder {target.parent} does not exist; make it first")
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.tmp")
    with _explained(shown, everything=True):
        file = open(temporary, mode.replace("w", "x"), **text)  # type: ignore[call-overload] # noqa: SIM115
    try:
        with _explained(shown, everything=False):
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())
            finally:
                file.close()
        with _explained(shown, everything=True):
            if target.exists():
                os.chmod(temporary, stat.S_IMODE(target.stat().st_mode))
            os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


@contextlib.contextmanager
def _explained(shown: str, *, everything: bool) -> Iterator[None]:
    """Turn an `OSError` of the disk into one sentence; others pass unless `everything` in the block concerns this file."""
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        if everything or error.errno in DISK_TROUBLE:
            raise FileError(f"cannot write {shown}: {reason(error)}") from None
        raise


def reason(error: OSError) -> str:
    """The system's reason for a failed file operation, in lower case and without numbers or paths."""
    text = error.strerror or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]


def check_readable(path: str | os.PathLike[str]) -> Path:
    """The path of an ordinary, readable file that is not empty.

    Raises:
        FileError: it is missing, a folder, empty, or may not be read.
    """
    shown = os.fspath(path)
    if not shown:
        raise FileError("the path is empty; name a file")
    where = Path(shown)
    try:
        status = where.stat()
        if stat.S_ISDIR(status.st_mode):
            raise FileError(f"{shown} is a folder; name a file in it")
        with open(where, "rb") as file:
            if stat.S_ISREG(status.st_mode) and not file.read(1):
                raise FileError(f"{shown} is empty (0 bytes)")
    except FileError:
        raise
    except FileNotFoundError:
        raise FileError(f"there is no file {shown}") from None
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise FileError(f"cannot read {shown}: {why}") from None
    return where


def json_values(value: Any) -> Any:
    """A result as plain JSON values: mappings, lists, text and numbers; what is not finite becomes None.

    Arrays become lists, numbers of NumPy those of Python, and data classes mappings of their fields.

    >>> import numpy as np
    >>> json_values({"a": np.array([1.0, np.nan]), "b": (np.int64(3), None)})
    {'a': [1.0, None], 'b': [3, None]}
    """
    if is_dataclass(value) and not isinstance(value, type):
        value = vars(value)
    if isinstance(value, Mapping):
        return {str(key): json_values(entry) for key, entry in value.items()}
    if hasattr(value, "tolist"):  # arrays and numbers of NumPy
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [json_values(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
