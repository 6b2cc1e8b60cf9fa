"""The gateway's settings: what they refuse, and where services come from."""

import pytest

from proxy_app.config import load_config
from proxy_app.settings import SettingError


def test_the_defaults_listen_on_loopback_only() -> None:
    config = load_config({})
    assert (config.url, config.public) == ("http://127.0.0.1:8080", False)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_every_loopback_address_is_accepted(host: str) -> None:
    assert not load_config({"SPEECH_HOST": host}).public


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "spark"])
def test_every_other_address_is_public(host: str) -> None:
    assert load_config({"SPEECH_HOST": host}).public


def test_from_this_machine_a_gateway_on_all_addresses_is_on_loopback() -> None:
    assert load_config({"SPEECH_HOST": "0.0.0.0"}).url == "http://127.0.0.1:8080"


@pytest.mark.parametrize("listed", ["nginx", "10.0.0.1/8", "0.0.0.0/0", "::/0", "10.0.0.1,*"])
def test_a_proxy_that_is_none_or_everybody_is_refused(listed: str) -> None:
    with pytest.raises(SettingError, match=r"SPEECH_TRUSTED_PROXIES=.*own addresses"):
        load_config({"SPEECH_TRUSTED_PROXIES": listed})


def test_proxies_are_addresses_and_networks() -> None:
    config = load_config({"SPEECH_TRUSTED_PROXIES": "10.0.0.2, fd00::/64,"})
    assert [str(network) for network in config.proxies] == ["10.0.0.2/32", "fd00::/64"]


def test_an_ipv6_address_is_bracketed_in_the_url() -> None:
    assert load_config({"SPEECH_HOST": "::1"}).url == "http://[::1]:8080"


def test_the_second_spark_is_the_default_host_of_whisperx() -> None:
    environ = {"SPARK2_HOST": "spark-2", "SPARK2_USER": "ann"}
    config = load_config(environ)
    assert (config.whisperx_host, config.whisperx_user) == ("spark-2", "ann")
    assert load_config(environ | {"WHISPERX_HOST": "spark-3"}).whisperx_host == "spark-3"


@pytest.mark.parametrize(("duration_s", "limit_s"), [(0.0, 720.0), (48.0, 720.0), (3600.0, 9600.0)])
def test_the_time_limit_has_room_for_the_wait_in_the_services_own_queue(
    duration_s: float, limit_s: float
) -> None:
    assert load_config({}).time_limit_s(duration_s) == limit_s


def test_the_services_key_stays_out_of_repr() -> None:
    assert "hunter2" not in repr(load_config({"WHISPERX_API_KEY": "hunter2"}))


def test_allowed_hosts_are_compared_in_lower_case() -> None:
    assert load_config({"SPEECH_ALLOWED_HOSTS": "Spark.Local, b."}).names == {"spark.local", "b"}


@pytest.mark.parametrize(
    "names", ["*", "*.spark.local", "spark.local:8080", "http://spark", "a b", "spark,-x"]
)
def test_an_allowed_host_that_can_never_match_is_refused(names: str) -> None:
    with pytest.raises(SettingError, match=r"SPEECH_ALLOWED_HOSTS=.* is no host name"):
        load_config({"SPEECH_ALLOWED_HOSTS": names})


def test_an_allowed_host_may_be_an_address() -> None:
    config = load_config({"SPEECH_ALLOWED_HOSTS": "10.0.0.7, [FD00::1]"})
    assert config.names == {"10.0.0.7", "fd00::1"}


def test_allowed_origins_are_what_browsers_send() -> None:
    listed = "https://Notes.Example:443, http://localhost:3000,app://obsidian.md, http://[::1]:80,"
    assert load_config({"SPEECH_ALLOWED_ORIGINS": listed}).origins == {
        *("https://notes.example", "http://localhost:3000", "app://obsidian.md", "http://[::1]")
    }
    assert load_config({"SPEECH_ALLOWED_ORIGINS": " * "}).origins == {"*"}
    assert load_config({}).origins == frozenset()


@pytest.mark.parametrize(
    "origins",
    [
        *("notes.example", "https://notes.example/", "https://a@notes.example", "http://a b"),
        *("null", "https://", "http://a:0", "http://a:x", "http://[a", "*, https://a", "//a"),
        *("http://a?", "http://a#", "http://a:80:80", "https://*.example"),
    ],
)
def test_an_allowed_origin_that_no_browser_sends_is_refused(origins: str) -> None:
    with pytest.raises(SettingError, match=r"SPEECH_ALLOWED_ORIGINS=.* is no origin"):
        load_config({"SPEECH_ALLOWED_ORIGINS": origins})
