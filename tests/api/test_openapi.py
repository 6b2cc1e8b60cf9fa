"""The OpenAPI document is true: schemathesis asks a gateway what it says, and reads the answers."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any
from zlib import crc32

import jsonschema_rs
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    missing_required_header,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from proxy_app.api.openapi.operations import OPERATIONS
from proxy_app.config import load_config
from tests.api.own_document import closed, refuse_undeclared
from tests.api.recordings import canonical_wav
from tests.jobs.house import House
from tests.jobs.house import settings as house_settings
from tests.jobs.web import Web, serving
from tests.standins.upstream_llm import NAME, StandInLLM
from tests.standins.upstream_whisperx import StandIn

EXAMPLES = 6
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    missing_required_header,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]
"""All but positive_data_acceptance: which variables a kind takes, and which hosts there are, only
the answer of /api/jobs/kinds says."""


@pytest.fixture(scope="module")
def web(engine: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A gateway with an inventory, WhisperX, an LLM and eSpeak NG; nobody starts its jobs."""
    upstream = {
        "WHISPERX_HOST": "127.0.0.1",
        "WHISPERX_PORT": str(engine.port),
        "SPEECH_VOICE": "true",
    }
    with StandInLLM() as llm:
        upstream |= {"LLM_HOST": "127.0.0.1", "LLM_PORT": str(llm.port)}
        house = House(house_settings(tmp_path_factory.mktemp("openapi"), **upstream))
        with serving(house) as web:
            yield web
    house.room.close()


@pytest.fixture(scope="module")
def over(web: Web) -> str:
    """A job that is over, so that its stream ends."""
    job = web.post("/api/whisperx/install", {"host": "slow"}).json()
    assert web.post(f"{job['url']}/cancel").ok
    found: str = job["id"]
    return found


@pytest.fixture(scope="module")
def document(web: Web) -> dict[str, Any]:
    found: dict[str, Any] = web.get("/api/openapi.json").json()
    return found


@pytest.fixture(scope="module")
def api(web: Web) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{web.url}/api/openapi.json")


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_the_gateway_answers_as_the_document_says(
    api: schemathesis.BaseSchema, over: str, mode: GenerationMode
) -> None:
    asked = set()
    for result in api.get_all_operations():
        assert isinstance(result, Ok), result
        operation = result.ok()
        if operation.label == "GET /api/live":
            continue  # it does not end

        @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Case[Any]) -> None:
            if (
                "job_id" in case.path_parameters
                and crc32(case.path_parameters["job_id"].encode()) % 2
            ):
                case.path_parameters["job_id"] = over  # others are 404
            if isinstance(case.body, dict) and isinstance(case.body.get("address"), str):
                case.body["address"] = "127.0.0.1"  # nobody else's machine is knocked at
            case.call_and_validate(checks=CHECKS, timeout=60)
            asked.add(case.operation.label)

        with contextlib.suppress(Unsatisfiable):  # there is nothing that could be sent wrong
            ask()
    assert len(asked) > 8, asked


def test_what_is_in_it_is_what_there_is(document: dict[str, Any]) -> None:
    declared = {
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method in methods
    }
    assert declared == set(OPERATIONS)
    for methods in document["paths"].values():
        for operation in methods.values():
            assert operation["summary"].endswith(".")
    switch = document["paths"]["/api/services/{name}/{verb}"]["post"]
    assert switch["parameters"][1]["schema"]["enum"] == ["start", "stop", "restart"]


def test_the_live_stream_begins_as_declared(web: Web, document: dict[str, Any]) -> None:
    shape = document["paths"]["/api/live"]["get"]["responses"]["200"]["content"]
    names = shape["text/event-stream"]["schema"]["properties"]["event"]["enum"]
    with web.stream("/api/live") as stream:
        assert next(iter(stream)).name in names


@pytest.mark.parametrize(
    "path",
    [
        *("/api/services", "/api/services/{name}", "/api/jobs", "/api/jobs/kinds", "/api/secrets"),
        *("/api/jobs/{job_id}", "/api/whisperx/install/{job_id}", "/api/whisperx/status"),
        *("/api/hosts", "/api/openapi.json", "/v1/audio/voices", "/v1/audio/models"),
        *("/v1/models", "/v1/models/{model}"),
    ],
)
def test_answers_have_nothing_that_is_not_declared(
    web: Web, document: dict[str, Any], over: str, path: str
) -> None:
    answer = web.get(path.format(job_id=over, name="whisperx", model=NAME))
    assert answer.status_code == 200
    refuse_undeclared(document, "get", path, answer.json())


def test_a_job_that_was_asked_for_has_nothing_that_is_not_declared(
    web: Web, document: dict[str, Any], over: str
) -> None:
    for job in web.get("/api/jobs?state=active").json()["jobs"]:
        assert web.post(f"{job['url']}/cancel").ok
    answer = web.post(f"/api/jobs/{over}/rerun")
    assert answer.status_code == 202
    refuse_undeclared(document, "post", "/api/jobs/{job_id}/rerun", answer.json())
    assert web.post(f"{answer.json()['url']}/cancel").ok


@pytest.mark.parametrize(
    "path", ["/api/audio/transcribe-with-speakers", "/v1/audio/transcriptions"]
)
def test_transcripts_are_as_declared(
    web: Web, standin: StandIn, document: dict[str, Any], path: str
) -> None:
    for fields in ({}, {"response_format": "verbose_json", "timestamp_granularities[]": "word"},
                   {"response_format": "diarized_json"}):  # fmt: skip
        files = {"file": ("a.wav", canonical_wav(2))}
        answer = requests.post(web.url + path, files=files, data=fields, timeout=60)
        assert answer.status_code == 200, answer.text
        refuse_undeclared(document, "post", path, answer.json())


def test_errors_are_as_declared(web: Web, document: dict[str, Any]) -> None:
    whole = {
        "$ref": "#/components/schemas/ErrorAnswer", "components": closed(document["components"])
    }  # fmt: skip
    for job in web.get("/api/jobs?state=active").json()["jobs"]:
        assert web.post(f"{job['url']}/cancel").ok
    first = web.post("/api/whisperx/install", {"host": "quick"})
    assert first.status_code == 202
    for answer in (
        web.get("/api/jobs/nothing"), web.get("/api/jobs?limit=0"), web.post("/api/jobs", {}),
        web.post("/api/whisperx/install", {"host": "quick"}),
    ):  # fmt: skip
        assert answer.status_code >= 400
        jsonschema_rs.validator_for(whole).validate(answer.json())
    assert web.post(f"{first.json()['url']}/cancel").ok


def test_the_document_is_what_the_house_serves_and_small(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert len(json.dumps(document)) < 200_000
    assert load_config({}).url not in json.dumps(document)
