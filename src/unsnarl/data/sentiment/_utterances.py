"""The utterances of a data set: text, sound and sight of the same words, the label, and the factors behind them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from unsnarl.data._factors import FactorTable

TOKEN_HOST = "sentence-transformers/all-MiniLM-L6-v2"

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, repr=False, eq=False)
class Utterances:
    """n spoken and shown sentences, aligned word by word; T is 30.

    Attributes:
        words: the words of each sentence.
        audio: features of each word's sound, (n, T, 24); `unsnarl.data.sentiment.AUDIO_NAMES`. Zeros where there is no word.
        vision: features of the face while the word is spoken, (n, T, 35); `unsnarl.data.sentiment.VISION_NAMES`.
        mask: whether place t of sentence i holds a word, (n, T).
        y: labels in [-3, 3], (n,).
        factors: what made them; see `unsnarl.data.sentiment.trisent`.
        rows: number of each utterance in its data set.
        mode: "redundant" or "delivery".
        seed: seed of the data set.
        source: where the sentences are from: "vader", "template" or a path.
        silent_frames: frames of digital silence whose -inf features were set to 0, of each utterance.
        folder: where the data set is kept; None for the sample.
    """

    words: list[list[str]]
    audio: Float[np.ndarray, "n T 24"]
    vision: Float[np.ndarray, "n T 35"]
    mask: Bool[np.ndarray, "n T"]
    y: Float[np.ndarray, " n"]
    factors: FactorTable
    rows: Int[np.ndarray, " n"]
    mode: str
    seed: int
    source: str
    silent_frames: Int[np.ndarray, " n"]
    folder: Path | None = None
    given_tokens: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def text(self) -> list[str]:
        """The sentences."""
        return [" ".join(words) for words in self.words]

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        return f"Utterances({len(self):,} in {self.mode} mode, seed {self.seed}, sentences: {self.source})"

    def subset(self, indices: Any) -> Utterances:
        """Some of the utterances, by whole numbers, a boolean mask or a slice; factor levels stay those of the whole."""
        chosen = np.arange(len(self))[indices]
        return Utterances(
            words=[self.words[i] for i in chosen],
            audio=self.audio[chosen],
            vision=self.vision[chosen],
            mask=self.mask[chosen],
            y=self.y[chosen],
            factors=self.factors.rows(chosen),
            rows=self.rows[chosen],
            mode=self.mode,
            seed=self.seed,
            source=self.source,
            silent_frames=self.silent_frames[chosen],
            folder=self.folder,
            given_tokens={host: tokens[chosen] for host, tokens in self.given_tokens.items()},
        )

    def tokens(
        self, host: Any = TOKEN_HOST, *, progress: Callable[[int, int], None] | None = None
    ) -> Float[np.ndarray, "n T width"]:
        """Frozen vectors of the words: of each, the mean of its pieces' last hidden states; zeros where `mask` is False.

        Vectors of a host given by name are kept beside the data set as 16-bit floats and computed once.

        Args:
            host: what `unsnarl.nn.text_host` takes.
            progress: called with (chunks done, chunks) while vectors are computed.

        Raises:
            MissingExtraError: transformers is not installed.
            FileError: the host cannot be had.

        Cost: about 13 ms a sentence the first time, for a MiniLM on one core.
        """
        from unsnarl.data.sentiment._tokens import read_tokens

        return read_tokens(self, host, progress)

    def frames(self, index: int, *, size: int = 48) -> UInt8[np.ndarray, "word size size 3"]:
        """The drawn face while each word of one utterance is spoken, drawn anew at any size."""
        from unsnarl.data.sentiment._draws import draw
        from unsnarl.data.sentiment._face import draw_faces

        row = int(self.rows[index])
        drawn = draw(self.mode, self.seed, row, float(self.factors.column("rating")[index]), len(self.words[index]))
        return draw_faces(int(drawn.factors["identity"]), drawn.expression, drawn.pose, size=size)
