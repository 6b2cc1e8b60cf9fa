"""What gunicorn and the gateway log: lines that stay lines, and for each request one of JSON.

The metrics have the same numbers.
"""

from __future__ import annotations

import json
import logging
from collections.abc import MutableMapping
from datetime import timedelta
from typing import Any

from gunicorn.glogging import Logger as GunicornLogger

from proxy_app import log_lines

# Nothing else: gunicorn imports this file before gevent has patched the standard library.


class Logger(GunicornLogger):
    """As gunicorn's, but for the lines; the gateway's own go the same way."""

    def setup(self, cfg: Any) -> None:  # noqa: ANN401 - gunicorn's settings, which it makes as it runs
        """As gunicorn, and begin the gateway's own log."""
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(log_lines.Formatter(self.error_fmt, self.datefmt))
        log_lines.begin(logging.WARNING)

    def access(
        self,
        resp: Any,  # noqa: ANN401 - gunicorn's response, whose types do not say what it has
        req: object,  # noqa: ARG002 - gunicorn's signature
        environ: MutableMapping[str, Any],
        request_time: timedelta,
    ) -> None:
        """Write a request's line, and count the request."""
        from proxy_app.api.connection import ANSWER  # noqa: PLC0415 - as above
        from proxy_app.telemetry.account import KEY, End  # noqa: PLC0415 - as above

        account = environ.get(KEY)
        if account is None:
            return  # the application never saw it
        account.end()
        if ANSWER in environ:
            environ[ANSWER].end()  # as gunicorn would in a moment: what it has cost is known then
        served_by = (value for name, value in resp.headers if name.lower() == "x-served-by")
        body = environ["wsgi.input"]
        end = End(
            status=int(str(resp.status).split()[0]),
            service=next(served_by, account.refused_by),
            total_s=request_time.total_seconds(),
            upload_s=getattr(body, "seconds", 0.0),
            bytes_in=getattr(body, "received", 0),
            bytes_out=resp.sent or 0,
        )
        line = account.settle(end)
        if self.access_log_enabled:
            self.access_log.info(
                "%s", json.dumps({**line, "client": environ.get("REMOTE_ADDR", "")})
            )
