"""A second `up` over a supervisord that has given a process up."""

import re
from pathlib import Path

import pytest

from proxy_app.cli import supervised as cli
from proxy_app.supervision import ENGINE, supervisor
from tests.jobs.house import ROOT, eventually
from tests.jobs.supervised import supervised


def test_what_supervisord_has_given_up_is_started_by_the_next_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with supervised(tmp_path) as (socket, _known), supervisor(socket) as rpc:

        def is_in(state: str) -> bool:
            return bool(rpc.supervisor.getProcessInfo(ENGINE)["statename"] == state)

        monkeypatch.setattr(cli, "socket_path", lambda _state: socket)
        assert eventually(lambda: is_in("RUNNING"))
        (tmp_path / "broken").touch()
        rpc.supervisor.stopProcess(ENGINE)
        rpc.supervisor.startProcess(ENGINE, False)
        assert eventually(lambda: is_in("FATAL"))
        (tmp_path / "broken").unlink()
        cli.start_again(tmp_path)
        cli.raise_if_ended(tmp_path)
        assert eventually(lambda: is_in("RUNNING"))


def test_a_burst_of_kills_is_survived_alike_with_and_without_the_image() -> None:
    """What supervisord waits between its tries is 1 s, 2 s, 3 s and so on."""
    image = (ROOT / "images/control/supervisord.conf").read_text(encoding="utf-8")
    retries = {int(found) for found in re.findall(r"^startretries=(\d+)", image, re.MULTILINE)}
    assert retries == {cli.START_RETRIES}
    assert sum(range(1, cli.START_RETRIES + 1)) > 10
