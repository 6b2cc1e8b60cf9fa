"""The server's application, for `uvicorn main:app` with this folder on the path.

It is a plain FastAPI app with nothing behind it, so that a patch can be added at the file's end.
"""

from __future__ import annotations

import os
import sys

from images.parakeet.app.server import create_app
from images.parakeet.app.service import Service
from images.parakeet.app.settings import ParakeetSettings, check_model
from proxy_app.settings import SettingError, load

try:
    settings = load(ParakeetSettings, os.environ, prefix="PARAKEET_")
    check_model(settings)
except SettingError as error:
    sys.stderr.write(f"parakeet: {error}\n")
    sys.exit(2)

app = create_app(Service(settings))
