"""Draw the picture of docs/multimodal_ithp.md: what the states keep, and the words that move a prediction.

python docs/draw_ithp.py OUT.png
"""

import sys

import numpy as np
import torch
from matplotlib.figure import Figure

from unsnarl.data.sentiment import trisent
from unsnarl.measures._probe import linear_probe
from unsnarl.systems.multimodal._concat_fusion import ConcatFusionRegressor
from unsnarl.systems.multimodal.ithp import ITHPRegressor

BLUE, ORANGE, GREY = "#0b64a0", "#b8440c", "#5a616a"
SIZES = {"bottleneck_dims": (16, 8), "hidden": 32, "lr": 1e-2, "batch_size": 32, "fusion_dropout": 0.1}
TEACH = {"beta": 100.0, "gamma": 100.0, "lam": 1.0, "output_dropout": 0.0}
START = {"initializer_range": None}


def planted(n: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Words that hint at a label, a voice and a face that echo it, and six speakers who sound different."""
    fixed, rng = np.random.default_rng(99), np.random.default_rng(seed)
    label, speaker = rng.normal(size=n).astype(np.float32), rng.integers(6, size=n)
    text = 0.5 * label[:, None, None] * fixed.normal(size=24) + rng.normal(size=(n, 6, 24))
    audio = 2 * label[:, None, None] * np.sign(fixed.normal(size=8)) + 2 * fixed.normal(size=(6, 8))[speaker][:, None]
    audio = audio + rng.normal(size=(n, 6, 8))
    vision = 2 * label[:, None, None] * np.sign(fixed.normal(size=5)) + rng.normal(size=(n, 6, 5))
    return {"text": text.astype("f4"), "audio": audio.astype("f4"), "vision": vision.astype("f4")}, label, speaker


def main(path: str) -> None:
    torch.set_num_threads(1)
    x, y, speaker = planted(400, 0)
    test, y_test, speaker_test = planted(400, 1)
    unforetold: dict[int, list[float]] = {}

    def watch(step: int, model: ITHPRegressor) -> None:
        if step % 50:
            return
        task = model.task_.eval()
        with torch.inference_mode():
            words = [task.scaler.words(i, torch.tensor(test[name])) for i, name in enumerate(("audio", "vision"))]
            levels = task.fusion(torch.tensor(test["text"]), words).levels
        unforetold[step] = [
            float(error / w.flatten(0, 1).var(0).mean()) for (_, error), w in zip(levels, words, strict=True)
        ]
        task.train()

    ithp = ITHPRegressor(None, **SIZES, **START, **TEACH).fit(x, y, steps=1000, callbacks=[watch])
    concat = ConcatFusionRegressor(None, **SIZES, **START).fit(x, y, steps=300)

    views = {
        "voice": (x["audio"].mean(1), test["audio"].mean(1)),
        "text": (x["text"].mean(1), test["text"].mean(1)),
        "B0": (ithp.transform(x, level=0), ithp.transform(test, level=0)),
        "B1": (ithp.transform(x, level=1), ithp.transform(test, level=1)),
        "concat": (concat.transform(x, level=0), concat.transform(test, level=0)),
    }
    kept = [linear_probe(a, y, b, y_test, "continuous") for a, b in views.values()]
    told = [linear_probe(a, speaker, b, speaker_test) for a, b in views.values()]

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    learning, probes, sentence = figure.subplots(1, 3, width_ratios=[1, 1.1, 1.15])
    for level, (name, color, style) in enumerate((("voice, from B0", BLUE, "-"), ("face, from B1", ORANGE, "--"))):
        learning.plot(
            unforetold.keys(), [share[level] for share in unforetold.values()], style, color=color, label=name
        )
    learning.axhline(1, color=GREY, linewidth=0.8)
    learning.text(1000, 1.01, "foretelling the mean", color=GREY, ha="right", va="bottom", fontsize=9)
    learning.set_ylim(0, 1.4)
    learning.set_title("what detectors leave unforetold", loc="left")
    learning.set_xlabel("steps")
    learning.set_ylabel("squared error / variance")
    learning.legend(frameon=False, loc="lower left")

    place = np.arange(len(views))
    probes.bar(place - 0.2, kept, 0.38, color=BLUE, label="label, R2")
    probes.bar(place + 0.2, told, 0.38, color=ORANGE, label="speaker, accuracy", hatch="//", edgecolor="white")
    probes.axhline(1 / 6, color=GREY, linewidth=0.8)
    probes.text(4.65, 1 / 6, "chance", color=GREY, ha="left", va="center", fontsize=9)
    probes.set_xlim(-0.6, 4.6)
    probes.set_xticks(place, list(views))
    probes.set_ylim(0, 1.3)
    probes.set_title("what a linear probe reads off", loc="left")
    probes.legend(frameon=False, loc="upper left", ncols=2, fontsize=9)

    few = trisent("redundant", sample=True)
    reader = ITHPRegressor(None, lr=1e-3, batch_size=16, initializer_range=None).fit(few, steps=400)
    lengths = few.mask.sum(1)
    shown = int(np.argmax(np.where((lengths >= 7) & (lengths <= 11), np.abs(few.y), -1)))
    table = reader.explain(few.subset([shown])).table(0)
    effect = table["effect of its shift"].to_numpy()
    names = few.words[shown]
    sentence.barh(np.arange(len(effect)), effect, color=[BLUE if e > 0 else ORANGE for e in effect], height=0.7)
    sentence.set_yticks(np.arange(len(effect)), names)
    sentence.invert_yaxis()
    sentence.axvline(0, color=GREY, linewidth=0.8)
    predicted = float(reader.predict(few.subset([shown]))[0])
    sentence.set_title(f"rated {few.y[shown]:+.1f}, predicted {predicted:+.1f}", loc="left")
    sentence.set_xlabel("effect of the word's shift")
    for axes in (learning, probes, sentence):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    print({name: (round(a, 2), round(b, 2)) for name, a, b in zip(views, kept, told, strict=True)})


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "docs/images/ithp.png")
