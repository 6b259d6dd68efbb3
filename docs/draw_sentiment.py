"""Draw the faces, the voices and the word slices of TriSent; needs espeak-ng.

python docs/draw_sentiment.py docs/images/sentiment.png
"""

import sys

import numpy as np
from matplotlib.figure import Figure

from unsnarl.data.sentiment import Speaker, draw_faces, trisent
from unsnarl.data.sentiment._audio import FRAME, HOP, cut_frames, pitch_of
from unsnarl.data.sentiment._draws import PROSODY

VALENCES = np.array([-3.0, -1.5, 0.0, 1.5, 3.0])
PEOPLE = (1, 3, 5, 7, 8)
WORDS = ["A", "gorgeous", "film", "that", "never", "loses", "its", "way."]
LEVEL = np.array([0.0, 0.0, 0.0, 1.0])


def faces(axes) -> None:
    """People as rows, facial valence as columns."""
    rows = []
    for person in PEOPLE:
        expression = np.zeros((len(VALENCES), 5))
        expression[:, :3] = VALENCES[:, None] / 3
        expression[:, 4] = 1
        rows.append(np.concatenate(list(draw_faces(person, expression, LEVEL, size=160)), axis=1))
    axes.imshow(np.concatenate(rows), interpolation="none")
    axes.set_xticks(80 + 160 * np.arange(len(VALENCES)), [f"{v:+g}" for v in VALENCES])
    axes.set_yticks(80 + 160 * np.arange(len(PEOPLE)), [str(p) for p in PEOPLE])
    axes.set_xlabel("valence of the face")
    axes.set_ylabel("identity")
    axes.set_title("the face follows its valence, whoever it is", fontsize=10)


def voice(axes, speaker: Speaker, name: str, valence: float) -> None:
    """Spectrogram, pitch where voiced, and the slices of the words."""
    setting = {key: round(low + change * valence / 3) for key, (low, change, *_) in PROSODY.items()}
    setting["range_"] = setting.pop("range")
    samples, bounds = speaker.say(WORDS, voice=f"en-us+{name}", **setting)
    rate = speaker.rate
    frames = cut_frames(samples / 32768, round(FRAME * rate), round(HOP * rate))
    fine = cut_frames(samples / 32768, 256, 110) * np.hanning(256)
    power = 10 * np.log10(np.abs(np.fft.rfft(fine, 512)) ** 2 + 1e-9).T
    seconds = len(samples) / rate
    top = power.shape[0] * 4000 // (rate // 2)
    axes.imshow(power[:top], origin="lower", aspect="auto", extent=(0, seconds, 0, 4), cmap="Greys", vmin=-50, vmax=25)
    pitch, voiced = pitch_of(frames, rate)
    voiced &= np.mean(frames**2, axis=1) > 1e-5
    right = axes.twinx()
    right.plot(np.arange(len(pitch)) * HOP, np.where(voiced, pitch, np.nan), ".", ms=4, color="tab:red")
    right.set_ylim(50, 350)
    right.set_ylabel("pitch (Hz)", color="tab:red")
    paper = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1}
    for place, (word, start) in enumerate(zip(WORDS, bounds, strict=False)):
        right.axvline(start / rate, color="tab:blue", lw=0.9)
        high = 335 if place % 2 else 305
        right.text(start / rate + 0.015, high, word, fontsize=8, color="tab:blue", va="center", bbox=paper)
    axes.set_xlim(0, 3.3)
    axes.set_ylim(0, 4)
    axes.set_ylabel("kHz")
    axes.set_title(f"speaker {name}, valence of the voice {valence:+g}", fontsize=10)


def echoes(axes, mode: str) -> None:
    """The label against the valence of voice and face, in the sample."""
    few = trisent(mode, sample=True)
    for name, colour in (("voice", "tab:red"), ("face", "tab:blue")):
        axes.plot(few.factors.column(f"{name}_valence"), few.y, "o", ms=3.5, alpha=0.7, color=colour, label=name)
    axes.plot(0.75 * few.factors.column("rating"), few.y, "x", ms=4, color="black", label="text")
    axes.set_xlabel("valence")
    axes.set_ylabel("label")
    axes.set_title(f"{mode} mode", fontsize=10)
    if mode == "redundant":
        axes.legend(fontsize=8, frameon=False, loc="lower right")


def main(path: str) -> None:
    figure = Figure(figsize=(13, 8), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1, 1.25])
    top, bottom = left.subfigures(2, 1, height_ratios=[2.2, 1])
    faces(top.subplots())
    for axes, mode in zip(bottom.subplots(1, 2), ("redundant", "delivery"), strict=True):
        echoes(axes, mode)
    shown = right.subplots(4, 1)
    with Speaker() as speaker:
        for axes, (name, valence) in zip(shown, [("m3", -2.5), ("m3", 2.5), ("f2", -2.5), ("f2", 2.5)], strict=True):
            voice(axes, speaker, name, valence)
    shown[-1].set_xlabel("seconds (blue: where words begin)")
    figure.savefig(path, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "docs/images/sentiment.png")
