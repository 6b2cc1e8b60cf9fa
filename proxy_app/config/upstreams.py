"""The settings that register services, without the prefix that all others have."""

from __future__ import annotations

from dataclasses import dataclass

from proxy_app.settings import setting

_MODELS = ("tiny", "base", "small", "medium", "large-v3")


@dataclass(frozen=True)
class Upstreams:
    """Services that the environment registers; SPARK2_* stand in where WHISPERX_* are missing."""

    spark2_host: str | None = setting(None, "Default of WHISPERX_HOST.", env="SPARK2_HOST")
    spark2_user: str | None = setting(None, "Default of WHISPERX_USER.", env="SPARK2_USER")
    whisperx_host: str | None = setting(
        None, "Host of the WhisperX server; registers the service.", env="WHISPERX_HOST"
    )
    whisperx_user: str | None = setting(None, "Who logs in there by SSH.", env="WHISPERX_USER")
    whisperx_port: int = setting(
        8002, "Port of the WhisperX server.", env="WHISPERX_PORT", minimum=1, maximum=65535
    )
    whisperx_container: str | None = setting(
        "whisperx-asr", "Name of its container; empty if it has none.", env="WHISPERX_CONTAINER"
    )
    whisperx_model: str = setting(
        "medium",
        f"Its Whisper model ({', '.join(_MODELS)}), which the embedded engine of `make up` loads "
        "too, if this is set.",
        env="WHISPERX_MODEL",
    )
    whisperx_api_key: str | None = setting(
        None, "Key that the WhisperX server asks for.", env="WHISPERX_API_KEY", secret=True
    )
    parakeet_host: str | None = setting(
        None, "Host of a Parakeet server; registers the service.", env="PARAKEET_HOST"
    )
    parakeet_port: int = setting(
        8001, "Port of the Parakeet server.", env="PARAKEET_PORT", minimum=1, maximum=65535
    )
    parakeet_api_key: str | None = setting(
        None, "Key that the Parakeet server asks for.", env="PARAKEET_API_KEY", secret=True
    )
    sortformer_host: str | None = setting(
        None,
        "Host of a Parakeet server that has the Sortformer patch; registers the service.",
        env="SORTFORMER_HOST",
    )
    sortformer_port: int = setting(
        8001, "Port of that server.", env="SORTFORMER_PORT", minimum=1, maximum=65535
    )
    sortformer_api_key: str | None = setting(
        None, "Key that the diarizer asks for.", env="SORTFORMER_API_KEY", secret=True
    )
    magpie_host: str | None = setting(
        None, "Host of a Magpie server; registers the service.", env="MAGPIE_HOST"
    )
    magpie_port: int = setting(
        9000, "Port of the Magpie server.", env="MAGPIE_PORT", minimum=1, maximum=65535
    )
    llm_host: str | None = setting(
        None, "Host of an LLM server; registers the service.", env="LLM_HOST"
    )
    llm_port: int = setting(
        8000, "Port of the LLM server.", env="LLM_PORT", minimum=1, maximum=65535
    )
    llm_api_key: str | None = setting(
        None, "Key that the LLM server asks for.", env="LLM_API_KEY", secret=True
    )
