"""Draw what DLF learns from sequences in which what is said, how, and with which face add up to the label.

python docs/draw_dlf.py [OUT.png]
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from matplotlib.figure import Figure

from unsnarl.measures._probe import linear_probe
from unsnarl.systems.multimodal.dlf import DLF

STEPS, TRAIN, TEST = 12, 600, 300
SIZES = {"text": 16, "audio": 8, "vision": 8}
COLORS = {"text": "#1f6fb4", "audio": "#c8701a", "vision": "#5f8a2a"}
SAID = {"text": "what is said", "audio": "how", "vision": "with which face"}
LETTER = {"text": "l", "audio": "a", "vision": "v"}


def sequences(n: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Three numbers a sample, each planted in one modality; voice and face say theirs at one stressed word."""
    patterns = np.random.default_rng(7).normal(size=(3, 16))
    rng = np.random.default_rng(seed)
    mask = np.arange(STEPS) < rng.integers(7, STEPS + 1, n)[:, None]
    stressed = np.array([rng.integers(1, row.sum() - 1) for row in mask])
    said = dict(zip(SIZES, rng.normal(size=(3, n)), strict=True))
    x: dict[str, np.ndarray] = {"mask": mask}
    for (name, size), pattern in zip(SIZES.items(), patterns, strict=True):
        share = np.full((n, STEPS), 0.7)
        if name != "text":
            share = 2.0 * (np.arange(STEPS) == stressed[:, None])
        signal = (said[name][:, None] * share)[:, :, None] * pattern[:size]
        if name == "text":  # the words know where the stress is
            signal[np.arange(n), stressed] += 2 * patterns[0][::-1]
        x[name] = ((0.4 * rng.normal(size=(n, STEPS, size)) + signal) * mask[:, :, None]).astype(np.float32)
    y = np.clip(np.round(2 * sum(said.values())) / 2, -3, 3)
    return x, y.astype(np.float32), said, stressed


def draw(path: str) -> None:
    torch.set_num_threads(1)
    x, y, said, _ = sequences(TRAIN, 0)
    x_test, y_test, said_test, stressed = sequences(TEST, 1)
    model = DLF(
        None,
        d=16,
        heads=4,
        kernel=1,
        attention_dropout=0.0,
        attention_dropout_audio=0.0,
        embedding_dropout=0.0,
        text_dropout=0.0,
        output_dropout=0.1,
        pool="last_valid",
        lr=3e-3,
        batch_size=32,
        accumulate=1,
        epochs=10,
    ).fit(x, y)
    explained = model.explain(x_test)
    figure = Figure(figsize=(14, 3.9), layout="constrained")
    losses, given, probes, heard = figure.subplots(1, 4)

    history = model.history_
    shown = {
        "task_final": "error of the prediction",
        "reconstruction": "reconstruction",
        "specific": "re-encoding",
        "orthogonality": "orthogonality",
        "margin": "label margin",
    }
    for column, label in shown.items():
        losses.plot(history["epoch"], history[column], label=label)
    losses.set_yscale("log")
    losses.set_xlabel("epoch")
    losses.set_title("terms of the loss while it learns", fontsize=10)
    losses.legend(fontsize=7, frameon=False)

    for name, color in COLORS.items():
        given.plot(said_test[name], explained.modalities[name], ".", ms=3, color=color, label=name)
    given.axline((0, 0), slope=1, color="#999999", lw=0.8)
    given.set_xlabel("number planted in the modality")
    given.set_ylabel("contribution to the prediction")
    given.set_title("what each modality contributed", fontsize=10)
    given.legend(fontsize=7, frameon=False)

    codes, codes_test = model.transform(x), model.transform(x_test)
    for place, name in enumerate(COLORS):
        for shift, part in ((-0.2, "specific"), (0.2, "shared")):
            m = LETTER[name]
            r2 = linear_probe(codes[part][m], said[name], codes_test[part][m], said_test[name], "continuous")
            alpha = 1.0 if part == "specific" else 0.45
            probes.bar(place + shift, max(r2, 0), width=0.36, color=COLORS[name], alpha=alpha)
            probes.text(place + shift, max(r2, 0) + 0.01, f"{part}\n{r2:.2f}", ha="center", fontsize=7)
    probes.set_xticks(range(3), [SAID[name] for name in COLORS])
    probes.set_ylim(0, 1.15)
    probes.set_ylabel("R² of a linear probe")
    probes.set_title("where the planted numbers can be read", fontsize=10)

    mask = x_test["mask"]
    chance = np.mean(1 / mask.sum(1))
    offsets = range(-4, 5)
    for name in ("audio", "vision"):
        weights = explained.attention_map[name]
        means = []
        for offset in offsets:
            place = stressed + offset
            inside = (place >= 0) & (place < mask.sum(1))
            rows = np.flatnonzero(inside)
            last = mask.sum(1) - 1
            means.append(weights[rows, last[rows], place[rows]].mean())
        heard.plot(offsets, means, "o-", color=COLORS[name], label=f"attention to {name}")
    heard.axhline(chance, color="#999999", lw=0.8)
    heard.text(offsets[0], chance, "all words alike", color="#777777", fontsize=7, va="bottom")
    heard.set_ylim(0, None)
    heard.set_xlabel("word, counted from the stressed one")
    heard.set_title("where the last word listens and looks", fontsize=10)
    heard.legend(fontsize=7, frameon=False)
    figure.savefig(path, dpi=110)
    error = np.abs(model.predict(x_test) - y_test).mean()
    print(f"test error {error:.3f}, guess {np.abs(y_test - np.median(y)).mean():.3f}")


if __name__ == "__main__":
    draw(sys.argv[1] if len(sys.argv) > 1 else "docs/images/dlf.png")
