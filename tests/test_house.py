"""The house's own rules: small files and functions, airy rooms, and imports that run one way."""

from __future__ import annotations

import ast
import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LONGEST_FILE, LONGEST_FUNCTION, FULLEST_ROOM = 300, 60, 20

ROOMS = (
    "ground",  # the files at lmm4rec/*.py
    "catalogue",
    "encoders",
    "features",
    "ranking",
    "graphs",
    "recommenders",
    "training",
    "end2end",
    "evaluation",
    "report",
    "study",
)
"""The top rooms of lmm4rec: each imports of itself and of those before it alone."""


@cache
def parsed() -> dict[str, tuple[str, ast.Module]]:
    """File -> source and syntax tree of every Python file that git knows."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "*.py"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    names = sorted(name for name in set(listed.split("\0")) if name and (ROOT / name).is_file())
    sources = {name: (ROOT / name).read_text(encoding="utf-8") for name in names}
    return {name: (source, ast.parse(source)) for name, source in sources.items()}


def modules() -> dict[str, str]:
    """Module -> its file."""
    return {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): name
        for name in parsed()
    }


def imported(tree: ast.Module, known: dict[str, str]) -> Iterator[str]:
    """Modules of the project that a tree imports anywhere, in functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in known)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module is not None, "a relative import"
            within = [f"{node.module}.{name.name}" for name in node.names]
            found = [name if name in known else node.module for name in within]
            yield from (name for name in found if name in known)


@cache
def imports() -> dict[str, frozenset[str]]:
    """Module -> the project's modules that it imports."""
    known = modules()
    return {name: frozenset(imported(parsed()[file][1], known)) for name, file in known.items()}


def room(module: str) -> str:
    parts = module.split(".")
    inside = len(parts) > 1 and (ROOT / parts[0] / parts[1]).is_dir()
    return parts[1] if inside else "ground"


def too_long() -> set[str]:
    found = set()
    for name, (source, tree) in parsed().items():
        if len(source.splitlines()) > LONGEST_FILE:
            found.add(name)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                if node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION:
                    found.add(f"{name}: {node.name}")
    return found


def test_no_file_and_no_function_is_too_long() -> None:
    assert too_long() == set()


def test_no_room_is_overfull() -> None:
    files = Counter(str(Path(name).parent) for name in parsed())
    assert {folder: n for folder, n in files.items() if n > FULLEST_ROOM} == {}


def test_no_circle_among_modules() -> None:
    sorter = TopologicalSorter({name: found - {name} for name, found in imports().items()})
    try:
        sorter.prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_rooms_are_those_of_the_order() -> None:
    assert {room(name) for name in modules() if name.startswith("lmm4rec")} == set(ROOMS)


def test_nothing_imports_upwards() -> None:
    upwards = [
        f"{name} imports {other}"
        for name, found in imports().items()
        for other in found
        if name.startswith("lmm4rec") and other.startswith("lmm4rec.")
        if ROOMS.index(room(other)) > ROOMS.index(room(name))
    ]
    assert upwards == []


@pytest.mark.parametrize(
    ("inner", "outer"),
    [("lmm4rec", "stages"), ("lmm4rec", "tests"), ("stages", "tests")],
)
def test_the_library_knows_neither_stages_nor_tests(inner: str, outer: str) -> None:
    known = [
        f"{name} imports {other}"
        for name, found in imports().items()
        for other in found
        if name.split(".")[0] == inner and other.split(".")[0] == outer
    ]
    assert known == []
