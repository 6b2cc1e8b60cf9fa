"""Write the READMEs of the collection and of its roles: `python tools/role_docs.py`.

What a role takes is said once, in its meta/argument_specs.yml, and what a module does in its
DOCUMENTATION; this turns them into pages. Defaults that are no plain values come from defaults/.
Runs in the environment for development, for PyYAML.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
COLLECTION = ROOT / "collections/ansible_collections/spark/speech"
REGENERATE = "<!-- Written by tools/role_docs.py from {source}. -->\n"
FROM_VARIABLE = re.compile(r"^\{\{ (\w+)(?: \| default\('?([^'()]*)'?(?:, true)?\))?")
MARKUP = re.compile(r"\b[CVOIP]\(([^)]+)\)")

# Whom a role's example is for, and what it is given beside what the inventory says.
EXAMPLES: dict[str, tuple[str, dict[str, Any]]] = {
    "whisperx": ("whisperx", {"whisperx_model": "large-v3"}),
    "parakeet": ("parakeet", {}),
    "sortformer": ("sortformer", {"sortformer_container": "parakeet"}),
    "magpie": ("magpie", {"magpie_ngc_key_file": "~/.config/spark-speech/ngc_key"}),
    "control": ("control", {"control_inventory": "inventory/sparks"}),
    "managed_service": (
        "spark1",
        {
            "managed_service_name": "llm",
            "managed_service_kind": "llm",
            "managed_service_api": "openai",
            "managed_service_base_url": "http://192.168.1.11:8000",
            "managed_service_health_path": "/v1/models",
        },
    ),
}

COLLECTION_PAGE = """\
# spark.speech

Speech services for the NVIDIA DGX Spark and other hosts with Docker: installed over SSH, registered
with the page that uses them, and taken back. No role needs root on the host.

## Install

The tarball is all that is needed; it holds what the images are built from, too.

```sh
ansible-galaxy collection install spark-speech-{version}.tar.gz
```

This installs community.docker {community_docker} as well, where it is not there yet (`--no-deps`
where no Galaxy server can be reached and it is). ansible-core {ansible_core} is needed.

## What a host needs

- Docker 20.10 or newer, running. From 23 on it builds images with its buildx plugin, which may be a
  package of its own: `docker-buildx-plugin` of Docker's, `docker-buildx` of Debian and Ubuntu. For
  a GPU: NVIDIA's driver and its container toolkit.
- A user who may log in with an SSH key and is in the `docker` group. Root and sudo are not needed.
- Python 3.8 or newer, and its `requests` (`python3-requests` on Debian and Ubuntu), which
  community.docker uses.

What a role keeps on a host lies in `~/.spark-speech` of that user.

## Roles

{roles}

A service is registered on each host of the group `control`, as a file in `speech_services_dir`
(`~/.spark-speech/services.d` there). Without such a group it is only installed.

## Variables of several roles

Set in the inventory, these are the defaults of the roles' own variables.

{shared}

The playbooks of the repository also take `speech_serial`: how many hosts at a time, as in Ansible's
`serial`.

## Limits

- Lock, key and records of a host lie in the home of who logs in. Two who log in as different
  users do not see each other's: have everything, workstation, pipeline and page, log in as the
  same one.
- A rollback runs the image before the current one, and no older one is kept. A second rollback
  comes forward again.
- The hash that an image is tagged with covers what is built and the name of its base image, not
  what is behind that name, nor Debian's packages of the day. To build anew with their updates,
  name the base by a date or a digest, and another one next time: `speech_base_image:
  debian:bookworm-YYYYMMDD-slim`, or `debian@sha256:...` (`speech_cuda_base_image` likewise).
  Another name is another tag, and rollback works.
- A given image, such as Magpie's, is pulled where it is not there, and not again: `latest` stays
  what it was.
- A purge leaves what Docker keeps of the builds for the next one. `docker builder prune --all` on
  the host removes it, that of all other builds there too.
- The CUDA images have not been run on a GB10, nor NVIDIA's Magpie anywhere: the role was tried
  with a stand-in. It runs as who logs in on the host, so the volume of its models,
  `spark-speech-magpie`, has to be that user's. If its log says that it cannot write there, do
  this once on the host, where IMAGE is `magpie_image`:

  ```sh
  docker run --rm --user 0 --entrypoint chown -v spark-speech-magpie:/opt/nim/.cache IMAGE \\
    -R "$(id -u):$(id -g)" /opt/nim/.cache
  ```

## Modules and plugins

`ansible-doc spark.speech.NAME` shows their options (`-t callback`, `-t lookup`, `-t test` those of
plugins). To see the log of a build while it is built, put
`callbacks_enabled = spark.speech.live_log` into the section `[defaults]` of your ansible.cfg.

{plugins}
"""


def load(path: Path) -> Any:  # noqa: ANN401 - whatever YAML holds
    """Read a YAML file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def roles() -> list[Path]:
    """The folders of the roles."""
    return sorted(path for path in (COLLECTION / "roles").iterdir() if path.is_dir())


def specification(role: Path) -> dict[str, Any]:
    """What argument_specs.yml says of a role's entry point."""
    spec: dict[str, Any] = load(role / "meta/argument_specs.yml")["argument_specs"]["main"]
    return spec


def prose(text: str) -> str:
    """Ansible's markup as Markdown's."""
    return MARKUP.sub(r"`\1`", " ".join(str(text).split()))


