"""Which job a service's card shows."""

from typing import Any

import pytest

from proxy_app.web.views import service

HOSTS = [
    {"name": "localhost", "address": "localhost", "local": True},
    {"name": "spark1", "address": "192.0.2.1", "local": False},
    {"name": "spark2", "address": "192.0.2.2", "local": False},
]


@pytest.mark.parametrize(
    ("name", "host", "job_host", "shown"),
    [
        ("whisperx", "spark1", "spark1", True),
        ("whisperx", "192.0.2.1", "spark1", True),
        ("whisperx", "127.0.0.1", "localhost", True),
        ("whisperx", "spark1", "localhost", False),
        ("whisperx", "spark1", "spark2", False),
        ("whisperx-spark2", "spark2", "spark2", True),
        ("whisperx-spark2", "192.0.2.2", "spark2", True),
        ("whisperx-spark2", "spark2", "spark1", False),
        ("parakeet", "spark1", "spark1", False),
    ],
)
def test_an_install_is_on_the_card_of_the_service_that_it_installs(
    name: str, host: str, job_host: str, shown: bool
) -> None:
    card: dict[str, Any] = {"name": name, "host": host, "api": "whisperx"}
    job = {"kind": "whisperx.install", "service": "whisperx", "host": job_host, "preview": False}
    found = service(card, HOSTS, [{**job, "state": "running"}])["job"]
    assert (found is not None) is shown
    assert service(card, HOSTS, [{**job, "state": "running", "preview": True}])["job"] is None


def test_a_restart_is_on_the_card_of_its_service_alone() -> None:
    job = {"kind": "service.restart", "service": "whisperx-spark2", "host": "spark2"}
    jobs = [{**job, "preview": False, "state": "running"}]
    for name, shown in (("whisperx-spark2", True), ("whisperx", False)):
        card = {"name": name, "host": "spark2", "api": "whisperx"}
        assert (service(card, HOSTS, jobs)["job"] is not None) is shown
