"""What answers look like: types for the code, and schemas for the document, from one declaration.

Times are RFC 3339 in UTC.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

from proxy_app.jobs.forms import Field

JobState = Literal[
    "queued", "running", "canceling", "succeeded", "failed", "canceled", "timed_out", "lost"
]


class ErrorBody(TypedDict):
    """OpenAI's error object."""

    message: str
    type: str
    param: str | None
    code: str
    job_id: NotRequired[str]
    link: NotRequired[str]


class ErrorAnswer(TypedDict):
    """What is wrong, and what to do."""

    error: ErrorBody


class PhaseAnswer(TypedDict):
    """A named part of a job."""

    name: str
    state: str
    started_at: str | None
    finished_at: str | None


class JobAnswer(TypedDict):
    """A job: asked for, running or over."""

    id: str
    number: int
    kind: str
    title: str
    host: str
    service: str
    preview: bool
    state: JobState
    over: bool
    reason: str
    phase: str | None
    phases: list[PhaseAnswer]
    by: str
    why: str
    variables: dict[str, Any]
    rerun_of: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    url: str
    stream: str
    log: str


class JobAccepted(JobAnswer):
    """A job that was put into the queue."""

    job_id: str


class JobList(TypedDict):
    """Jobs, the newest first; `next` is the `before` of the next page."""

    jobs: list[JobAnswer]
    next: int | None


class KindAnswer(TypedDict):
    """What can be asked for, on which hosts, and the fields of its form."""

    kind: str
    title: str
    service: str
    hosts: list[str]
    fields: list[Field]


class KindList(TypedDict):
    """All kinds."""

    kinds: list[KindAnswer]


class VoiceAnswer(TypedDict):
    """A voice; of OpenAI's names, which every service answers to, there is only the name."""

    id: str
    name: str
    language: str | None
    service: str | None


class VoiceList(TypedDict):
    """The voices that there are at this moment."""

    voices: list[VoiceAnswer]


class SpeechModel(TypedDict):
    """What `model` may be for speech."""

    id: str
    name: str


class SpeechModelList(TypedDict):
    """All of them."""

    models: list[SpeechModel]


class WhisperXStatus(TypedDict):
    """Whether WhisperX is there, and its last install."""

    installed: bool
    healthy: bool
    state: str
    detail: str
    service: str | None
    host: str | None
    model: str | None
    job: JobAnswer | None
    hosts: list[str]
    hosts_error: str | None


class LastCheck(TypedDict):
    """A deep probe: real speech with known words."""

    at: str
    ok: bool
    took_s: float
    heard: str
    expected: str
    detail: str


class ServiceAnswer(TypedDict):
    """A registered service, and how it is."""

    name: str
    title: str
    kind: Literal["speakers", "asr", "diarize", "tts", "llm"]
    kind_name: str
    api: str
    base_url: str
    address: str
    host: str
    container: str | None
    registered: str
    state: str
    detail: str
    model: str | None
    diarizer: str | None
    device: str | None
    uptime_s: float | None
    in_flight: int | None
    queue: int | None
    max_audio_s: float | None
    uptime: str | None
    work: str | None
    embedded: bool
    ready: bool
    since: str | None
    restarts_left: int
    auto_restart: bool
    checking: bool
    last_check: LastCheck | None
    actions: list[Literal["start", "stop", "restart", "check", "remove"]]


class Malformed(TypedDict):
    """A registration that is skipped."""

    file: str
    reason: str


class ServiceList(TypedDict):
    """All services, and the files that cannot be used."""

    summary: str
    services: list[ServiceAnswer]
    malformed: list[Malformed]


class ConversationSegment(TypedDict):
    """What one speaker said without a pause."""

    start_ms: int
    end_ms: int
    speaker: str | None
    text: str


class Conversation(TypedDict):
    """Who said what."""

    duration: float
    language: str | None
    speakers_detected: int
    segments: list[ConversationSegment]
    models: dict[str, str]
    speaker_embeddings: NotRequired[dict[str, list[float]]]
    embedding_model: NotRequired[str]
    warnings: NotRequired[list[str]]


