"""The gateway's application, made to send heartbeats after a moment: gunicorn in test_streams.py
runs `tests.api.impatient:create_app()`.
"""

from proxy_app.api import streams
from proxy_app.app import create_app

__all__ = ["create_app"]

streams.HEARTBEAT_S = 0.05
