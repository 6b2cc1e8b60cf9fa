"""Where a webhook may go, and how it is signed."""

import base64
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from proxy_app.audio_jobs.targets import BadWebhookError, address_of, check_webhook
from proxy_app.audio_jobs.webhooks import secret_bytes, signed
from proxy_app.config import load_config
from proxy_app.settings import SettingError

LISTED = "hooks.example.org, http://n8n.lan:5678,https://[fd00::1]:8443"


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.org/a?b=c",
        "https://HOOKS.example.org:443",
        "https://hooks.example.org./",
        "http://n8n.lan:5678/webhook",
        "https://[fd00::1]:8443/",
    ],
)
def test_what_is_listed_may_be_told(url: str) -> None:
    assert check_webhook(url, LISTED).hostname


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.org/",
        "https://hooks.example.org:8443/",
        "https://n8n.lan:5678/",
        "https://hooks.example.org@evil.org/",
        "https://evil.org/hooks.example.org",
        "https://a.hooks.example.org/",
        "https://hooks.example.org\\@evil.org/",
        "https://hooks.example.org/\r\nHost: evil.org",
        "https://hooks.example.org/ x",
        "https://hooks.example.org/#part",
        "https://hooks.example.org:99999/",
        "ftp://hooks.example.org/",
        "//hooks.example.org/",
        "https://[hooks",
        "hooks.example.org",
        "https://hooks.example.org/" + "a" * 2000,
        "https://hooks.example.org/\u00fc",
        "https://hooks.example.org:0/",
    ],
)
def test_nothing_else_may(url: str) -> None:
    with pytest.raises(BadWebhookError):
        check_webhook(url, LISTED)


@pytest.mark.parametrize(
    "entry",
    [
        *("host:abc", "ftp://x", "[::1", ":99999", "*.x", "x:99999", "x:0", "https://"),
        *("hooks.example.org/speech", "me@x", "x?y", "a b", "http://x;y"),
    ],
)
def test_an_entry_of_the_list_that_is_no_host_is_named_at_the_start(entry: str) -> None:
    with pytest.raises(SettingError, match="SPEECH_WEBHOOK_HOSTS") as caught:
        load_config({"SPEECH_WEBHOOK_HOSTS": f"hooks.example.org, {entry}"})
    assert repr(entry) in str(caught.value)


def test_entries_of_the_list_that_are_hosts_are_taken() -> None:
    for listed in ("", LISTED, "http://127.0.0.1:5678/, Hooks.Example.org."):
        assert load_config({"SPEECH_WEBHOOK_HOSTS": listed}).webhook_hosts == listed


def test_with_an_empty_list_nobody_is_told() -> None:
    with pytest.raises(BadWebhookError, match="SPEECH_WEBHOOK_HOSTS"):
        check_webhook("https://hooks.example.org/", " ")


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (["192.168.1.9"], "192.168.1.9"),
        (["169.254.169.254"], None),
        (["::ffff:169.254.169.254"], None),
        (["fe80::1%eth0"], None),
        (["fd00:ec2::254"], None),
        (["64:ff9b::a9fe:a9fe"], None),
        (["64:ff9b::10.0.0.7"], "64:ff9b::10.0.0.7"),
        (["2002:a9fe:a9fe::1"], None),
        (["2002:a00:7::1"], "2002:a00:7::1"),
        (["::169.254.169.254"], None),
        (["::10.0.0.7"], "::10.0.0.7"),
        (["::1"], "::1"),
        (["2001:0:4136:e378::5601:5601"], None),
        (["2001:0:a9fe:a9fe::f7f7:f7f7"], None),
        (["2001:0:4136:e378::f5ff:fff8"], "2001:0:4136:e378::f5ff:fff8"),
        (["64:ff9b:1:a9fe:a9:fe00::"], None),
        (["64:ff9b:1:a9:fe:a9fe::"], None),
        (["64:ff9b:1:0:a9:fea9:fe00:0"], None),
        (["64:ff9b:1::169.254.169.254"], None),
        (["64:ff9b:1:a00:0:700::"], "64:ff9b:1:a00:0:700::"),
        (["64:ff9b:1::10.0.0.7"], "64:ff9b:1::10.0.0.7"),
        (["0.0.0.0", "224.0.0.1"], None),
        (["169.254.169.254", "10.0.0.7"], "10.0.0.7"),
    ],
)
def test_a_listed_name_that_means_a_link_local_address_is_not_connected_to(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str], expected: str | None
) -> None:
    def found(_host: str, port: int, **_about: Any) -> list[Any]:  # noqa: ANN401 - getaddrinfo's
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    parts = urlsplit("https://hooks.example.org/")
    if expected:
        assert address_of(parts) == (expected, 443)
    else:
        with pytest.raises(BadWebhookError):
            address_of(parts)


def test_the_secret_is_24_to_64_bytes_of_base64() -> None:
    assert secret_bytes(None) is None
    assert secret_bytes("whsec_" + base64.b64encode(bytes(24)).decode()) == bytes(24)
    for text in ("whsec_", "no base64!", base64.b64encode(bytes(23)).decode()):
        with pytest.raises(SettingError, match="SPEECH_WEBHOOK_SECRET"):
            secret_bytes(text)


def test_a_message_is_signed_as_standard_webhooks_says() -> None:
    headers = signed("msg_1", b"{}", bytes(32))
    assert headers["webhook-id"] == "msg_1"
    assert headers["webhook-signature"].startswith("v1,")
    assert len(base64.b64decode(headers["webhook-signature"][3:])) == 32
