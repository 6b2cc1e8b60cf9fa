"""The settings of requests: sizes, places, queues and times."""

from __future__ import annotations

from dataclasses import dataclass

from proxy_app.settings import setting


@dataclass(frozen=True)
class Limits:
    """What one request may send, take and wait for."""

    max_upload_bytes: int = setting(
        2 * 1024**3, "Largest request in bytes; larger ones get 413.", minimum=1, maximum=2**50
    )
    max_audio_s: float = setting(
        4 * 3600.0, "Longest recording in seconds; longer ones get 413.", minimum=1, maximum=1e6
    )
    decode_memory_bytes: int = setting(
        1024**3,
        "Memory in bytes that decoding one file may take.",
        minimum=256 * 1024**2,
        maximum=2**50,
    )
    max_uploads: int = setting(
        200,
        "Uploads that one worker takes at the same time, being read or waiting for their turn; "
        "more get 503.",
        minimum=1,
    )
    body_timeout_s: float = setting(
        60.0,
        "Seconds without a byte after which an upload is given up, or an answer of which the "
        "client's machine acknowledges nothing; who takes it slowly gets all of it.",
        minimum=1,
    )
    body_bytes_per_s: int = setting(
        1024,
        "Bytes per second that an upload brings on average, once SPEECH_BODY_TIMEOUT_S are over; "
        "slower ones are given up.",
        minimum=1,
    )
    places: int = setting(
        33,
        "Requests that a service for recordings may have at the same time, at most: one that says "
        "in its /health how many it queues gets so many and one more, any other one. `places` of a "
        "registration goes before.",
        minimum=1,
        maximum=256,
    )
    waiting: int = setting(
        32,
        "Requests that wait for a place in one service, in all workers together; one more gets 429 "
        "at once.",
        minimum=1,
        maximum=10_000,
    )
    queue_deadline_s: float = setting(
        600.0,
        "Seconds a request waits for its place before it gets 429. The work may take as much "
        "longer, as it includes the wait in the service's own queue; OpenAI's clients wait for so "
        "long.",
        minimum=0,
        maximum=86_400,
    )
    linger_s: float = setting(
        30.0,
        "Seconds that a transcription goes on after its client has hung up, and that its result is "
        "kept: the same upload, begun again by then, gets it. 0 ends it at once.",
        minimum=0,
        maximum=3600,
    )
    voice: bool = setting(
        False,
        "Whether eSpeak NG is registered, a voice that needs no server. `make up` and the control "
        "container set it; what is installed goes before it.",
    )
    voice_places: int = setting(
        4,
        "Requests for speech that one service works on at the same time; more wait.",
        minimum=1,
        maximum=256,
    )
    voice_at_once: int = setting(
        16,
        "Texts that are encoded at the same time, in all workers together, while their clients "
        "read them: about 40 MB each. One more waits half a minute, then gets 429. A wav at its "
        "own speed needs no encoder, and is not counted.",
        minimum=1,
        maximum=256,
    )
    voice_language: str = setting(
        "en-US",
        "Language of the voices that clients name by OpenAI's names (alloy, echo), and of names "
        "that fit voices of several languages.",
    )
    voice_most_characters: int = setting(
        4096,
        "Longest text for speech in characters; longer ones get 400.",
        minimum=1,
        maximum=1_000_000,
    )
    voice_reads_markup: bool = setting(
        False, "Whether Markdown, addresses (URLs) and emoji are read aloud."
    )
    time_limit_floor_s: float = setting(
        120.0,
        "Seconds that any request may take in a service, its wait there (SPEECH_QUEUE_DEADLINE_S) "
        "left out.",
        minimum=1,
        maximum=1e6,
    )
    time_limit_factor: float = setting(
        2.5,
        "The same as a multiple of the recording's length; the larger one counts.",
        minimum=0,
        maximum=1e3,
    )
    llm_max_bytes: int = setting(
        64 * 1024**2,
        "Largest request in bytes to a language model, its pictures included; larger ones get 413.",
        minimum=1,
        maximum=2**40,
    )
    llm_first_byte_s: float = setting(
        600.0,
        "Seconds until a language model's answer begins; one that is not streamed begins when it "
        "is done.",
        minimum=0.1,
        maximum=86_400,
    )
    llm_idle_s: float = setting(
        120.0,
        "Seconds without a byte after which an answer that has begun is given up.",
        minimum=0.1,
        maximum=86_400,
    )
    llm_places: int = setting(
        64,
        "Requests that one language model's server may have at the same time; more wait.",
        minimum=1,
        maximum=10_000,
    )
