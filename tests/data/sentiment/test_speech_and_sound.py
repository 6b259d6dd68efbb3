"""Pitch and cepstra of sounds that are known; speech that depends on nothing but its text and voice."""

import shutil
import subprocess
import wave

import numpy as np
import pytest
import scipy.fft
import scipy.signal

from unsnarl.data.sentiment import AUDIO_NAMES, Speaker
from unsnarl.data.sentiment._audio import cut_frames, mel_cepstra, mel_filters, pitch_of, word_sounds
from unsnarl.data.sentiment._speech import VOICES, word_bounds
from unsnarl.errors import FileError

RATE = 22050
speaks = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")


def frames_of(signal):
    return cut_frames(signal, 882, 441)[3:-3]


@pytest.mark.parametrize("hertz", [60, 110, 183.7, 300, 440])
@pytest.mark.parametrize("wave_form", [np.sin, scipy.signal.sawtooth])
def test_pitch_of_known_tones(hertz, wave_form):
    t = np.arange(RATE // 2) / RATE
    pitch, voiced = pitch_of(frames_of(wave_form(2 * np.pi * hertz * t)), RATE)
    assert voiced.all()
    np.testing.assert_allclose(pitch, hertz, rtol=0.01)


def test_noise_and_silence_have_no_pitch():
    noise = np.random.default_rng(0).normal(size=RATE)
    assert pitch_of(frames_of(noise), RATE)[1].mean() < 0.05
    assert not pitch_of(np.zeros((3, 882)), RATE)[1].any()


def test_cepstra_against_scipy():
    frames = np.random.default_rng(1).normal(size=(4, 882))
    spectrum = np.abs(scipy.fft.rfft(frames * scipy.signal.get_window("hamming", 882, fftbins=False), 1024)) ** 2
    mel = np.linspace(2595 * np.log10(1 + 50 / 700), 2595 * np.log10(1 + 8000 / 700), 42)
    corners = 700 * (10 ** (mel / 2595) - 1)
    bins = np.arange(513) * RATE / 1024
    bands = [np.interp(bins, corners[k : k + 3], [0, 1, 0]) for k in range(40)]
    expected = scipy.fft.dct(np.log(spectrum @ np.array(bands).T), norm="ortho")[:, :20]
    np.testing.assert_allclose(mel_cepstra(frames, RATE), expected, atol=1e-9)
    np.testing.assert_allclose(mel_filters(1024, RATE), bands, atol=1e-12)


def test_words_are_told_apart_and_silence_is_counted():
    t = np.arange(RATE // 2) / RATE
    parts = [0.5 * np.sin(2 * np.pi * 200 * t), np.zeros(RATE // 2), 0.05 * np.sin(2 * np.pi * 100 * t)]
    samples = (np.concatenate(parts) * 32767).astype(np.int16)
    bounds = np.array([0, len(t), 2 * len(t), 3 * len(t)])
    found, silent = word_sounds(samples, bounds, RATE)
    assert found.shape == (3, len(AUDIO_NAMES)) == (3, 24)
    named = dict(zip(AUDIO_NAMES, found.T, strict=True))
    np.testing.assert_allclose(named["pitch"][[0, 2]], [12, 0], atol=0.2)  # semitones above 100 Hz
    assert named["energy"][0] - named["energy"][2] == pytest.approx(20, abs=0.3)
    np.testing.assert_allclose(2 ** named["duration"][[0, 2]], 0.5, atol=0.05)
    inner = found[1]  # only frames that reach over from its neighbours sound
    assert np.isfinite(found).all()
    assert 2 ** inner[-1] <= 0.061
    assert 20 <= silent <= 25
    quiet, all_silent = word_sounds(np.zeros(RATE, np.int16), np.array([0, RATE // 2, RATE]), RATE)
    assert (quiet == 0).all()
    assert all_silent == 51


def test_bounds_of_words():
    words = ["In", "1998", "of", "the", "film"]
    # the year has three events, "of the" is one unit
    starts = [(1, 2, 0), (4, 4, 300), (5, 4, 400), (5, 4, 500), (9, 0, 600), (9, 6, 600), (16, 4, 1100)]
    assert word_bounds(words, starts, 2000).tolist() == [0, 300, 600, 800, 1100, 2000]
    assert word_bounds(["a", "bcd"], [], 800).tolist() == [0, 200, 800]
    assert word_bounds(["a", "b"], [(1, 1, 0), (3, 1, 900)], 800).tolist() == [0, 400, 800]  # an event past the end


@speaks
def test_speech_is_that_of_the_program_whatever_was_said_before(tmp_path):
    words = ["It's", "one", "of", "the", "finest", "films,", "isn't", "it?"]
    with Speaker() as speaker:
        first, bounds = speaker.say(words, voice=VOICES[8], pitch=60, rate=150, volume=90)
        speaker.say(["something", "else", "entirely"], voice=VOICES[2], pitch=10, rate=220)
        again, same = speaker.say(words, voice=VOICES[8], pitch=60, rate=150, volume=90)
        with pytest.raises(FileError, match="unknown voice"):
            speaker.say(words, voice="no such voice")
        after, _ = speaker.say(words, voice=VOICES[8], pitch=60, rate=150, volume=90)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, after)
    assert bounds.tolist() == same.tolist()
    assert (np.diff(bounds) > 0).all()
    assert bounds[0] == 0
    assert bounds[-1] == len(first)
    assert len(bounds) == len(words) + 1
    path = tmp_path / "said.wav"
    command = ["espeak-ng", "-v", VOICES[8], "-p", "60", "-s", "150", "-a", "90", "-w", str(path), " ".join(words)]
    subprocess.run(command, check=True)
    with wave.open(str(path)) as file:
        np.testing.assert_array_equal(np.frombuffer(file.readframes(10**9), np.int16), first)
    with pytest.raises(FileError, match="closed"):
        speaker.say(words, voice=VOICES[0])


@speaks
def test_voice_follows_its_settings():
    words = ["this", "gorgeous", "film", "is", "one", "of", "the", "finest"]
    with Speaker() as speaker:
        sounds = []
        for setting in ({"pitch": 30, "rate": 130, "volume": 60}, {"pitch": 75, "rate": 210, "volume": 110}):
            samples, bounds = speaker.say(words, voice=VOICES[3], **setting)
            sounds.append(word_sounds(samples, bounds, speaker.rate)[0].mean(axis=0))
    low, high = (dict(zip(AUDIO_NAMES, sound, strict=True)) for sound in sounds)
    assert high["pitch"] - low["pitch"] > 5
    assert high["energy"] - low["energy"] > 4
    assert 0.4 < low["duration"] - high["duration"] < 1.0  # log2(210 / 130) = .69


def test_a_missing_program_is_named(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(FileError, match="apt install espeak-ng"):
        Speaker()
