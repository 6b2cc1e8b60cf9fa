"""The languages Whisper knows, by code and by the English name that verbose_json carries."""

from __future__ import annotations

# The table of openai-whisper's tokenizer.py; its codes are not all ISO's ("jw" is Javanese).
_TABLE = """
af afrikaans|am amharic|ar arabic|as assamese|az azerbaijani|ba bashkir|be belarusian|bg bulgarian
bn bengali|bo tibetan|br breton|bs bosnian|ca catalan|cs czech|cy welsh|da danish|de german|el greek
en english|es spanish|et estonian|eu basque|fa persian|fi finnish|fo faroese|fr french|gl galician
gu gujarati|ha hausa|haw hawaiian|he hebrew|hi hindi|hr croatian|ht haitian creole|hu hungarian
hy armenian|id indonesian|is icelandic|it italian|ja japanese|jw javanese|ka georgian|kk kazakh
km khmer|kn kannada|ko korean|la latin|lb luxembourgish|ln lingala|lo lao|lt lithuanian|lv latvian
mg malagasy|mi maori|mk macedonian|ml malayalam|mn mongolian|mr marathi|ms malay|mt maltese
my myanmar|ne nepali|nl dutch|nn nynorsk|no norwegian|oc occitan|pa punjabi|pl polish|ps pashto
pt portuguese|ro romanian|ru russian|sa sanskrit|sd sindhi|si sinhala|sk slovak|sl slovenian
sn shona|so somali|sq albanian|sr serbian|su sundanese|sv swedish|sw swahili|ta tamil|te telugu
tg tajik|th thai|tk turkmen|tl tagalog|tr turkish|tt tatar|uk ukrainian|ur urdu|uz uzbek
vi vietnamese|yi yiddish|yo yoruba|yue cantonese|zh chinese
"""

LANGUAGES: dict[str, str] = {
    code: name
    for code, _, name in (
        entry.partition(" ") for entry in _TABLE.strip().replace("\n", "|").split("|")
    )
}
"""Whisper's code of each language, and its English name in small letters."""

# What people and other programs write instead: Whisper's own aliases, and ISO codes it lacks.
_ALIASES = {
    "burmese": "my",
    "valencian": "ca",
    "flemish": "nl",
    "haitian": "ht",
    "letzeburgesch": "lb",
    "pushto": "ps",
    "panjabi": "pa",
    "moldavian": "ro",
    "moldovan": "ro",
    "sinhalese": "si",
    "castilian": "es",
    "mandarin": "zh",
    "jv": "jw",
    "nb": "no",
    "fil": "tl",
    "iw": "he",
}
_CODES = {name: code for code, name in LANGUAGES.items()} | _ALIASES


def language_name(code: str) -> str:
    """The English name of a language, "english" for "en"; an unknown code is returned as it is."""
    return LANGUAGES.get(language_code(code) or "", code)


def language_code(language: str) -> str | None:
    """Whisper's code of a language given as a code, a tag or a name, or None if it has none.

    "en", "EN", "en-US", "en_GB", "English" and "english" are all "en".
    """
    wanted = language.strip().lower()
    for candidate in (wanted, wanted.replace("_", "-").partition("-")[0]):
        if candidate in LANGUAGES:
            return candidate
        if candidate in _CODES:
            return _CODES[candidate]
    return None
