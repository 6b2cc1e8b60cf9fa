"""How gunicorn runs the gateway.

    gunicorn -c proxy_app/gunicorn.conf.py 'proxy_app.app:create_app()'

gevent workers, because a slow sender or reader then costs a greenlet and not a worker. gunicorn
patches the standard library in each worker before it imports the application.
"""

# ruff: noqa: N999 - gunicorn's own name for such a file

import os
import resource
import ssl
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from proxy_app.access.start import prepare
from proxy_app.config import bracketed, check_certificate, load_config, make_folders
from proxy_app.services.registry import Registry
from proxy_app.settings import SettingError

_ENOUGH_FILES = 16384

try:
    _config = load_config(os.environ)
    Registry(_config)
    check_certificate(_config)
    make_folders(_config)
    prepare(_config)
except SettingError as error:
    print(f"The gateway cannot start: {error}", file=sys.stderr)  # noqa: T201 - no log yet
    raise SystemExit(2) from None
if _config.public and _config.tls_cert_path is None and not _config.proxies:
    print(  # noqa: T201
        f"WARNING: listening on {_config.host} without a certificate (SPEECH_TLS_CERT_PATH): who is"
        " on the network between can read the password.",
        file=sys.stderr,
    )

bind = f"{bracketed(_config.host)}:{_config.port}"
certfile = _config.tls_cert_path and str(_config.tls_cert_path)
keyfile = _config.tls_key_path and str(_config.tls_key_path)
workers = _config.workers
worker_class = "proxy_app.worker.Worker"
# SPEECH_MAX_UPLOADS bounds the uploads; connections that send nothing useful cost little, and must
# not keep others out. An upload has one file open beside its connection while it comes in, and a
# few while it is decoded and sent on.
_most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
_files = _most_files if 0 <= _most_files < _ENOUGH_FILES else _ENOUGH_FILES
resource.setrlimit(resource.RLIMIT_NOFILE, (_files, _most_files))
worker_connections = min(4000, _files // 2)
keepalive = 5  # seconds; also the time for the headers of a request
timeout = 120  # seconds without a sign of life of a worker's event loop, not of a request
graceful_timeout = 30
limit_request_line = 4094
limit_request_fields = 100
limit_request_field_size = 8190
forwarded_allow_ips = ""  # no proxy is trusted to say who the client is
control_socket_disable = True
proc_name = "spark-speech"
loglevel = _config.log_level
accesslog = "-"
logger_class = "proxy_app.access_log.Logger"
_metrics = _config.state_dir.resolve() / "metrics"
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_metrics)


def on_starting(_arbiter: object) -> None:
    """Begin to count anew."""
    for path in _metrics.glob("*_[0-9]*.db"):
        path.unlink()


def ssl_context(_gunicorn: object, make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """Leave the handshake to the worker, which bounds its time."""
    context: Any = make()
    context.wrap_socket = partial(context.wrap_socket, do_handshake_on_connect=False)
    return context  # type: ignore[no-any-return]
