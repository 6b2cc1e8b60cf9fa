"""`demo`: send a recording to the gateway and print who said what."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import requests
from requests_toolbelt import MultipartEncoder

from proxy_app.cli.errors import CommandError
from proxy_app.config import Config

ROOT = Path(__file__).resolve().parents[2]
# Half a minute of a real telephone call between two people, which comes with pyannote.audio.
SAMPLE = ".venv/engine/lib/python*/site-packages/pyannote/audio/sample/sample.wav"
CONNECT_S = 5
WIDTH = 88


def run(config: Config, file: Path | None) -> None:
    """Print FILE, or the sample call, as a labelled transcript with times.

    Raises:
        CommandError: the file cannot be read, or the gateway does not answer or refuses it.
    """
    path = file or sample()
    print(f"Sending {path.name} to {config.url}/api/audio/transcribe-with-speakers", flush=True)
    answer = send(config, path)
    print()
    for line in transcript(answer):
        print(line)
    models = answer["models"]
    print(f"\n{answer['speakers_detected']} speakers in {answer['duration']:.1f} s of audio.")
    print(f"Words by {models['transcription']}; speakers by {models['diarization']}.")
    print(f"The page: {config.url}")


def sample() -> Path:
    """The sample conversation."""
    found = sorted(ROOT.glob(SAMPLE))
    if not found:
        raise CommandError("no sample recording here (`make setup` brings one): make demo FILE=...")
    return found[0]


def send(config: Config, path: Path) -> dict[str, Any]:
    """Ask the gateway; its answer is described in docs/api.md."""
    try:
        with path.open("rb") as audio:
            body = MultipartEncoder({"file": (path.name, audio, "application/octet-stream")})
            answer = requests.post(
                f"{config.url}/api/audio/transcribe-with-speakers",
                data=body,
                headers={"Content-Type": body.content_type},
                auth=("admin", config.admin_password) if config.admin_password else None,
                # The gateway limits the time of the work itself.
                timeout=(CONNECT_S, None),
                verify=False,  # noqa: S501 - this machine's own; see main
            )
    except requests.ConnectionError:
        raise CommandError(f"nothing answers at {config.url}: `make up` starts it") from None
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None
    if not answer.ok:
        raise CommandError(f"the gateway refused {path.name}: {reason(answer)}")
    found: dict[str, Any] = answer.json()
    return found


def reason(answer: requests.Response) -> str:
    """The message of an error answer, or what came instead of one."""
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code} {answer.reason}"


def transcript(answer: dict[str, Any]) -> list[str]:
    """Lines such as `  0:06.7  Speaker_0  Hello.`, folded to the width of a terminal."""
    lines = []
    for segment in answer["segments"]:
        head = f"{clock(segment['start_ms']):>9}  {segment['speaker']}  "
        lines += textwrap.wrap(
            segment["text"], WIDTH, initial_indent=head, subsequent_indent=" " * len(head)
        )
    return lines or ["(no speech)"]


def clock(milliseconds: int) -> str:
    """3:07.5 for 187500; 1:00:07.5 with hours."""
    tenths = milliseconds // 100
    hours, rest = divmod(tenths, 36000)
    minutes, tenths = divmod(rest, 600)
    seconds = f"{tenths // 10:02}.{tenths % 10}"
    return f"{hours}:{minutes:02}:{seconds}" if hours else f"{minutes}:{seconds}"
