"""Small fakes with the duck-typed interfaces that the report reads."""

from __future__ import annotations

import base64
import json
import math
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from unsnarl.data import FactorDataset

EVIL = "<script>alert(1)</script>"
MEANINGS = {
    "modularity": "How far each latent carries one factor only.",
    "explicitness": "How well a simple probe reads the factors from the codes, against guessing.",
    "compactness": "How far each factor is carried by one latent only.",
}


def squares(n: int = 60, size: int = 32, names: tuple[str, ...] = ("across", "down", "hue")) -> FactorDataset:
    """Images of one coloured square, with its place and colour as factors."""
    rng = np.random.default_rng(0)
    values = np.stack([rng.integers(0, k, n) for k in (6, 6, 3)], axis=1)
    images = np.full((n, 3, size, size), 40, np.uint8)
    step = size // 8
    for i, (x, y, hue) in enumerate(values):
        images[i, hue, y * step : (y + 3) * step, x * step : (x + 3) * step] = 230
    return FactorDataset(images, values, names=names)


class Shifter:
    """A fitted learner that needs no fitting: its latents shift and tint the image."""

    def __init__(self, latents: int = 4, levels: int = 7, seed: int = 3):
        self.latents, self.levels, self.seed = latents, levels, seed
        steps = np.arange(0, 400, 4)
        noise = np.random.default_rng(0).normal(size=len(steps))
        self.history_ = pd.DataFrame(
            {
                "step": steps,
                "loss": 300 * np.exp(-steps / 60) + 0.5 + 0.02 * noise**2,
                "reconstruction": 0.7 * np.exp(-steps / 150) + 0.02 * noise,
                "quantization": 0.1 + 0.01 * noise,
                "validation": np.where(steps % 40 == 0, 0.7 * np.exp(-steps / 170), np.nan),
            }
        )

    def get_params(self) -> dict:
        return {"latents": self.latents, "levels": self.levels, "seed": self.seed}

    def transform(self, data):
        x = _pixels(data)
        means = x.mean((2, 3))
        across = (x.amax((1, 2)) > 0.5).float().argmax(-1)[:, None].float()
        down = (x.amax((1, 3)) > 0.5).float().argmax(-1)[:, None].float()
        codes = torch.cat([across, down, means], 1)
        return codes[:, torch.arange(self.latents) % codes.shape[1]].numpy()

    def reconstruct(self, observations):
        x = _pixels(observations)
        return (0.9 * x + 0.05).clamp(0, 1)

    def traverse(self, observation, latent, n_values=7):
        x = _pixels(observation[None])[0]
        moves = torch.linspace(-8, 8, n_values).round().int().tolist()
        if latent % 4 == 0:
            return torch.stack([x.roll(m, -1) for m in moves])
        if latent % 4 == 1:
            return torch.stack([x.roll(m, -2) for m in moves])
        if latent % 4 == 2:
            return torch.stack([x.roll(i % 3, 0) for i in range(n_values)])
        return torch.stack([x for _ in range(n_values)])


def _pixels(data):
    x = getattr(data, "observations", data)
    return x.float() / 255 if x.dtype == torch.uint8 else x.float()


class FakeMeasureReport:
    """What `unsnarl.measure` returns, as far as the report reads it."""

    def __init__(self, latents: int = 4, factors: tuple[str, ...] = ("across", "down", "hue")):
        rng = np.random.default_rng(1)
        matrix = rng.uniform(0, 0.12, (latents, len(factors)))
        for i in range(min(latents, 3 * len(factors))):
            matrix[i, i % len(factors)] = 0.95 / (1 + i // len(factors))
        self.frame = pd.DataFrame(matrix, index=[f"latent {i}" for i in range(latents)], columns=list(factors))
        self.finding = [
            f"Nearly separate: {factors[0]} and {factors[1]} each sit in a latent of their own, {factors[2]} is spread.",
            "Modularity is 0.81 (95% interval 0.78 to 0.84).",
        ]
        self.skipped = {"irs": "needs a grid of factors; this data has none"}
        self.scores = {}
        self.timings = {"infomec": 0.1}

    def table(self) -> pd.DataFrame:
        rows = [
            ("infomec", "modularity", 0.81, 0.78, 0.84, MEANINGS["modularity"], "0 to 1", None),
            ("infomec", "explicitness", 0.93, 0.91, 0.95, MEANINGS["explicitness"], "0 to 1", None),
            ("infomec", "compactness", 0.44, 0.38, 0.49, MEANINGS["compactness"], "0 to 1", None),
            ("mig", "mig", 0.52, 0.47, 0.58, "Gap of the two latents that say most about a factor.", "0 to 1", None),
            ("dci", "disentanglement", 0.77, math.nan, math.nan, "One factor a latent, by importance.", "0 to 1", None),
            ("total correlation", "nats", 2.31, 2.2, 2.4, "Dependence among latents.", "0 and up", None),
            ("irs", "irs", math.nan, math.nan, math.nan, "", "0 to 1", next(iter(self.skipped.values()))),
        ]
        return pd.DataFrame(
            rows, columns=["measure", "score", "value", "low", "high", "meaning", "range", "skipped reason"]
        )

    def matrices(self) -> dict[str, pd.DataFrame]:
        return {"normalised mutual information": self.frame, "importance": self.frame**2}

    def to_dict(self) -> dict:
        return json.loads(self.table().to_json(orient="records"))


def claim(slug: str = "qlae", **changes) -> dict:
    """A claim's record in the form the engine writes."""
    row = {
        "name": "modularity against the tuned autoencoder",
        "metric": "InfoM",
        "higher_is_better": True,
        "seeds": [0, 1, 2, 3, 4],
        "system": [0.61, 0.58, 0.66, 0.63, 0.59],
        "baseline": [0.41, 0.44, 0.43, 0.40, 0.45],
        "minimum_effect": 0.1,
        "difference": {"mean": 0.188, "low": 0.131, "high": 0.245},
        "verdict": "holds",
        "role": "central",
    }
    row.update(changes)
    return {
        "slug": slug,
        "rows": [row],
        "machine": {"cpu": "a small one", "cores": 2},
        "versions": {"unsnarl": "0.1.0", "torch": "2.8.0"},
        "date": "2025-11-24",
        "notes": "The effect appears once the decay has time to act.\n\nWeight decay was chosen on other seeds.",
    }


class Parsed(HTMLParser):
    """Tags with their attributes, the text, and whether every tag was closed."""

    VOID = frozenset({"meta", "link", "img", "source", "br"})

    def __init__(self, page: Path):
        super().__init__()
        self.source = page.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(self.source)
        assert self.open == [], f"left open: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(text)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def sections(self) -> list[str]:
        return [a["id"] for a in self.all("section") if a["id"] != "finding"]


def embedded(page: Parsed, kind: str) -> list[bytes]:
    uris = [a["src"] for a in page.all("img")] + [a["srcset"] for a in page.all("source")]
    start = f"data:{kind};base64,"
    return [base64.b64decode(u.removeprefix(start)) for u in uris if u.startswith(start)]
