"""Where the tests find recordings and meetings that are too large for the repository."""

import os
from pathlib import Path

import pytest


def test_data(name: str) -> Path:
    """The folder or file NAME of the test data (TEST_DATA in the environment), or a skip.

    Expected there: ami/ (MEETING.words.tsv, MEETING.ref.rttm, MEETING.vbx.rttm), audio/ (FLAC
    clips with ami.rttm) and openai-audio-openapi.yaml.
    """
    root = os.environ.get("TEST_DATA")
    if not root:
        pytest.skip("TEST_DATA is not set: the folder of recordings that these tests read")
    path = Path(root) / name
    if not path.exists():
        pytest.skip(f"TEST_DATA has no {name}")
    return path


# pytest collects functions by their name, and this one is no test.
test_data.__test__ = False  # type: ignore[attr-defined]
