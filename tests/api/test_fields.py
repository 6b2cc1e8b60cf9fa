"""docs/speech-to-text.md is true: every line of its tables has a proof, and every proof a line."""

import json

import pytest

from tests.api import field_proofs, format_proofs
from tests.api.conftest import Gateway
from tests.api.field_lines import PROOFS, SERVER_VAD, Asking, lines
from tests.api.routed import LOADING, Routed
from tests.standins.upstream_whisperx import StandIn

assert field_proofs, format_proofs  # they are in PROOFS now


@pytest.mark.parametrize("line", list(lines()))
def test_a_line_of_the_document(gateway: Gateway, standin: StandIn, line: str) -> None:
    assert line in PROOFS, f"nothing proves {line!r}"
    PROOFS[line](Asking(gateway, standin))


def test_nothing_is_proved_that_is_not_said() -> None:
    assert set(PROOFS) == set(lines())


def test_what_only_whisperx_can_do_is_said_to_have_no_effect_elsewhere(routed: Routed) -> None:
    routed.whisperx.health = LOADING
    hints = {"prompt": "Hm.", "keywords": "A", "temperature": "0.2", "languages": "de,en"}
    vad = {"chunking_strategy": json.dumps(SERVER_VAD)}
    response = routed.gateway.transcribe(**hints, **vad)
    assert response.status_code == 200, response.text
    assert response.headers["x-served-by"] == "parakeet"
    for name in (*hints, *vad):
        assert f"`{name}` had no effect" in response.headers["x-speech-warnings"]
    routed.reset()
    response = routed.gateway.transcribe(**vad)
    assert response.headers["x-served-by"] == "whisperx"
