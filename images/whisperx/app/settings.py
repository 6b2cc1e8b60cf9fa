"""The engine's settings, read from ENGINE_* and HF_TOKEN."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from proxy_app.settings import setting

# Measured: ../README.md, "Memory".
SENKO_BYTES_PER_HOUR = 3_000_000_000
# Users report 3 to 6 GB of host memory for an hour of audio with pyannote.
PYANNOTE_BYTES_PER_HOUR = 6_000_000_000


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """One field for each variable; `proxy_app.settings` documents and reads them."""

    host: str = setting("127.0.0.1", "The address to listen on.")
    port: int = setting(8002, "The port to listen on.", minimum=1, maximum=65535)
    api_key: str | None = setting(
        None,
        "When set, every request except GET /health needs `Authorization: Bearer KEY`.",
        secret=True,
    )

    model: str = setting(
        "bundled",
        "The Whisper model: `bundled` (tiny.en, no download), a name (tiny, base, small, medium, "
        "large-v3, turbo; .en variants up to medium.en) or a folder with a CTranslate2 model.",
    )
    device: str = setting(
        "auto",
        "Where the models run; `cuda` refuses to start where CTranslate2 sees no GPU.",
        choices=("auto", "cpu", "cuda"),
    )
    compute_type: str = setting(
        "auto",
        "CTranslate2's arithmetic; `auto` is float16 on CUDA and int8 on the CPU.",
        choices=("auto", "int8", "int8_float16", "int8_float32", "float16", "bfloat16", "float32"),
    )
    threads: int = setting(
        0,
        "CPU threads for inference; 0 is one for each core this process may use.",
        minimum=0,
        maximum=1024,
    )

    diarizer: str = setting(
        "auto",
        "Who tells the speakers apart; `auto` is pyannote where HF_TOKEN or ENGINE_PYANNOTE_MODEL "
        "is set, else senko.",
        choices=("auto", "pyannote", "senko"),
    )
    pyannote_model: str | None = setting(
        None,
        "pyannote's pipeline: a hub id (default pyannote/speaker-diarization-community-1; "
        "pyannote/speaker-diarization-3.1 works too) or a folder with a config.yaml.",
    )
    hf_token: str | None = setting(
        None, "Hugging Face token for pyannote's gated models.", env="HF_TOKEN", secret=True
    )

    known_speaker_cosine: float | None = setting(
        None,
        "How alike a voice and a known speaker's reference have to be (cosine); by default what "
        "was measured for senko's embeddings. pyannote's were not measured: without this nobody "
        "is given a name.",
        minimum=0,
        maximum=1,
    )

    max_upload_bytes: int = setting(
        2 * 1024**3,
        "The largest request body, in bytes; more is answered with 413.",
        minimum=1,
        maximum=2**50,
    )
    max_audio_s: float = setting(
        4 * 3600.0,
        "The longest audio, in seconds; more is answered with 413.",
        minimum=1,
        maximum=1e6,
    )
    memory_per_hour_bytes: int | None = setting(
        None,
        "Memory that an hour of audio needs, in bytes; by default 3000000000 with senko and "
        "6000000000 with pyannote.",
        minimum=0,
    )
    memory_reserve_bytes: int = setting(
        1024**3, "Memory that a request must leave free, in bytes.", minimum=0
    )
    window_s: float = setting(
        900.0,
        "Recordings longer than this, in seconds, have their speakers told apart in windows of "
        "about this length, cut at silence (anyway after 1.2 times this), and linked by voice.",
        minimum=10,
        maximum=1100,
    )
    batch_size: int = setting(
        0,
        "Stretches of up to 30 s that are transcribed at once; 0 is 2 on the CPU, so that "
        "nobody waits for long in between, and 16 on CUDA.",
        minimum=0,
        maximum=256,
    )
    queue: int = setting(
        32,
        "Requests that may wait while one is worked on; one more is answered with 429.",
        minimum=0,
    )
    queue_deadline_s: float = setting(
        600.0,
        "A request that would have to wait for longer than this, in seconds, is answered with 429 "
        "at once; Retry-After says when there may be room.",
        minimum=0,
        maximum=86_400,
    )
    unload_after_min: float = setting(
        0.0,
        "Minutes without a request after which the models are dropped from memory; the next "
        "request loads them again and waits for that. 0 is never.",
        minimum=0,
        maximum=1e6,
    )
    spool_dir: Path | None = setting(  # noqa: RUF009 - a Path cannot change
        None,
        "Where uploads lie while they are worked on; by default the system's temporary folder.",
    )
    fatal_exit: bool = setting(
        False,
        "End the process (code 70) after a CUDA error that only a restart heals, instead of "
        "answering 503 until somebody restarts it.",
    )
    align: str = setting(
        "auto",
        "Word times by forced alignment instead of Whisper's own; `auto` is on for CUDA and off on "
        "the CPU, where it takes longer than all the rest.",
        choices=("auto", "on", "off"),
    )
    align_models: str = setting(
        "",
        "Alignment models instead of whisperx's own choice, by language: "
        "`en=/folder,de=owner/model` (folders with a config.json, or ids of the hub).",
    )
    align_fetch: bool = setting(
        False,
        "Fetch an alignment model that is not in the cache, in the background, when its language "
        "is first spoken; until it is there word times are Whisper's own.",
    )
    align_fetch_timeout_s: float = setting(
        600.0, "The longest that fetching a model may take, in seconds.", minimum=1, maximum=86400
    )

    @property
    def uses_pyannote(self) -> bool:
        """Whether `diarizer` and what is configured lead to pyannote."""
        if self.diarizer == "auto":
            return bool(self.hf_token or self.pyannote_model)
        return self.diarizer == "pyannote"

    @property
    def audio_bytes_per_hour(self) -> int:
        """What the preflight counts for an hour of audio, in bytes."""
        if self.memory_per_hour_bytes is not None:
            return self.memory_per_hour_bytes
        return PYANNOTE_BYTES_PER_HOUR if self.uses_pyannote else SENKO_BYTES_PER_HOUR


def folder_at(path: str) -> Path:
    """The folder that a setting names; with a ~ of nobody's it stands as it is, and is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)
