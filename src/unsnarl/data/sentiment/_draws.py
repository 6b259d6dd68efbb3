"""Everything about an utterance that is drawn: valences, speaker, face, prosody, expressions; a function of (seed, row, mode).

r is the sentence's rating scaled to [-3, 3]. The label y and the valences of voice and face (also in [-3, 3]) are

- *redundant*: y = r; voice = clip(r + n_a), face = clip(r + n_v), n of standard deviation 1: noisy echoes of the text;
- *delivery*: d_a, d_v standard normal with correlation .5; y = clip(.75 r + 1.0 d_v + 1.0 d_a); voice = clip(d_a + .4 r),
  face = clip(d_v + .4 r): how a sentence is delivered matters as much as what it says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from unsnarl.data.sentiment._face import IDENTITIES
from unsnarl.data.sentiment._speech import VOICES

MODES = ("redundant", "delivery")
LIMIT = 3.0  # of labels and valences, as in CMU-MOSI
ECHO_NOISE = 1.0
TEXT_WEIGHT, DELIVERY_WEIGHT, ECHO, AGREEMENT = 0.75, 1.0, 0.4, 0.5  # of the delivery mode

# What espeak-ng is asked for: neutral value, change from valence 0 to 3, standard deviation of chance, limits.
PROSODY = {
    "pitch": (50, 25, 4, 0, 99),
    "rate": (170, 45, 8, 90, 260),
    "volume": (85, 35, 5, 30, 140),
    "range": (50, 30, 8, 0, 99),
}


@dataclass(frozen=True)
class Draw:
    """One utterance before it is spoken and drawn.

    Attributes:
        y: the label, in [-3, 3].
        factors: the columns of the factor table, by name.
        prosody: pitch, rate, volume, range: whole numbers as espeak-ng takes them.
        expression: one row a word: (mouth, brow, eye valence in about [-1, 1], mouth opening 0 to 1, lid 0 closed to 1).
        pose: roll (radians), shift right and down (frame widths), light (1 = neutral).
        noise: standard normal numbers, one row a word, for what is measured on the face.
    """

    y: float
    factors: dict[str, float | str | int]
    prosody: dict[str, int]
    expression: Float[np.ndarray, "word 5"]
    pose: Float[np.ndarray, " 4"]
    noise: Float[np.ndarray, "word 40"]


def draw(mode: str, seed: int, row: int, rating: float, n_words: int) -> Draw:
    """Draw everything about utterance `row`, whose sentence has a rating in [-4, 4] and `n_words` words.

    >>> draw("redundant", 0, 5, 2.0, 7).y
    1.5
    """
    rng = np.random.default_rng([seed, row, MODES.index(mode)])
    r = LIMIT / 4 * rating
    chance = rng.standard_normal(2)
    if mode == "redundant":
        y = r
        voice, face = np.clip(r + ECHO_NOISE * chance, -LIMIT, LIMIT)
        delivery_voice, delivery_face = voice - r, face - r
    else:
        delivery_voice = chance[0]
        delivery_face = AGREEMENT * chance[0] + np.sqrt(1 - AGREEMENT**2) * chance[1]
        y = np.clip(TEXT_WEIGHT * r + DELIVERY_WEIGHT * (delivery_voice + delivery_face), -LIMIT, LIMIT)
        voice, face = np.clip(np.array([delivery_voice, delivery_face]) + ECHO * r, -LIMIT, LIMIT)
    speaker, identity = int(rng.integers(len(VOICES))), int(rng.integers(IDENTITIES))
    prosody = {}
    for (name, (neutral, change, spread, low, high)), luck in zip(PROSODY.items(), rng.standard_normal(4), strict=True):
        prosody[name] = int(np.clip(round(neutral + change * voice / LIMIT + spread * luck), low, high))
    pose = rng.standard_normal(4) * [0.05, 0.02, 0.02, 0.08] + [0, 0, 0, 1]
    onset = 1 - 0.5 * np.exp(-np.arange(n_words) / 3)  # a face takes a few words to show what it will
    expression = np.empty((n_words, 5))
    expression[:, :3] = face / LIMIT * onset[:, None] + 0.2 * rng.standard_normal((n_words, 3))
    expression[:, 3] = rng.random(n_words)
    expression[:, 4] = np.where(rng.random(n_words) < 0.05, 0.15, 1.0)  # a blink now and then
    factors: dict[str, float | str | int] = {
        "rating": float(rating),
        "voice_valence": float(voice),
        "face_valence": float(face),
        "delivery_voice": float(delivery_voice),
        "delivery_face": float(delivery_face),
        "speaker": VOICES[speaker].rpartition("+")[2],
        "identity": identity,
        **{f"speech_{name}": value for name, value in prosody.items()},
        "roll": float(pose[0]),
        "light": float(pose[3]),
        "n_words": n_words,
    }
    return Draw(float(y), factors, prosody, expression, pose, rng.standard_normal((n_words, 40)))
