"""Transcriptions without a client that waits: POST /v1/audio/jobs.

A job is a row of the database and a folder; a process of its own works on them (`__main__`).
"""

from proxy_app.audio_jobs.asked import Asked
from proxy_app.audio_jobs.ledger import (
    AudioJobs,
    NoAudioJobError,
    Order,
    OtherJobError,
    State,
    TooManyJobsError,
)
from proxy_app.audio_jobs.targets import BadWebhookError, check_webhook

__all__ = [
    "Asked",
    "AudioJobs",
    "BadWebhookError",
    "NoAudioJobError",
    "Order",
    "OtherJobError",
    "State",
    "TooManyJobsError",
    "check_webhook",
]
