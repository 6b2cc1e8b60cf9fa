"""Docker's health check of the container: exit status 0 once the model is loaded.

Only the standard library. Docker keeps the printed line, or the error's.
"""

from __future__ import annotations

import http.client
import json
import os
import sys


def main() -> int:
    """Ask this machine's server."""
    # No urllib: a proxy in the environment is not for this address.
    server = http.client.HTTPConnection("localhost", int(os.environ["PARAKEET_PORT"]), timeout=5)
    server.request("GET", "/health")
    health = json.loads(server.getresponse().read())
    sys.stdout.write(f"{health['status']} {health['detail']}\n")
    return 0 if health["status"] == "ready" else 1


if __name__ == "__main__":
    sys.exit(main())
