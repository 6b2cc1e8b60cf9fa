"""A stand-in for what is going on: the real gateway, whose page shows services and hosts that a
file tells of instead of those that there are. States such as `given_up` take half an hour to come
about, and a GPU is not everywhere.

`gunicorn 'tests.standins.told_states:create_app()'` with TOLD_STATES, a file of JSON:
`{"services": {...}, "hosts": {...}}`, each as its GET answers.
"""

import json
import os
from pathlib import Path
from typing import Any

from flask import Flask

from proxy_app import app
from proxy_app.api import live


def create_app() -> Flask:
    """The gateway."""
    told = Path(os.environ["TOLD_STATES"])

    def read(topic: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(told.read_text())[topic]
        return found

    live.TOPICS["services"] = (0.2, lambda _gateway: read("services"))
    live.TOPICS["hosts"] = (0.2, lambda _gateway: read("hosts"))
    return app.create_app()
