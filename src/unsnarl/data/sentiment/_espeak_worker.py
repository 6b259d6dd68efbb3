"""A program of its own that speaks for `_speech`: one JSON line in, samples and the starts of words out.

It runs in a separate process that loads the library of espeak-ng, and forks for each sentence: the synthesiser keeps state
between sentences (the phase of its flutter, for one), so only a fresh process makes a sentence a function of its own text.
Only the standard library is imported. An answer is: 4 bytes length, a JSON header, 16-bit samples.
"""

import ctypes
import json
import os
import struct
import sys

SYNCHRONOUS, WORD, LAST = 2, 1, 0
PARAMETERS = {"rate": 1, "volume": 2, "pitch": 3, "range": 4}
TEXT_IS_UTF8, PAUSE_AT_END = 1, 0x1000


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def _speak(library, order):
    pieces, starts = [], []

    def receive(samples, count, events):
        if samples and count > 0:
            pieces.append(ctypes.string_at(samples, 2 * count))
        place = 0
        while events[place].type != LAST:
            if events[place].type == WORD:
                starts.append((events[place].text_position, events[place].length, events[place].sample))
            place += 1
        return 0

    callback = _CALLBACK(receive)
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(order["voice"].encode()):
        return b"", {"error": "unknown voice " + order["voice"]}
    for name, number in PARAMETERS.items():
        library.espeak_SetParameter(number, int(order[name]), 0)
    text = order["text"].encode() + b"\0"
    library.espeak_Synth(text, ctypes.c_size_t(len(text)), 0, 1, 0, TEXT_IS_UTF8 | PAUSE_AT_END, None, None)
    library.espeak_Synchronize()
    return b"".join(pieces), {"starts": starts}


def _answer(samples, header):
    line = json.dumps({"bytes": len(samples), **header}).encode()
    sys.stdout.buffer.write(struct.pack("<I", len(line)) + line + samples)
    sys.stdout.buffer.flush()


def main():
    """Load the library named on the command line, tell its sample rate, answer line after line."""
    library = ctypes.CDLL(sys.argv[1])
    rate = library.espeak_Initialize(SYNCHRONOUS, 0, None, 0)
    library.espeak_Info.restype = ctypes.c_char_p
    _answer(b"", {"rate": rate, "version": library.espeak_Info(None).decode()})
    for line in sys.stdin:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            continue
        try:
            _answer(*_speak(library, json.loads(line)))
        finally:
            os._exit(0)


if __name__ == "__main__":
    main()
