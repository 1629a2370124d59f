"""Which files of code a stage runs: the imports of its script, followed to the end.

Read from the source, so that imports inside functions count; those under `if TYPE_CHECKING` do not,
as they never run. Modules that are looked up by name (recommenders, encoders) are named here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from lmm4rec.encoders import FAMILIES
from lmm4rec.recommenders import RECOMMENDERS

ROOT = Path(__file__).parents[2]
ROOMS = ("lmm4rec", "stages")
# Stage's script -> the modules that it looks up by a name that may stand in params.yaml.
LOOKED_UP: Mapping[str, dict[str, str]] = {
    "recommender": {
        name: f"lmm4rec.recommenders.{place.split(':')[0]}" for name, place in RECOMMENDERS.items()
    },
    "encoder": {
        name: f"lmm4rec.encoders.{place.split(':')[0]}" for name, place in FAMILIES.items()
    },
}


def code_files() -> list[str]:
    """Every file of the library and the stages, relative to the project's root."""
    found = (file for room in ROOMS for file in (ROOT / room).rglob("*.py"))
    return sorted(str(file.relative_to(ROOT)) for file in found)


def imported_by(*starts: str) -> set[str]:
    """The files that importing these modules, and calling whatever they hold, may run."""
    seen: set[str] = set()
    stack = list(starts)
    while stack:
        module = stack.pop()
        path = _file(module)
        if path is None or path in seen:
            continue
        seen.add(path)
        stack.extend(_imports(path))
        above = module.rpartition(".")[0]
        if above:
            stack.append(above)  # importing a.b runs a first
    return seen


@cache
def _imports(path: str) -> tuple[str, ...]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return tuple(_named(tree))


def _named(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(child, ast.ImportFrom) and child.module:
            yield child.module
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        else:
            yield from _named(child)


@cache
def _file(module: str) -> str | None:
    """The file of a module of this project; None: it is another's, or a name inside a module."""
    if module.split(".")[0] not in ROOMS:
        return None
    place = Path(*module.split("."))
    for path in (place / "__init__.py", place.with_suffix(".py")):
        if (ROOT / path).is_file():
            return str(path)
    return None
