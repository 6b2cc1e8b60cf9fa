"""eSpeak NG as the wheel has it, in its child process."""

import pytest

from proxy_app.services import Service
from proxy_app.speech.voices import Voice
from proxy_app.upstreams import UnavailableError
from proxy_app.upstreams.espeak import Espeak

VOICE = Service("voice", "eSpeak NG", "tts", "espeak", "espeak-ng", "127.0.0.1")


@pytest.fixture(scope="module")
def espeak() -> Espeak:
    return Espeak()


def test_it_has_a_voice_for_each_of_many_languages(espeak: Espeak) -> None:
    voices = espeak.voices(VOICE)
    by_id = {voice.id: voice for voice in voices}
    assert len(by_id) == len(voices) > 100
    assert by_id["en-us"] == Voice("en-us", "English (America)", "en-US")


@pytest.mark.parametrize("wanted", ["en-GB", "fr", "de+m3", "alloy"])
def test_voices_are_heard(espeak: Espeak, wanted: str) -> None:
    voice = espeak.find(VOICE, wanted, "en-US")
    assert voice is not None
    sound = espeak.speak(VOICE, "One two three.", voice)
    assert sound.rate == 22_050
    assert 0.5 < sound.duration_s < 3
    assert max(sound.samples[1::2]) > 10  # the upper bytes: it is not silence


def test_a_text_is_said_as_it_is_and_no_markup(espeak: Espeak) -> None:
    voice = Voice("en-us", "", "en-US")
    tags = espeak.speak(VOICE, "<break time='9s'/> [[x]] \\U0001f600 &amp;", voice)
    assert 0 < tags.duration_s < 8


def test_what_it_fails_on_is_an_error_and_no_crash(espeak: Espeak) -> None:
    with pytest.raises(UnavailableError) as raised:
        espeak.speak(VOICE, "One.", Voice("nobody", "", ""))
    assert raised.value.status == 500
