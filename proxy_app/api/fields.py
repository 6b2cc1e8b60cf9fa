"""The fields beside a recording, checked: what is wrong is refused by name."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from typing import cast

from flask import request
from werkzeug.datastructures import MultiDict

from proxy_app.api.chunking import chunking_strategy
from proxy_app.api.uploads import SpoolingRequest
from proxy_app.api.wording import not_supported, out_of_bounds, shown, too_long, wrong_type
from proxy_app.errors import BadRequestError
from proxy_app.speech import Times, language_code
from proxy_app.upstreams import Options

_MOST_SPEAKERS = 50
_LONGEST_NUMBER = 9
"""In characters: what is longer is no number of speakers, and int() takes no more than 4,300."""
_LONGEST_PROMPT = 10_000
TEMPERATURES = (0.0, 1.0)
_MOST_KEYWORDS = 100
_LONGEST_KEYWORD = 100
_TEXTS = frozenset(
    {
        *("model", "language", "languages", "prompt", "initial_prompt", "keywords", "hotwords"),
        *("temperature", "response_format", "timestamp_granularities", "include", "stream"),
        *("chunking_strategy", "known_speaker_names"),
        *("num_speakers", "min_speakers", "max_speakers"),
    }
)
"""What is of no use as a file."""
_YES = ("true", "1", "yes", "on")
_NO = ("false", "0", "no", "off", "", "null", "none")


def sent() -> MultiDict[str, str]:
    """The request's fields, however they came."""
    return cast(SpoolingRequest, request).fields


def options(*, words: bool = False, translate: bool = False, times: Times = Times.NONE) -> Options:
    """The transcription's, or the translation's, options among the fields.

    Raises:
        BadRequestError: naming the field.
    """
    refuse_files(_TEXTS)
    num, low, high = (_speakers(name) for name in ("num_speakers", "min_speakers", "max_speakers"))
    if low is not None and high is not None and low > high:
        raise BadRequestError(
            f"min_speakers={low} is more than max_speakers={high}.", param="min_speakers"
        )
    language, languages = _language("language", sent().get("language", "")), _languages()
    if language and languages and language not in languages:
        raise BadRequestError(
            f"language={language} is not among languages={','.join(languages)}: send one of them.",
            param="languages",
        )
    if num is not None and not (low or num) <= num <= (high or num):
        raise BadRequestError(
            f"num_speakers={num} is not between min_speakers and max_speakers.",
            param="num_speakers",
        )
    return Options(
        language=language,
        prompt=_prompt(),
        languages=languages,
        keywords=_keywords(),
        temperature=_temperature(),
        translate=translate,
        chunking_strategy=chunking_strategy(sent()),
        num_speakers=num,
        min_speakers=low,
        max_speakers=high,
        words=words,
        times=times,
        model=sent().get("model", "").strip(),
    )


def flag(name: str) -> bool:
    """Whether a field says yes.

    Raises:
        BadRequestError: it says neither yes nor no.
    """
    text = sent().get(name, "").strip().lower()
    if text not in _YES + _NO:
        raise wrong_type(name, "a boolean", _as_sent(text))
    return text in _YES


def _prompt() -> str:
    """As OpenAI calls it, or as whisper-asr-webservice does."""
    name = "prompt" if sent().get("prompt") else "initial_prompt"
    prompt = sent().get(name, "")
    if len(prompt) > _LONGEST_PROMPT:
        raise too_long(name, len(prompt), _LONGEST_PROMPT)
    return prompt


def _speakers(name: str) -> int | None:
    text = sent().get(name, "").strip()
    if not text:
        return None
    is_number = len(text) <= _LONGEST_NUMBER and text.isascii() and text.isdecimal()
    if not (is_number and 1 <= int(text) <= _MOST_SPEAKERS):
        raise BadRequestError(
            f"{name}={text[:40]!r}: expected a whole number from 1 to {_MOST_SPEAKERS}.", param=name
        )
    return int(text)


def choice(name: str, choices: tuple[str, ...], default: str) -> str:
    """One of several words.

    Raises:
        BadRequestError: it is another one.
    """
    text = sent().get(name, "").strip() or default
    if text not in choices:
        raise not_supported(name, text, choices)
    return text


def values(name: str) -> list[str]:
    """A field that may come several times, with brackets, as OpenAI's SDKs send an array, or not.

    What is joined by commas counts as several, too, and so do the texts of an array in JSON.
    """
    texts = sent().getlist(f"{name}[]") + sent().getlist(name)
    parts = (part for text in texts for part in _array(text) or text.split(","))
    return [value for part in parts if (value := part.strip())]


def _array(text: str) -> list[str]:
    """The texts of an array in JSON; none where it is none, or of something else."""
    if not text.lstrip().startswith("["):
        return []
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return []
    is_of_texts = isinstance(found, list) and all(isinstance(each, str) for each in found)
    return found or [""] if is_of_texts else []


def refuse_files(names: Collection[str]) -> None:
    """Refuse texts that came as files: they would have no effect.

    Raises:
        BadRequestError: naming the first.
    """
    for sent_as in request.files:
        name = sent_as.partition("[")[0]
        if name in names:
            raise BadRequestError(
                f"`{name}` was sent as a file: send it as a text, in a part without a file name.",
                param=name,
            )


def _language(name: str, text: str) -> str | None:
    if text.strip().lower() in ("", "auto"):
        return None
    code = language_code(text)
    if code is None:
        raise BadRequestError(
            f"Invalid value: '{shown(text)}'. Send a code (en), a tag (en-US) or an English "
            "name (English), or leave it out and the language is detected.",
            param=name,
        )
    return code


def _languages() -> tuple[str, ...]:
    found = (_language("languages", text) for text in values("languages"))
    return tuple(dict.fromkeys(code for code in found if code))


def _keywords() -> tuple[str, ...]:
    keywords = tuple(values("keywords") + values("hotwords"))
    if len(keywords) > _MOST_KEYWORDS or any(len(word) > _LONGEST_KEYWORD for word in keywords):
        raise BadRequestError(
            f"At most {_MOST_KEYWORDS} keywords of {_LONGEST_KEYWORD} characters are accepted.",
            param="keywords",
        )
    return keywords


def _temperature() -> float:
    text = sent().get("temperature", "").strip() or "0"
    try:
        temperature = float(text)
    except ValueError:
        temperature = math.nan
    if math.isnan(temperature):
        raise wrong_type("temperature", "a decimal", _as_sent(text))
    coolest, warmest = TEMPERATURES
    if not coolest <= temperature <= warmest:
        raise out_of_bounds("temperature", temperature, TEMPERATURES)
    return temperature


def _as_sent(text: str) -> object:
    """A field's value before it became a text, as far as it was something else in JSON."""
    if not request.is_json:
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
