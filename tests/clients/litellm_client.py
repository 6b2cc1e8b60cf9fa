"""LiteLLM's own calls against the gateway (environment `litellm`): a line of JSON for each."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import litellm

AT = {"api_base": os.environ["BASE_URL"], "api_key": os.environ["API_KEY"]}
MODEL = f"openai/{os.environ['MODEL']}"
CLIP = Path(os.environ["CLIP"])
MESSAGES = [{"role": "user", "content": "one two three"}]


def transcription(**more: Any) -> Any:  # noqa: ANN401
    with CLIP.open("rb") as file:
        made = litellm.transcription(model="openai/whisper-1", file=file, **AT, **more)
    return made.model_dump()


def speech() -> str:
    made = litellm.speech(model="openai/tts-1", voice="alloy", input="Hello, hello.", **AT)
    return base64.b64encode(made.content).decode()


def completion() -> Any:  # noqa: ANN401
    return litellm.completion(model=MODEL, messages=MESSAGES, **AT).choices[0].message.content


def streamed() -> Any:  # noqa: ANN401
    chunks = litellm.completion(model=MODEL, messages=MESSAGES, stream=True, **AT)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def embedding() -> Any:  # noqa: ANN401
    made = litellm.embedding(model=MODEL, input=["ab"], encoding_format="float", **AT)
    return made.data[0]["embedding"]


def no_model() -> Any:  # noqa: ANN401
    return litellm.speech(model="openai/tts-9", voice="alloy", input="Hello.", **AT)


CASES: dict[str, Callable[[], Any]] = {
    "transcription": transcription,
    "verbose": lambda: transcription(
        response_format="verbose_json", timestamp_granularities=["word"]
    ),
    "speech": speech,
    "completion": completion,
    "streamed": streamed,
    "embedding": embedding,
    "no_model": no_model,
}

if __name__ == "__main__":
    for name, case in CASES.items():
        try:
            line = {"name": name, "got": case()}
        except Exception as error:  # noqa: BLE001 - the tests want to know which it is
            line = {"name": name, "raised": type(error).__name__, "said": str(error)}
        print("=" + json.dumps(line, default=str), flush=True)
