"""The process that is eSpeak NG: `python -I espeak_child.py`, told what by its standard input.

It stands alone (standard library and the wheel with the library), as it runs without the project on
its path. Blocks have their length before them, four bytes, the highest first. The question is JSON,
{"voice", "text"}, or {} for the voices; the answers are JSON and, of a text, its samples (16-bit,
mono).

The calls are those of espeak-ng's speak_lib.h.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import signal
import sys
from typing import Any

import espeakng_loader

_SYNCHRONOUS = 2
_DO_NOT_EXIT = 0x8000
_UTF8 = 1
_CHARACTER = 1
_WITHOUT_DICTIONARY = frozenset({"fo", "kaa", "xex"})
"""Languages that the library lists and the wheel cannot speak."""
_WITHIN_S = 30
"""Wall clock."""


class Voice(ctypes.Structure):
    """espeak_VOICE."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("reserved", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


_HEARD = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


def library() -> tuple[Any, int]:
    """The library, and the rate of its samples."""
    espeak = ctypes.CDLL(espeakng_loader.get_library_path())
    data = espeakng_loader.get_data_path().encode()
    rate = espeak.espeak_Initialize(_SYNCHRONOUS, 0, data, _DO_NOT_EXIT)
    if rate <= 0:
        raise RuntimeError(f"espeak_Initialize: {rate}")
    return espeak, rate


def voices(espeak: Any) -> dict[str, tuple[str, str]]:  # noqa: ANN401 - ctypes declares nothing
    """Name and identifier of the voice of each language that can be spoken."""
    espeak.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(Voice))
    found: dict[str, tuple[str, str]] = {}
    listed = espeak.espeak_ListVoices(None)
    for number in itertools.takewhile(lambda number: listed[number], itertools.count()):
        voice = listed[number].contents
        # A priority of one byte goes before the language.
        language = ctypes.string_at(voice.languages + 1).decode()
        if language not in _WITHOUT_DICTIONARY:
            found.setdefault(language, (voice.name.decode().strip(), voice.identifier.decode()))
    return found


def speak(espeak: Any, voice: str, text: str) -> bytes:  # noqa: ANN401 - as above
    """A text's samples, by the voice LANGUAGE or LANGUAGE+VARIANT."""
    language, plus, variant = voice.partition("+")
    _name, identifier = voices(espeak)[language]
    # Not by the language, which some voices are not found by.
    if espeak.espeak_SetVoiceByName(f"{identifier}{plus}{variant}".encode()):
        raise RuntimeError("espeak_SetVoiceByName")
    samples = bytearray()

    def heard(wave: Any, count: int, _events: Any) -> int:  # noqa: ANN401 - as above
        if wave and count:
            samples.extend(ctypes.string_at(wave, 2 * count))
        return 0

    callback = _HEARD(heard)  # which the library does not keep alive
    espeak.espeak_SetSynthCallback(callback)
    data = text.encode()
    size = ctypes.c_size_t(len(data) + 1)
    if espeak.espeak_Synth(data, size, 0, _CHARACTER, 0, _UTF8, None, None):
        raise RuntimeError("espeak_Synth")
    espeak.espeak_Synchronize()
    return bytes(samples)


def main() -> None:
    """Answer one question."""
    read, write = sys.stdin.buffer.read, sys.stdout.buffer.write
    question = read(int.from_bytes(read(4), "big"))
    if not question:
        return
    signal.alarm(_WITHIN_S)
    asked = json.loads(question)
    espeak, rate = library()
    names = {} if asked else {code: name for code, (name, _) in voices(espeak).items()}
    answers = [json.dumps({"rate": rate, "voices": names}).encode()]
    if asked:
        answers.append(speak(espeak, asked["voice"], asked["text"]))
    for answer in answers:
        write(len(answer).to_bytes(4, "big") + answer)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
