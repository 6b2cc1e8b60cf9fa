"""Start wyoming-openai, Home Assistant's bridge, as its own command does (environment `clients`).

It says that it needs Python 3.12, and does for the type parameters of two functions. On an older
one they are left out when its files are read. Nothing else of it is another.
"""

from __future__ import annotations
import __future__

import importlib.machinery
import re
import runpy
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType

PACKAGE = "wyoming_openai"
_TYPE_PARAMETERS = re.compile(r"^(\s*(?:async )?def \w+)\[[^\]]+\]\(", re.MULTILINE)


class _OlderPython(importlib.machinery.SourceFileLoader):
    """Reads a file without type parameters, whose names nobody then looks up in annotations."""

    def source_to_code(  # type: ignore[override]
        self, data: bytes, path: str, *, _optimize: int = -1
    ) -> CodeType:
        text = _TYPE_PARAMETERS.sub(r"\1(", data.decode())
        flags = __future__.annotations.compiler_flag
        code: CodeType = compile(text, path, "exec", flags, dont_inherit=True)
        return code


class _Finder:
    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] != PACKAGE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec and spec.origin:
            spec.loader = _OlderPython(name, spec.origin)
        return spec


if __name__ == "__main__":
    if sys.version_info < (3, 12):
        sys.dont_write_bytecode = True
        sys.meta_path.insert(0, _Finder)
    runpy.run_module(PACKAGE, run_name="__main__", alter_sys=True)
