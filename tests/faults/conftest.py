"""One installation for all tests of healing, well at the beginning of each."""

from collections.abc import Iterator

import pytest

from tests.faults.installation import Installation, installed


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(tmp_path_factory.mktemp("installed"), SPEECH_PROBE_LIMIT_S="5") as found:
        yield found


@pytest.fixture
def home(running: Installation) -> Installation:
    running.reset()
    return running
