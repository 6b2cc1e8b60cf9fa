"""`control`: the link that sets the first password, keys, backups, and going back to one."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from proxy_app.access import BadKeyError, Keys
from proxy_app.access.start import claim_link
from proxy_app.cli.backup import backup, restore
from proxy_app.cli.errors import CommandError
from proxy_app.config import Config, make_folders
from proxy_app.store import Store


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Say which commands there are."""
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser("claim", help="print the link that sets the password, while there is none")
    _add_key_commands(commands.add_parser("keys", help="the keys of programs: list, add, revoke"))
    for name, said in (
        ("backup", "write the database, secrets, hosts and the SSH key into a file"),
        ("restore", "put what a backup has in the place of what is here; nothing may run"),
    ):
        commands.add_parser(name, help=said).add_argument("file", type=Path)


def _add_key_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="key_command", required=True)
    commands.add_parser("list", help="print the names of all keys, and when they were used")
    add = commands.add_parser("add", help="make a key and print it, once")
    add.add_argument("name")
    add.add_argument("--in-flight", type=int, help="requests at the same time")
    add.add_argument("--per-minute", type=int, help="requests a minute")
    commands.add_parser("revoke", help="have a key open nothing any more").add_argument("name")


def _keys(config: Config, options: argparse.Namespace) -> None:
    store = Store(config.database_url, config.state_dir)
    keys = Keys(store)
    try:
        if options.key_command == "add":
            limits = {"max_in_flight": options.in_flight, "per_minute": options.per_minute}
            secret, _key = keys.make(options.name, **limits)
            print(secret)
        elif options.key_command == "revoke":
            if not keys.revoke(options.name):
                raise CommandError(f"there is no key {options.name!r}")
        else:
            for key in keys.all():
                print(f"{key.id}  {key.name}  used {_day(key.used_at)}")
    except BadKeyError as error:
        raise CommandError(str(error)) from None
    except SQLAlchemyError as error:
        raise CommandError(f"the database does not answer: {type(error).__name__}") from None
    finally:
        store.close()


def _day(at: float | None) -> str:
    return "never" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


def run(config: Config, options: argparse.Namespace) -> None:
    """Obey one of them.

    Raises:
        CommandError: it cannot be done.
        SettingError: a setting cannot be used.
    """
    make_folders(config)
    if options.what == "keys":
        _keys(config, options)
    elif options.what == "claim":
        if link := claim_link(config):
            print(f"Nobody has set the password yet. Who opens this sets it: {link}")
    elif options.what == "backup":
        backup(config, options.file)
        print(f"{options.file} has secrets in it: keep it where only you can read it.")
    else:
        done = restore(config, options.file)
        print(f"Restored {options.file}.")
        if done.before:
            print(f"What was here before is in {done.before}.")
        if done.broken:
            print(f"The database that was here was broken: it is {done.broken} now.")
        if not done.has_registrations:
            print(
                f"{config.services_dir} is not ours to write: run the playbooks to register again."
            )
