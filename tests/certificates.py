"""Certificates for tests, made by openssl."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """A certificate that vouches for itself, and its key."""

    cert: Path
    key: Path


def make_certificate(folder: Path, name: str) -> Certificate:
    """Make a certificate for a host NAME and 127.0.0.1, good for two days."""
    made = Certificate(folder / "cert.pem", folder / "key.pem")
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    subject = ("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1")
    written = ("-days", "2", "-keyout", str(made.key), "-out", str(made.cert))
    command = ["openssl", "req", "-x509", *new_key, *subject, *written]
    subprocess.run(command, check=True, capture_output=True)
    made.key.chmod(0o600)
    return made