class AudioProgress(TypedDict):
    """How far an audio job is, in seconds of its recording."""

    stage: str
    done_s: float
    total_s: float


class AudioError(TypedDict):
    """Why an audio job failed; its result is the whole error."""

    message: str
    code: str
    param: str | None


class AudioJob(TypedDict):
    """A transcription for which nobody waits."""

    id: str
    object: Literal["audio.job"]
    status: Literal["queued", "running", "succeeded", "failed", "expired"]
    progress: AudioProgress
    model: str
    response_format: str
    served_by: str | None
    error: AudioError | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    url: str
    result: str


class AudioJobList(TypedDict):
    """Audio jobs, the newest first."""

    object: Literal["list"]
    data: list[AudioJob]
    has_more: bool


class Transcription(TypedDict):
    """json, verbose_json and diarized_json, as OpenAI has them."""

    text: str
    task: NotRequired[str]
    language: NotRequired[str]
    duration: NotRequired[float]
    segments: NotRequired[list[dict[str, Any]]]
    words: NotRequired[list[dict[str, Any]]]
    languages: NotRequired[list[dict[str, str]]]
    logprobs: NotRequired[list[dict[str, Any]]]
    usage: NotRequired[dict[str, Any]]


class AsrSegment(TypedDict):
    """What was said without a pause; `speaker` where they are told apart."""

    start: float
    end: float
    text: str
    speaker: NotRequired[str]
    words: NotRequired[list[dict[str, Any]]]


class AsrAnswer(TypedDict):
    """As whisper-asr-webservice and WhisperX answer it."""

    text: str
    language: str | None
    segments: list[AsrSegment]
    word_segments: NotRequired[list[dict[str, Any]]]
    speaker_embeddings: NotRequired[dict[str, list[float]]]
    embedding_model: NotRequired[str]


class KeyAnswer(TypedDict):
    """A key of a program's, without its secret."""

    id: str
    name: str
    created_at: str
    used_at: str | None
    max_in_flight: int | None
    per_minute: int | None


class MadeKey(KeyAnswer):
    """A key that was just made, which nobody is told again."""

    key: str


class KeyList(TypedDict):
    """All keys."""

    keys: list[KeyAnswer]


class ModelAnswer(TypedDict):
    """A model, as OpenAI has it, and the services that requests for it go to."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    served_by: list[str]


class ModelList(TypedDict):
    """All models."""

    object: Literal["list"]
    data: list[ModelAnswer]


class Gpu(TypedDict):
    """A host's GPU; `utilisation` is 0 to 1."""

    name: str
    utilisation: float | None
    temperature_c: float | None
    power_w: float | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None


class Container(TypedDict):
    """A container, as Docker tells of it."""

    name: str
    image: str
    state: str
    status: str


class PublicKey(TypedDict):
    """What a host's authorized_keys needs."""

    public: str
    fingerprint: str


class HostAnswer(TypedDict):
    """A host, and how it is; what is not known is null."""

    name: str
    address: str
    user: str | None
    port: int | None
    groups: list[str]
    local: bool
    own: bool
    state: Literal["reachable", "unreachable", "unknown"]
    detail: str
    at: str | None
    since: str | None
    gpus: list[Gpu]
    gpu_error: str | None
    cpu: float | None
    cores: int | None
    load: float | None
    memory_total_bytes: int | None
    memory_available_bytes: int | None
    disk_total_bytes: int | None
    disk_free_bytes: int | None
    uptime_s: float | None
    containers: list[Container]
    docker_error: str | None
    history: list[dict[str, Any]]


class HostList(TypedDict):
    """All hosts, and the key that a new one needs."""

    hosts: list[HostAnswer]
    error: str | None
    key: PublicKey | None


class ShownKey(TypedDict):
    """A key that a host shows."""

    type: str
    fingerprint: str


class HostKeys(TypedDict):
    """The keys that a host shows, for people to confirm."""

    keys: list[ShownKey]
    known: bool


class HostTrial(TypedDict):
    """Whether a host can be used, and what it has."""

    ok: bool
    detail: str
    found: dict[str, Any] | None


class SecretAnswer(TypedDict):
    """Whether a secret is set, and since when."""

    set: bool
    at: str | None
