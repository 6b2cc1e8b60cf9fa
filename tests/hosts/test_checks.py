"""What is said of a host is refused at the door where it could mean anything else."""

from collections.abc import Callable

import pytest

from proxy_app.hosts import checks
from proxy_app.jobs.forms import FormError

EVIL = (
    "", "-oProxyCommand=touch pwned", "a\nb", "a b", "{{ lookup('pipe', 'id') }}", "$(id)", "a;id",
    "a`id`", "a\0b", "x" * 300, "sp\u0430rk", "a,b", "all:!b", "../x", "@x", "a/b", "a%h",
)  # fmt: skip


@pytest.mark.parametrize("text", EVIL)
@pytest.mark.parametrize("check", [checks.address, checks.user, checks.name, checks.fingerprint])
def test_what_could_be_an_option_a_template_or_two_things_is_refused(
    check: Callable[[str], str], text: str
) -> None:
    with pytest.raises(FormError) as caught:
        check(text)
    assert caught.value.param == check.__name__
    assert text not in str(caught.value) or check is checks.address or not text


@pytest.mark.parametrize(
    "text",
    ["169.254.169.254", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254", "0.0.0.0", "::",
     "224.0.0.1", "2130706433", "127.1", "0x7f.1", "[::1]", "host:22", "user@host"],
)  # fmt: skip
def test_an_address_of_no_host_or_in_another_spelling_is_refused(text: str) -> None:
    with pytest.raises(FormError):
        checks.address(text)


@pytest.mark.parametrize("text", ["10.0.0.7", "spark-1.local", "::1", "fd00::7", "SPARK"])
def test_an_address_of_a_host_is_taken_as_known_hosts_has_it(text: str) -> None:
    assert checks.address(text) == text.lower()


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("::FFFF:a00:1", "10.0.0.1"),
        ("FD00:0:0::0007", "fd00::7"),
        ("fd00:0:0:0:0:0:0:7", "fd00::7"),
    ],
)
def test_an_address_has_one_spelling(text: str, spelling: str) -> None:
    assert checks.address(text) == spelling


@pytest.mark.parametrize(
    "text", ["all", "whisperx", "control", "localhost", "spark-speech-page", "Spark1", "-a", "a-"]
)
def test_a_name_that_means_something_else_is_refused(text: str) -> None:
    with pytest.raises(FormError):
        checks.name(text)


@pytest.mark.parametrize("port", [0, -1, 65536, 2**70])
def test_a_port_that_is_none_is_refused(port: int) -> None:
    with pytest.raises(FormError):
        checks.port(port)


@pytest.mark.parametrize("names", [["all"], ["whisperx", "whisperx"], [1], [["whisperx"]]])
def test_groups_are_those_that_services_are_installed_on(names: list[object]) -> None:
    with pytest.raises(FormError):
        checks.groups(names)


def test_groups_come_in_one_order() -> None:
    assert checks.groups(["magpie", "whisperx"]) == ("whisperx", "magpie")
    assert checks.groups([]) == ()


@pytest.mark.parametrize("text", ["", "hunter2\n", "hunter2\x03", "hunter2" * 100])
def test_a_password_that_cannot_be_typed_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(FormError) as caught:
        checks.password(text)
    assert "hunter2" not in str(caught.value)
