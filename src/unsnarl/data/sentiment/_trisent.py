"""TriSent: rated film sentences, spoken with a controlled prosody and shown on a face; every factor is known."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from unsnarl.arrays import check_choice, check_range
from unsnarl.data.sentiment._audio import word_sounds
from unsnarl.data.sentiment._draws import MODES, draw
from unsnarl.data.sentiment._face import face_features
from unsnarl.data.sentiment._sample import read_sample
from unsnarl.data.sentiment._sentences import RatedSentences, rated_sentences
from unsnarl.data.sentiment._speech import Speaker
from unsnarl.data.sentiment._store import (
    CHUNK,
    FORMAT,
    cache_folder,
    chunk_file,
    gather,
    read_about,
    read_chunk,
    write_about,
    write_chunk,
)
from unsnarl.data.sentiment._utterances import TOKEN_HOST, PathLike, Utterances
from unsnarl.errors import FileError, OptionError

Progress = Callable[[int, int], None]


def trisent(
    mode: str = "redundant",
    size: int = 3000,
    *,
    seed: int = 0,
    folder: PathLike | None = None,
    source: PathLike | None = None,
    sample: bool = False,
    workers: int = 1,
    progress: Progress | None = None,
) -> Utterances:
    """Sentences with human ratings, spoken by espeak-ng and shown on a drawn face; text, sound and sight word by word.

    The voice (pitch, melody, rate, volume) follows a vocal valence and the face (mouth, brows, eyes) a facial valence; twelve
    speakers and twelve faces are drawn by chance, and have nothing to do with the label. In "redundant" mode the label is
    the sentence's rating r, of which voice and face are noisy echoes. In "delivery" mode it is
    clip(.75 r + d_v + d_a, -3, 3), where d_a and d_v (correlation .5) are what voice and face add to the words.

    What is not there yet is built (see `build_trisent`); what is there is read.

    Args:
        mode: "redundant" or "delivery".
        size: number of utterances, up to 9,494; a smaller set is the beginning of a larger one.
        seed: seed of everything that is drawn, and of the order of the sentences.
        folder: where data sets are kept; else the environment variable UNSNARL_CACHE + "/trisent", else ~/.cache/unsnarl/trisent.
        source: see `rated_sentences`.
        sample: the 60 utterances of each mode that come with the package (seed 0); nothing is built or kept.
        workers: threads that build.
        progress: called with (chunks done, chunks) while it is built.

    Returns:
        `Utterances`. Factors: rating (-4 to 4), voice_valence, face_valence (-3 to 3), delivery_voice, delivery_face
        (what they have beyond the text), speaker, identity (discrete), speech_pitch, speech_rate (words a minute),
        speech_volume, speech_range (as espeak-ng takes them), roll (radians), light, n_words.

    Raises:
        OptionError: an unknown mode, or a size or seed out of range.
        FileError: something must be built and espeak-ng is not installed; or a damaged file.

    Warns:
        UserWarning: the rated sentences cannot be had, so made-up ones take their place.

    Examples:
        >>> few = trisent("delivery", sample=True)
        >>> few, few.audio.shape, few.vision.shape
        (Utterances(60 in delivery mode, seed 0, sentences: vader), (60, 30, 24), (60, 30, 35))
    """
    check_choice(mode, MODES, "mode")
    check_range(size, "size", low=1, integer=True)
    check_range(seed, "seed", low=0, integer=True)
    if sample:
        return read_sample(mode, int(size))
    where = _existing(mode, int(size), int(seed), folder, source)
    if where is None:
        where = build_trisent(
            mode, size, seed=seed, folder=folder, source=source, workers=workers, progress=progress, tokens=False
        )
    about = read_about(where)
    assert about is not None  # it was found or written a moment ago
    parts = [read_chunk(where, number) for number in range(-(-int(size) // CHUNK))]
    return gather(parts, int(size), about, where)


def build_trisent(
    mode: str = "redundant",
    size: int = 3000,
    *,
    seed: int = 0,
    folder: PathLike | None = None,
    source: PathLike | None = None,
    tokens: bool = True,
    workers: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Build a data set chunk by chunk into its folder; chunks that are there stay, so a stopped build goes on.

    Args:
        mode: "redundant" or "delivery".
        size: number of utterances; the last chunk is made whole.
        seed: seed of everything that is drawn.
        folder: as of `trisent`.
        source: as of `trisent`.
        tokens: compute the frozen vectors of all-MiniLM-L6-v2 too.
        workers: threads that build.
        progress: called with (chunks done, chunks), first for the utterances, then for the vectors.

    Returns:
        The folder of the data set (about.json, chunk-00000.npz, ...); the vectors lie beside it in tokens-<host>-...

    Raises:
        OptionError: a size or seed out of range.
        FileError: espeak-ng is not installed, or the folder holds a data set of other sentences or another espeak-ng.

    Cost: about 50 ms of one core an utterance and 13 ms for its vectors; 4 kB on the disk and 23 kB for the vectors, which both modes share.
    """
    check_choice(mode, MODES, "mode")
    check_range(size, "size", low=1, integer=True)
    check_range(seed, "seed", low=0, integer=True)
    check_range(workers, "workers", low=1, integer=True)
    size, seed = int(size), int(seed)
    sentences = rated_sentences(source, folder=cache_folder(folder))
    if size > len(sentences):
        raise OptionError(f"size={size} must be at most {len(sentences)}, the number of sentences")
    chunks = -(-size // CHUNK)
    with _speakers(int(workers)) as (first, speaker):
        where = _prepare(mode, seed, folder, sentences, first)
        missing = [number for number in range(chunks) if not chunk_file(where, number).is_file()]

        def build(number: int) -> None:
            rows = range(number * CHUNK, min((number + 1) * CHUNK, len(sentences)))
            write_chunk(where, number, _chunk(mode, seed, rows, sentences, speaker()))

        with ThreadPoolExecutor(int(workers)) as pool:
            done = chunks - len(missing)
            for _ in pool.map(build, missing):
                done += 1
                if progress is not None:
                    progress(done, chunks)
    if tokens:
        about = read_about(where)
        assert about is not None
        built = gather([read_chunk(where, number) for number in range(chunks)], size, about, where)
        built.tokens(TOKEN_HOST, progress=progress)
    return where


def _prepare(mode: str, seed: int, folder: PathLike | None, sentences: RatedSentences, speaker: Speaker) -> Path:
    """The data set's folder with its about.json, which must agree with what is being built."""
    where = _folder(mode, seed, folder, sentences.source)
    about = {
        "format": FORMAT,
        "mode": mode,
        "seed": seed,
        "source": sentences.source,
        "sentences": _digest(sentences),
        "espeak": speaker.version,
    }
    before = read_about(where)
    if before is None:
        where.mkdir(parents=True, exist_ok=True)
        write_about(where, about)
        return where
    for name, what in (("sentences", "other sentences"), ("espeak", f"espeak-ng {before.get('espeak')}")):
        if before.get(name) != about[name]:
            raise FileError(f"{where} was built with {what}; pass another folder=, or remove it")
    return where


def _folder(mode: str, seed: int, folder: PathLike | None, source: str) -> Path:
    kind = source if source in ("vader", "template") else "own-" + hashlib.sha256(source.encode()).hexdigest()[:8]
    return cache_folder(folder) / f"{mode}-seed{seed}-{kind}"


def _existing(mode: str, size: int, seed: int, folder: PathLike | None, source: PathLike | None) -> Path | None:
    """The folder in which all chunks are there already, so that neither sentences nor espeak-ng are needed."""
    where = _folder(mode, seed, folder, "vader" if source is None else str(source))
    whole = all(chunk_file(where, number).is_file() for number in range(-(-size // CHUNK)))
    return where if whole and read_about(where) is not None else None


def _digest(sentences: RatedSentences) -> str:
    text = "\n".join(" ".join(words) for words in sentences.words)
    return hashlib.sha256(text.encode() + sentences.rating.astype("<f8").tobytes()).hexdigest()[:16]


@contextmanager
def _speakers(workers: int) -> Iterator[tuple[Speaker, Callable[[], Speaker]]]:
    """A speaker, and a function that gives each thread its own."""
    own, made = threading.local(), []

    def speaker() -> Speaker:
        if not hasattr(own, "speaker"):
            own.speaker = Speaker()
            made.append(own.speaker)
        return own.speaker

    try:
        yield speaker(), speaker
    finally:
        for one in made:
            one.close()


def _chunk(mode: str, seed: int, rows: range, sentences: RatedSentences, speaker: Speaker) -> dict[str, np.ndarray]:
    """The arrays of some rows; features of the words of all sentences follow each other."""
    order = np.random.default_rng([seed]).permutation(len(sentences))
    audio, vision, silent, labels, factors = [], [], [], [], []
    for row in rows:
        words = sentences.words[order[row]]
        drawn = draw(mode, seed, row, float(sentences.rating[order[row]]), len(words))
        p = drawn.prosody
        voice = f"en-us+{drawn.factors['speaker']}"
        samples, bounds = speaker.say(
            words, voice=voice, pitch=p["pitch"], rate=p["rate"], volume=p["volume"], range_=p["range"]
        )
        sounds, quiet = word_sounds(samples, bounds, speaker.rate)
        audio.append(sounds)
        silent.append(quiet)
        vision.append(face_features(int(drawn.factors["identity"]), drawn.expression, drawn.pose, drawn.noise))
        labels.append(drawn.y)
        factors.append(drawn.factors)
    return {
        "text": np.array([" ".join(sentences.words[order[row]]) for row in rows]),
        "row": np.array(rows),
        "y": np.array(labels, dtype=np.float32),
        "silent_frames": np.array(silent),
        "audio": np.concatenate(audio).astype(np.float32),
        "vision": np.concatenate(vision).astype(np.float32),
        **{f"factor.{name}": np.array([one[name] for one in factors]) for name in factors[0]},
    }
