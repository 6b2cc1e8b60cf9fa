"""Voices by their names."""

import pytest

from proxy_app.speech.voices import (
    OPENAI_VOICES,
    Voice,
    find_espeak,
    find_magpie,
    find_openai,
    magpie_voice,
    tag,
)

MODEL = "Magpie-Multilingual"
MAGPIE = [
    magpie_voice(f"{MODEL}.{name}")
    for name in (
        "DE-DE.Mia", "DE-DE.Aria", "EN-US.Aria", "EN-US.Aria.Happy", "EN-US.Mia",
        "EN-US.Mia.Calm", "EN-US.Jason", "ES-US.Leo",
    )
]  # fmt: skip
ESPEAK = [
    Voice("en-gb", "English (Great Britain)", "en-GB"),
    Voice("en-us", "English (America)", "en-US"),
    Voice("de", "German", "de"),
    Voice("fr-fr", "French (France)", "fr-FR"),
]


def test_a_magpie_voice_tells_its_language() -> None:
    assert magpie_voice(f"{MODEL}.EN-US.Mia") == Voice(f"{MODEL}.EN-US.Mia", "Mia (en-US)", "en-US")
    assert magpie_voice(f"{MODEL}.ZH-CN.Aria.Calm").name == "Aria, calm (zh-CN)"
    assert magpie_voice("Somebody") == Voice("Somebody", "Somebody", "")


@pytest.mark.parametrize(
    ("written", "usual"), [("EN-US", "en-US"), ("en_us", "en-US"), ("de", "de")]
)
def test_tags_have_one_spelling(written: str, usual: str) -> None:
    assert tag(written) == usual


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (f"{MODEL}.DE-DE.Mia", "DE-DE.Mia"),
        (f"{MODEL.lower()}.de-de.mia", "DE-DE.Mia"),
        ("Mia", "EN-US.Mia"),
        ("mia.calm", "EN-US.Mia.Calm"),
        ("de-DE.Mia", "DE-DE.Mia"),
        ("Leo", "ES-US.Leo"),
        ("alloy", "EN-US.Mia.Calm"),
        ("shimmer", "EN-US.Aria.Happy"),
        ("fable", "EN-US.Aria"),  # it has no calm one
        ("Aria.Calm", "EN-US.Aria"),
        ("en-US.Jason.Happy", "EN-US.Jason"),
        (f"{MODEL}.DE-DE.Mia.Sad", "DE-DE.Mia"),
    ],
)
def test_magpies_voices_are_found_by_name_and_by_openais(wanted: str, found: str) -> None:
    voice = find_magpie(wanted, MAGPIE, "en-US")
    assert voice is not None
    assert voice.id == f"{MODEL}.{found}"


def test_a_speaker_who_has_moods_alone_is_found_by_his_name() -> None:
    zoe = [magpie_voice(f"{MODEL}.EN-US.Zoe.{mood}") for mood in ("Angry", "Calm")]
    for wanted in ("Zoe", "Zoe.Happy", "Zoe.Calm", f"{MODEL}.EN-US.Zoe"):
        assert find_magpie(wanted, zoe, "en-US") == zoe[1]


@pytest.mark.parametrize("wanted", ["", "bob", "Mi", "Mia.Furious", "EN-US", MODEL])
def test_there_is_no_voice_of_another_name(wanted: str) -> None:
    assert find_magpie(wanted, MAGPIE, "en-US") is None


def test_openais_names_speak_the_language_that_is_set() -> None:
    voice = find_magpie("alloy", MAGPIE, "de-DE")
    assert voice is not None
    assert voice.id.endswith("DE-DE.Mia")
    for name in OPENAI_VOICES:
        voice = find_magpie(name, MAGPIE, "de")
        assert voice is not None
        assert voice.language == "de-DE"
        assert find_magpie(name, MAGPIE, "ja-JP") is not None
    assert find_magpie("alloy", [], "en-US") is None


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("de", "de"), ("de-DE", "de"), ("DE", "de"), ("fr", "fr-fr"), ("en-GB", "en-gb"),
        ("de+f3", "de+f3"), ("nova", "en-us+f3"),
    ],
)  # fmt: skip
def test_espeaks_voices_are_found_by_language_and_variant(wanted: str, found: str) -> None:
    voice = find_espeak(wanted, ESPEAK, "en-US")
    assert voice is not None
    assert voice.id == found


@pytest.mark.parametrize("wanted", ["", "bob", "xx", "de+../../x", "de+", "+f3", "de+f3+m1"])
def test_espeak_has_no_voice_of_another_name(wanted: str) -> None:
    found = find_espeak(wanted, ESPEAK, "en-US")
    assert found is None or found.id == "de"  # "de+" is "de"


def test_openais_names_differ_from_each_other_where_they_can() -> None:
    found = {find_espeak(name, ESPEAK, "en-US") for name in OPENAI_VOICES}
    assert None not in found
    assert len(found) > 8


def test_a_server_that_lists_voices_is_asked_for_those_and_openais() -> None:
    voices = [Voice("af_bella", "af_bella", "")]
    assert find_openai("AF_Bella", voices) == voices[0]
    assert find_openai("alloy", voices) == Voice("alloy", "alloy", "")
    assert find_openai("bob", voices) is None
    assert find_openai("bob", []) == Voice("bob", "bob", "")
