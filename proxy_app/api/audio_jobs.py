"""/v1/audio/jobs: transcriptions for which nobody has to wait. docs/long-recordings.md has it all.

A job belongs to the API key that asked for it; whoever has the whole house sees all of them.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import gevent
from flask import Blueprint, Response, jsonify, request

from proxy_app.api import openai_v1
from proxy_app.api.fields import flag, sent
from proxy_app.api.guard import api_key
from proxy_app.api.jobs import number
from proxy_app.api.same import HEADER, ticket
from proxy_app.api.transcribe import Served
from proxy_app.api.uploads import SpoolingRequest
from proxy_app.audio_jobs.asked import Asked, from_json, read_end, to_json
from proxy_app.audio_jobs.ledger import ACTIVE, RESULT, UPLOAD, Order, OtherJobError, State
from proxy_app.audio_jobs.shown import raised, shown
from proxy_app.audio_jobs.targets import BadWebhookError, check_webhook
from proxy_app.errors import DO_NOT_RETRY, RETRY_SOON, ApiError, BadRequestError
from proxy_app.gateway import current
from proxy_app.speech import Times
from proxy_app.store import AudioJob
from proxy_app.transcribing.asking import routes_for
from proxy_app.upstreams import End, Options

bp = Blueprint("audio_jobs", __name__, url_prefix="/v1/audio/jobs")

LIST: dict[str, dict[str, Any]] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
    "after": {"type": "string"},
}
"""The query of the list, as JSON Schema."""
_FREE_BYTES = 256 * 1024**2
"""What the disk is to have left when a recording has come."""


@bp.post("")
def order() -> tuple[Response, int]:
    """Ask for a transcription: the fields of /v1/audio/transcriptions, and `webhook`."""
    upload = openai_v1.recording()
    asked = openai_v1.asked_transcription()
    if flag("stream"):
        raise BadRequestError(
            "A job is not streamed. Leave `stream` out, and ask for the job's state.",
            param="stream",
            code="unsupported_value",
        )
    webhook = _webhook()
    gateway = current()
    routes_for(gateway, asked.options, speakers=asked.speakers)
    which = ticket()
    key = api_key()
    wanted = Asked(
        asked.options, asked.speakers, asked.format, tuple(sorted(asked.granularities)),
        sent().get("model", ""),
    )  # fmt: skip
    order_ = Order(
        owner=key.id if key else "",
        name=which.name,
        is_named=bool(request.headers.get(HEADER, "").strip()),
        content=which.content,
        asked=to_json(wanted),
        webhook=webhook,
    )
    job, status = _found_or_added(order_, upload, wanted)
    response = jsonify(shown(job))
    response.headers["Location"] = f"/v1/audio/jobs/{job.id}"
    return response, status


@bp.get("")
def list_jobs() -> Response:
    """`{"object": "list", "data": [...], "has_more"}`, the newest first; `after` is an id."""
    limit = number("limit", LIST["limit"])
    found = current().audio_jobs.history(
        _viewer(), after=request.args.get("after"), limit=limit + 1
    )
    data = [shown(job) for job in found[:limit]]
    return jsonify({"object": "list", "data": data, "has_more": len(found) > limit})


@bp.get("/<job_id>")
def one(job_id: str) -> Response:
    """How a job is."""
    return jsonify(shown(current().audio_jobs.get(job_id, _viewer())))


@bp.get("/<job_id>/result")
def result(job_id: str) -> Response:
    """What was said, as the job was asked for or in another `response_format`."""
    jobs = current().audio_jobs
    job = jobs.get(job_id, _viewer())
    if job.state in ACTIVE:
        raise ApiError(
            f"The job is {job.state}: ask again later.",
            status=409,
            code="job_not_done",
            headers=RETRY_SOON,
        )
    if job.state == State.FAILED and job.error is not None:
        raise raised(job.error)
    asked = _rendering(from_json(job.asked, Asked))
    try:
        end = read_end(jobs.folder(job.id) / RESULT)
    except FileNotFoundError:
        raise ApiError(
            "The result is kept no more. Send the recording again.", status=410, code="job_expired"
        ) from None
    _check_times(end, asked, job.service)
    response = openai_v1.render(end.transcript, asked)
    response.headers.update(Served(end.transcript, job.service, end.answer).headers)
    return response


@bp.delete("/<job_id>")
def remove(job_id: str) -> tuple[str, int]:
    """Take a job away, its files and its work; harmless to repeat."""
    current().audio_jobs.remove(job_id, _viewer())
    return "", 204


def _found_or_added(order_: Order, upload: Path, wanted: Asked) -> tuple[AudioJob, int]:
    gateway = current()
    jobs, config = gateway.audio_jobs, gateway.config
    if found := _found(order_):
        return found
    per_key, in_all = config.audio_jobs_per_key, config.audio_jobs_queued
    jobs.check_room(order_.owner, per_key=per_key, in_all=in_all)
    job_id, folder = jobs.new_folder()
    is_added = False
    try:
        if shutil.disk_usage(folder).free < upload.stat().st_size + _FREE_BYTES:
            raise ApiError(
                "The server's disk has no room for this recording. Try again later.",
                status=507,
                code="storage_full",
                headers=RETRY_SOON,
            )
        _move(upload, folder / UPLOAD)
        options = _with_references(wanted.options, folder)
        job = jobs.add(job_id, replace(order_, asked=to_json(replace(wanted, options=options))))
        is_added = job is not None
    finally:
        if not is_added:
            jobs.remove_files(job_id)
    if job is not None:
        return job, 202
    found = _found(order_)  # it has come at the same moment
    if found is None:
        raise ApiError("The same job has just ended. Send it again.", status=409, code="conflict")
    return found


def _found(order_: Order) -> tuple[AudioJob, int] | None:
    try:
        job = current().audio_jobs.find_same(order_)
    except OtherJobError:
        raise ApiError(
            f"This {HEADER} was sent with another request: each request needs one of its own.",
            status=422,
            code="idempotency_key_reused",
            param=HEADER,
            headers=DO_NOT_RETRY,
        ) from None
    return None if job is None else (job, 202 if job.state in ACTIVE else 200)


def _move(source: Path, target: Path) -> None:
    """In a thread: the spool may be on another disk than the jobs."""
    gevent.get_hub().threadpool.apply(shutil.move, (source, target))


def _with_references(options: Options, folder: Path) -> Options:
    """The same with the voices of known speakers in the job's folder."""
    known = []
    for place, speaker in enumerate(options.known_speakers):
        target = folder / f"reference-{place}.wav"
        _move(speaker.reference, target)
        known.append(replace(speaker, reference=target))
    return replace(options, known_speakers=tuple(known))


