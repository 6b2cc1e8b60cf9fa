"""The commands behind `make up`, `make down`, `make demo` and `make docs`, and `control`'s."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path

from urllib3.exceptions import InsecureRequestWarning

from proxy_app.cli import control, demo, documentation, supervised
from proxy_app.cli.errors import CommandError
from proxy_app.config import load_config
from proxy_app.settings import SettingError


def main(arguments: list[str]) -> int:
    """Run one command; returns the exit status, 2 for settings that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m proxy_app", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start the engine and the gateway, and wait for them")
    commands.add_parser("down", help="stop them")
    send = commands.add_parser("demo", help="print who said what in a recording")
    send.add_argument("file", nargs="?", type=Path, help="the recording; a telephone call if none")
    commands.add_parser("settings", help="print docs/settings.md")
    control.add_commands(commands.add_parser("control", help="the password's link; keys; backups"))
    options = parser.parse_args(arguments)
    # What listens on a port of this machine is not asked for a certificate.
    warnings.simplefilter("ignore", InsecureRequestWarning)
    try:
        if options.command == "settings":
            print(documentation.page(), end="")
            return 0
        if options.command == "down":
            supervised.down(_state_dir())
            return 0
        config = load_config(os.environ)
        if options.command == "control":
            control.run(config, options)
        elif options.command == "demo":
            demo.run(config, options.file)
        else:
            supervised.up(config, os.environ)
    except SettingError as error:
        print(error, file=sys.stderr)
        return 2
    except CommandError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _state_dir() -> Path:
    """The one setting that `down` needs: a wrong one elsewhere must not stop it."""
    names = ("SPEECH_STATE_DIR", "SPEECH_STATE_DIR_FILE")
    given = {name: os.environ[name] for name in names if name in os.environ}
    return load_config(given).state_dir
