"""Docker's health check of the container; only the standard library.

Exit status 0: each model is loaded, or they were dropped for want of requests and the next one
will load them. Docker keeps the line that is printed.
"""

from __future__ import annotations

import http.client
import json
import os
import sys


def look(port: int, timeout_s: float = 5.0) -> tuple[bool, str]:
    """Whether the server on this machine is healthy, and what it says."""
    # Not urllib, which would ask a proxy of the environment.
    connection = http.client.HTTPConnection("localhost", port, timeout=timeout_s)
    try:
        connection.request("GET", "/health")
        answer = json.loads(connection.getresponse().read())
        status, detail = answer["status"], answer["detail"]
        loaded = answer["whisper_loaded"] and answer["diarizer_loaded"]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        return False, f"/health gives no usable answer: {type(error).__name__}: {error}"
    finally:
        connection.close()
    return status == "unloaded" or (status == "ready" and loaded), detail or status


if __name__ == "__main__":
    healthy, line = look(int(os.environ.get("ENGINE_PORT", "8002")))
    sys.stdout.write(f"{line}\n")
    sys.exit(0 if healthy else 1)
