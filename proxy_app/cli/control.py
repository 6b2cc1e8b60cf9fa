"""`control`: the link that sets the first password, backups, and going back to one."""

from __future__ import annotations

import argparse
from pathlib import Path

from proxy_app.access.start import claim_links
from proxy_app.cli.backup import backup, restore
from proxy_app.config import Config, make_folders


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Say which commands there are."""
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser("claim", help="print the link that sets the password, while there is none")
    for name, said in (
        ("backup", "write the database, secrets, hosts and the SSH key into a file"),
        ("restore", "put what a backup has in the place of what is here; nothing may run"),
    ):
        commands.add_parser(name, help=said).add_argument("file", type=Path)


def run(config: Config, options: argparse.Namespace) -> None:
    """Obey one of them.

    Raises:
        CommandError: it cannot be done.
        SettingError: a setting cannot be used.
    """
    make_folders(config)
    if options.what == "claim":
        if links := claim_links(config):
            print(f"Nobody has set the password yet. Who opens this sets it: {' or '.join(links)}")
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
