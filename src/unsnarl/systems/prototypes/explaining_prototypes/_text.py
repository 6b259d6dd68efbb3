"""The scores of one image and one prototype as a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

IRRELEVANT = 0.01  # a score below this share of the similarity is called no reason


def sentence(
    image: int,
    prototype: int,
    of_class: Any,
    similarity: float,
    scores: Any,
    names: Sequence[str],
    top: int,
) -> str:
    """Why an image and a prototype count as alike: characteristics in the order of their local scores.

    >>> sentence(0, 7, "gull", 6.0, [2.2, 0.7, -0.3, 0.01], ["hue", "shape", "contrast", "texture"], 3)
    "Image 0 looks like prototype 7 of 'gull' (similarity 6.00) because of hue (2.20), then shape (0.70); changing contrast makes them more alike (-0.30)."
    """
    scores = np.asarray(scores, dtype=float)
    order = np.argsort(-scores, kind="stable")
    small = IRRELEVANT * abs(similarity)
    reasons = [f"{names[i]} ({scores[i]:.2f})" for i in order[:top] if scores[i] > small]
    against = [f"{names[i]} ({scores[i]:.2f})" for i in order[::-1] if scores[i] < -small]
    whose = "" if of_class is None else f" of {of_class!r}"
    text = f"Image {image} looks like prototype {prototype}{whose} (similarity {similarity:.2f})"
    if reasons:
        text += f" because of {reasons[0]}"
        if len(reasons) > 1:
            text += f", then {_listed(reasons[1:])}"
    else:
        text += f", but none of {_listed(list(names))} is the reason"
    if against:
        named = [part.rpartition(" (") for part in against]
        text += f"; changing {_listed([f'{n} makes them more alike ({v}' for n, _, v in named[:1]])}"
        if len(named) > 1:
            text += f", as does changing {_listed([f'{n} ({v}' for n, _, v in named[1:]])}"
    return text + "."


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
