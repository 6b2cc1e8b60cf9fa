import pytest

from proxy_app.speech import LANGUAGES, language_code, language_name


def test_whisper_has_a_hundred_languages() -> None:
    assert len(LANGUAGES) == 100
    assert LANGUAGES["yue"] == "cantonese"
    assert LANGUAGES["ht"] == "haitian creole"


def test_codes_and_names_are_each_others() -> None:
    assert [language_code(name) for name in LANGUAGES.values()] == list(LANGUAGES)
    assert [language_name(code) for code in LANGUAGES] == list(LANGUAGES.values())


@pytest.mark.parametrize("language", ["en", "EN", "en-US", "en_GB", "English", " english "])
def test_a_language_is_known_by_code_tag_and_name(language: str) -> None:
    assert language_code(language) == "en"
    assert language_name(language) == "english"


def test_an_unknown_language_has_no_code_and_keeps_its_name() -> None:
    assert language_code("tlh") is None
    assert language_code("") is None
    assert language_name("tlh") == "tlh"