def _webhook() -> str | None:
    if "webhook" in request.files or "webhook[]" in sent():
        raise BadRequestError("Send `webhook` as one text.", param="webhook")
    url = sent().get("webhook", "").strip()
    if not url:
        return None
    config = current().config
    try:
        check_webhook(url, config.webhook_hosts)
    except BadWebhookError as error:
        raise BadRequestError(f"webhook={url[:100]!r}: {error}.", param="webhook") from None
    if config.webhook_secret is None:
        raise BadRequestError(
            "There is nothing to sign a webhook with (SPEECH_WEBHOOK_SECRET).", param="webhook"
        )
    return url


def _rendering(asked: Asked) -> openai_v1.Asked:
    """How the result is wanted."""
    cast(SpoolingRequest, request).fields = request.args
    wanted = openai_v1.format_of(default=asked.format)
    if wanted in openai_v1.WITH_SPEAKERS and not asked.speakers:
        raise BadRequestError(
            f"This job was not asked for speakers: send it with response_format={wanted}.",
            param="response_format",
            code="unsupported_value",
        )
    granularities = openai_v1.granularities(default=asked.granularities)
    options = replace(asked.options, logprobs=asked.options.logprobs and wanted == "json")
    return openai_v1.Asked(options, wanted, granularities, asked.speakers)


def _check_times(end: End, asked: openai_v1.Asked, service: str) -> None:
    """See that nothing is told that was made up.

    Raises:
        BadRequestError: the answer needs times that the service has not told.
    """
    needed = openai_v1.times_of(asked.format, asked.granularities)
    if needed <= end.times:
        return
    is_of_words = needed == Times.WORDS
    of = "each word" if is_of_words else "anything"
    raise BadRequestError(
        f"{service} has not told when {of} is said, which this answer needs. Ask for json or text,"
        " or send the recording again as a job with this format: it then goes to a service that"
        " tells it, if there is one.",
        param="timestamp_granularities" if is_of_words else "response_format",
        code="no_timestamps",
    )


def _viewer() -> str | None:
    """Whose jobs are seen; None is whoever sees all."""
    key = api_key()
    return key.id if key else None
