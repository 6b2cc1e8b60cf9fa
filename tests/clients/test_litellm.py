"""LiteLLM as a client, by its Python functions with our address as `api_base`."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path

from proxy_app.watch.clip import CLIP, SPOKEN
from proxy_app.watch.words import likeness
from tests.clients.conftest import python_of
from tests.clients.home import CLIENT_WITHIN_S, ROOT, Home
from tests.clients.probed import FORMATS
from tests.standins.upstream_llm import NAME


def test_litellm_transcribes_speaks_chats_and_embeds(at: Home) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it fetches a list of prices
        "BASE_URL": at.v1, "API_KEY": at.key, "CLIP": str(CLIP), "MODEL": NAME,
    }  # fmt: skip
    done = subprocess.run(
        [python_of("litellm"), Path(__file__).with_name("litellm_client.py")],
        cwd=ROOT, env=environ, capture_output=True, text=True, timeout=CLIENT_WITHIN_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # LiteLLM prints advice of its own between.
    lines = [json.loads(it[1:]) for it in done.stdout.splitlines() if it.startswith('={"name"')]
    cases = {line["name"]: line.get("got", line) for line in lines}
    assert likeness(SPOKEN, cases["transcription"]["text"]) > 0.8
    words = [word["word"] for word in cases["verbose"]["words"]]
    assert likeness(SPOKEN, " ".join(words)) > 0.8
    FORMATS["mp3"].check(base64.b64decode(cases["speech"]), at_least_s=0.5)
    assert (cases["completion"], cases["streamed"]) == ("one two three", "one two three")
    assert cases["embedding"][0] == 2.0
    assert cases["no_model"]["raised"] == "NotFoundError"
    assert "tts-9" in cases["no_model"]["said"]
