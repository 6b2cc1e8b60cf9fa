"""Docker's health check of the container; only the standard library.

Exit status 0: the gateway answers. Whether services do has no part in it. Docker keeps the line
that is printed.
"""

from __future__ import annotations

import http.client
import os
import ssl
import sys


def look(port: int, *, tls: bool, timeout_s: float = 5.0) -> tuple[bool, str]:
    """Whether the gateway on this machine lives, and what it says."""
    connection = http.client.HTTPConnection("localhost", port, timeout=timeout_s)
    if tls:
        # Its certificate is made out for other names than this one.
        context = ssl._create_unverified_context()  # noqa: S323, SLF001 - no public name
        connection = http.client.HTTPSConnection(
            "localhost", port, timeout=timeout_s, context=context
        )
    try:
        connection.request("GET", "/livez")
        answer = connection.getresponse()
        line = answer.read(200).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return False, f"/livez gives no usable answer: {type(error).__name__}: {error}"
    finally:
        connection.close()
    return answer.status == http.client.OK, line


if __name__ == "__main__":
    healthy, line = look(
        int(os.environ.get("SPEECH_PORT", "8080")), tls="SPEECH_TLS_CERT_PATH" in os.environ
    )
    sys.stdout.write(f"{line}\n")
    sys.exit(0 if healthy else 1)
