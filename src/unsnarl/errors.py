"""The errors a user meets: each says what was wrong, what was found and what to do.

All derive from `UnsnarlError`; the command line prints them without a traceback and exits with code 2.
"""

from __future__ import annotations


class UnsnarlError(Exception):
    """Anything this library refuses to do, in one clear sentence."""


class DataError(UnsnarlError, ValueError):
    """Input values that cannot be used: wrong length, not finite, constant, wrong type, out of range."""


class OptionError(UnsnarlError, ValueError):
    """A keyword or command-line option outside its allowed range."""


class UnknownNameError(UnsnarlError, LookupError):
    """A name that is not among the known ones; the message lists those that are near."""

    def __init__(self, kind: str, name: object, known: list[str]):
        from difflib import get_close_matches

        near = get_close_matches(str(name), known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(repr(n) for n in near)}?" if near else f"known: {', '.join(known)}."
        super().__init__(f"unknown {kind} {str(name)!r}; {hint}")


class FileError(UnsnarlError, OSError):
    """A file that is missing, unreadable, unsafe, truncated or cannot be written."""


class CheckpointError(FileError):
    """A checkpoint that is incomplete, damaged or belongs to another configuration."""


class TrainingError(UnsnarlError, RuntimeError):
    """Training that cannot go on, such as a loss that is no longer finite."""


class NotFittedError(UnsnarlError, AttributeError, ValueError):
    """A learner that is asked for an answer before `fit`."""


class MissingExtraError(UnsnarlError, ImportError):
    """An optional dependency is absent; the message names the command that installs it."""

    def __init__(self, package: str, extra: str):
        super().__init__(f"this needs the package {package!r}: pip install 'unsnarl[{extra}]'")
