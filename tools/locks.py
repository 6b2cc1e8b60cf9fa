"""Resolve requirements/*.in into requirements/*.lock: `make lock`, or `make lock UPGRADE=1`.

One lock per kind of process, for x86-64 and aarch64 and Python 3.11 to 3.13 alike (markers tell
them apart). Hashes are left out on purpose: a local CPU build of torch has the version that the
lock names and other bytes.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
KINDS = tuple(sorted(path.stem for path in REQUIREMENTS.glob("*.in")))


def compile_lock(uv: Path, kind: str, output: Path, *, upgrade: bool = False) -> None:
    """Resolve one kind; what OUTPUT already pins stays as it is unless UPGRADE."""
    command = [str(uv), "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
    command += ["--no-header", "--no-annotate", "--output-file", str(output)]
    for option in ("excludes", "overrides"):
        file = REQUIREMENTS / f"{kind}.{option}"
        if file.exists():
            command += [f"--{option}", str(file)]
    if upgrade:
        command.append("--upgrade")
    # Wheels on this machine are for installing: they must not decide what a lock says.
    environ = {name: value for name, value in os.environ.items() if name != "UV_FIND_LINKS"}
    subprocess.run([*command, f"requirements/{kind}.in"], cwd=ROOT, env=environ, check=True)


def main() -> int:
    """Compile the kinds named on the command line, or all of them."""
    parser = argparse.ArgumentParser(description="Resolve requirements/*.in into locks.")
    parser.add_argument("--uv", type=Path, required=True, help="the uv program")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    parser.add_argument("kinds", nargs="*", help=f"which ones; all by default: {', '.join(KINDS)}")
    options = parser.parse_args()
    for kind in options.kinds or KINDS:
        compile_lock(options.uv, kind, REQUIREMENTS / f"{kind}.lock", upgrade=options.upgrade)
        print(f"requirements/{kind}.lock")
    return 0


if __name__ == "__main__":
    sys.exit(main())