def table(heading: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [heading, ("---",) * len(heading), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines
    )


def code(value: object) -> str:
    """A plain value as it would be written in YAML."""
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def default(option: dict[str, Any], value: object) -> str:
    """The default of an option, which defaults/main.yml gives as VALUE."""
    if option.get("required"):
        return "required"
    template = FROM_VARIABLE.match(value) if isinstance(value, str) else None
    if template:
        return ", else ".join(code(word) for word in template.groups() if word)
    return "" if value in ("", None) else code(value)


def rows(
    options: dict[str, Any], defaults: dict[str, Any], prefix: str = ""
) -> Iterator[tuple[str, ...]]:
    """A row for each option, and below it one for each of its own."""
    for name, option in options.items():
        type_ = (
            f"{option['type']} of {option['elements']}" if "elements" in option else option["type"]
        )
        yield (
            f"`{prefix}{name}`",
            type_,
            default(option, defaults.get(name)),
            ", ".join(code(choice) for choice in option.get("choices", [])),
            " ".join(prose(paragraph) for paragraph in option["description"]),
        )
        yield from rows(option.get("options", {}), {}, f"{prefix}{name}.")


def example(role: Path) -> str:
    """A playbook that uses the role."""
    hosts, variables = EXAMPLES[role.name]
    use: dict[str, Any] = {"role": f"spark.speech.{role.name}", **variables}
    play = {"name": specification(role)["short_description"], "hosts": hosts, "roles": [use]}
    return f"```yaml\n---\n{dump([play])}```"


class Indented(yaml.SafeDumper):
    """Indents lists, as yamllint and ansible-lint want them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        """See PyYAML's Emitter."""
        super().increase_indent(flow, indentless=False)


def dump(value: object) -> str:
    """YAML, in the order given."""
    return yaml.dump(value, Dumper=Indented, sort_keys=False, width=100)


def role_page(role: Path) -> str:
    """The README of a role."""
    spec, defaults = specification(role), load(role / "defaults/main.yml")
    what = [text for text in spec["description"] if not text.startswith("Promises - ")]
    promises = [text for text in spec["description"] if text not in what]
    kept = [
        part.strip() for text in promises for part in text.removeprefix("Promises - ").split(";")
    ]
    heading = ("variable", "type", "default", "choices", "what it is")
    parts = [
        REGENERATE.format(source="meta/argument_specs.yml") + f"# spark.speech.{role.name}",
        f"{spec['short_description']}.",
        *(prose(text) for text in what),
        "## Promises",
        "\n".join(f"- {prose(part[0].upper() + part[1:]).rstrip('.')}." for part in kept),
        "## Example",
        example(role),
        "## Variables",
        table(heading, rows(spec["options"], defaults)),
    ]
    return "\n\n".join(parts) + "\n"


def shared() -> Iterator[tuple[str, ...]]:
    """Each speech_* variable, the variables that it is the default of, and what they are."""
    users: dict[str, list[str]] = {}
    descriptions: dict[str, str] = {}
    for role in roles():
        options = specification(role)["options"]
        for name, value in load(role / "defaults/main.yml").items():
            template = FROM_VARIABLE.match(value) if isinstance(value, str) else None
            if template and template[1].startswith("speech_"):
                users.setdefault(template[1], []).append(name)
                descriptions.setdefault(template[1], prose(options[name]["description"][0]))
    for name in sorted(users):
        yield f"`{name}`", ", ".join(f"`{user}`" for user in users[name]), descriptions[name]


def documentation(plugin: Path) -> dict[str, Any]:
    """The DOCUMENTATION of a module or a plugin."""
    beside = plugin.with_suffix(".yml")
    if beside.exists():
        documented: dict[str, Any] = load(beside)["DOCUMENTATION"]
        return documented
    for node in ast.parse(plugin.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DOCUMENTATION":
            found: dict[str, Any] = yaml.safe_load(ast.literal_eval(node.value))
            return found
    raise ValueError(f"{plugin} has no DOCUMENTATION")


def plugins() -> Iterator[tuple[str, ...]]:
    """Each module and plugin, and what it is for."""
    for kind in ("modules", "callback", "lookup", "test"):
        for plugin in sorted((COLLECTION / "plugins" / kind).glob("[!_]*.py")):
            text = prose(documentation(plugin)["short_description"])
            yield f"`{plugin.stem}`", kind.removesuffix("s"), text


def collection_page() -> str:
    """The README of the collection."""
    galaxy = load(COLLECTION / "galaxy.yml")
    listed = (
        (f"[{role.name}](roles/{role.name}/README.md)", specification(role)["short_description"])
        for role in roles()
    )
    page = COLLECTION_PAGE.format(
        version=galaxy["version"],
        community_docker=galaxy["dependencies"]["community.docker"].replace(",", ", "),
        ansible_core=load(COLLECTION / "meta/runtime.yml")["requires_ansible"],
        roles=table(("role", "what it does"), listed),
        shared=table(("variable", "default of", "what it is"), shared()),
        plugins=table(("name", "kind", "what it does"), plugins()),
    )
    return REGENERATE.format(source="the roles and modules") + page


def pages() -> dict[Path, str]:
    """All pages by their paths."""
    written = {role / "README.md": role_page(role) for role in roles()}
    return {COLLECTION / "README.md": collection_page(), **written}


def main() -> int:
    """Write the pages."""
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
