"""What a word sounds like in 24 numbers: pitch, voicing, energy, 20 cepstral coefficients, duration. NumPy alone.

The sound is cut into frames of 40 ms, one every 20 ms. A frame belongs to the word in whose slice its centre lies.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int

CEPSTRA = 20
BANDS = 40
AUDIO_NAMES = ("pitch", "voicing", "energy", *(f"mfcc {k}" for k in range(CEPSTRA)), "duration")
"""pitch: semitones above 100 Hz, the median of voiced frames (0 where none is); voicing: part of the frames that is voiced;
energy: dB above 1e-10 of full scale; mfcc: means over frames; duration: log2 of seconds of sound."""

FRAME, HOP = 0.040, 0.020  # seconds; two periods of 50 Hz fit in a frame
LOWEST, HIGHEST = 50.0, 500.0  # Hz, of the pitch
VOICED = 0.5  # autocorrelation above which a frame counts as voiced
SILENT = 1e-10  # of full-scale power: what is below counts as digital silence (a 16-bit step is 9e-10)

Frames = Float[np.ndarray, "frame sample"]


def word_sounds(
    samples: Int[np.ndarray, " samples"], bounds: Int[np.ndarray, " bounds"], rate: int
) -> tuple[Float[np.ndarray, "word 24"], int]:
    """Features of each word of a spoken sentence.

    Args:
        samples: 16-bit samples.
        bounds: sample number at which each word begins, and the end of the last.
        rate: samples a second.

    Returns:
        (features, silent): the numbers named in `AUDIO_NAMES`, and the number of frames that are digital silence. Their
        logarithms are -inf; they are set to 0 and left out of the means of a word (a word without sound is all 0).

    Cost: O(frames * 1024 log 1024); 28 ms for a sentence of 6 s.
    """
    signal = samples.astype(np.float64) / 32768
    size, hop = round(FRAME * rate), round(HOP * rate)
    frames = cut_frames(signal, size, hop)
    power = np.mean(frames**2, axis=1)
    sounding = power > SILENT
    pitch, voiced = pitch_of(frames, rate)
    voiced &= sounding
    with np.errstate(divide="ignore"):
        cepstra = mel_cepstra(frames, rate)
    sounding &= np.isfinite(cepstra).all(axis=1)
    cepstra[~sounding] = 0
    centre = np.arange(len(frames)) * hop  # the signal is padded by half a frame
    word = np.clip(np.searchsorted(bounds, centre, side="right") - 1, 0, len(bounds) - 2)
    out = np.zeros((len(bounds) - 1, len(AUDIO_NAMES)), dtype=np.float64)
    for w in range(len(out)):  # a handful of words
        here = (word == w) & sounding
        count = int(here.sum())
        if not count:
            continue
        heard = here & voiced
        if heard.any():
            out[w, 0] = 12 * np.log2(np.median(pitch[heard]) / 100)
        out[w, 1] = heard.sum() / count
        out[w, 2] = 10 * np.log10(power[here].mean() / SILENT)
        out[w, 3:-1] = cepstra[here].mean(axis=0)
        out[w, -1] = np.log2(count * HOP)
    return out, int((~sounding).sum())


def cut_frames(signal: Float[np.ndarray, " samples"], size: int, hop: int) -> Frames:
    """Frames of `size` samples centred on samples 0, hop, 2 hop, ..."""
    count = len(signal) // hop + 1
    padded = np.pad(signal, (size // 2, size))
    return np.lib.stride_tricks.sliding_window_view(padded, size)[: count * hop : hop].copy()


def pitch_of(frames: Frames, rate: float) -> tuple[Float[np.ndarray, " frame"], Bool[np.ndarray, " frame"]]:
    """Fundamental frequency (Hz) by autocorrelation, and which frames are voiced.

    The autocorrelation of the windowed frame is divided by that of the window, so that long lags are not
    underrated (Boersma 1993); of the peaks within 50 to 500 Hz the shortest lag that reaches 90 % of the highest is taken,
    against errors by an octave, and refined by a parabola. Computed on means of pairs of samples: a pitch is far below 5 kHz.

    >>> t = np.arange(882) / 22050
    >>> pitch_of(np.sin(2 * np.pi * 150 * t)[None], 22050)[0].round()
    array([150.])
    """
    frames = (frames[:, 0 : frames.shape[1] // 2 * 2 : 2] + frames[:, 1::2]) / 2
    rate, size = rate / 2, frames.shape[1]
    window = np.hanning(size)
    points = 1 << int(np.ceil(np.log2(2 * size)))
    centred = (frames - frames.mean(axis=1, keepdims=True)) * window
    correlation = np.fft.irfft(np.abs(np.fft.rfft(centred, points)) ** 2, points)[:, : size // 2 * 2]
    reference = np.fft.irfft(np.abs(np.fft.rfft(window, points)) ** 2, points)[: size // 2 * 2]
    low, high = int(rate / HIGHEST), min(int(np.ceil(rate / LOWEST)), int(0.75 * size))
    with np.errstate(divide="ignore", invalid="ignore"):
        curve = (
            np.nan_to_num(correlation / correlation[:, :1], nan=0.0)[:, : high + 2]
            / (reference / reference[0])[: high + 2]
        )
    inside = curve[:, low : high + 1]
    peak = (inside >= curve[:, low - 1 : high]) & (inside >= curve[:, low + 1 : high + 2])
    heights = np.where(peak, inside, -np.inf)
    best = heights.max(axis=1)
    lag = low + np.argmax(heights >= 0.9 * best[:, None], axis=1)
    rows = np.arange(len(frames))
    before, at, after = curve[rows, lag - 1], curve[rows, lag], curve[rows, lag + 1]
    bend = before - 2 * at + after
    shift = np.where(np.abs(bend) > 1e-12, 0.5 * (before - after) / np.where(bend == 0, 1.0, bend), 0.0)
    return rate / (lag + np.clip(shift, -0.5, 0.5)), best > VOICED


def mel_cepstra(frames: Frames, rate: int) -> Float[np.ndarray, "frame 20"]:
    """Mel-frequency cepstral coefficients 0 to 19: cosine transform (orthonormal) of the log of 40 mel bands, 50 Hz to 8 kHz.

    Frames without any power give -inf or NaN.
    """
    points = 1 << int(np.ceil(np.log2(frames.shape[1])))
    power = np.abs(np.fft.rfft(frames * np.hamming(frames.shape[1]), points)) ** 2
    bands = np.log(power @ mel_filters(points, rate).T)
    with np.errstate(invalid="ignore"):
        return bands @ _cosines().T


@lru_cache
def mel_filters(points: int, rate: int) -> Float[np.ndarray, "band bin"]:
    """Triangles that are equally wide on the mel scale m = 2595 log10(1 + f / 700) (O'Shaughnessy 1987), peak 1."""
    low, high = 2595 * np.log10(1 + np.array([50.0, 8000.0]) / 700)
    mel = np.linspace(low, high, BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    bins = np.arange(points // 2 + 1) * rate / points
    rise = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    return np.clip(np.minimum(rise, fall), 0, None)


@lru_cache
def _cosines() -> Float[np.ndarray, "coefficient band"]:
    k, n = np.arange(CEPSTRA)[:, None], np.arange(BANDS)[None]
    table = np.sqrt(2 / BANDS) * np.cos(np.pi * k * (2 * n + 1) / (2 * BANDS))
    table[0] /= np.sqrt(2)
    return table
