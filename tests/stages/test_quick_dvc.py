"""dvc.lock with one stage's lines replaced: the bytes that DVC itself would write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.running.quick_dvc import with_entry

WORDS = st.text("abc/-_.@:# '\"{}é0", min_size=1, max_size=12)
NAMES = st.text("abc-@0", min_size=1, max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
ENTRIES = st.fixed_dictionaries(
    {
        "cmd": st.lists(WORDS, min_size=1, max_size=30).map(" ".join),
        "params": st.dictionaries(NAMES, VALUES, max_size=3),
        "outs": st.lists(
            st.fixed_dictionaries({"path": WORDS, "size": st.integers(0)}), max_size=2
        ),
    }
)


def lockfile(stages: dict[str, Any]) -> str:
    """As DVC writes it."""
    return dumps_yaml({"schema": "2.0", "stages": stages})


def test_an_entry_is_replaced_where_it_stands_or_appended() -> None:
    stages = {name: {"cmd": f"echo {name} " + "word " * 30} for name in ("a", "ab", "b@1")}
    for name in ("a", "ab", "b@1", "b"):
        assert with_entry(lockfile(stages), name, {"cmd": "new"}) == lockfile(
            stages | {name: {"cmd": "new"}}
        )


@settings(deadline=None)
@given(st.dictionaries(NAMES, ENTRIES, min_size=1, max_size=4), NAMES, ENTRIES)
def test_bytes_are_those_of_dvc_or_it_is_left_to_dvc(
    stages: dict[str, Any], name: str, entry: dict[str, Any]
) -> None:
    changed = with_entry(lockfile(stages), name, entry)
    assert changed is None or changed == lockfile(stages | {name: entry})


@given(st.dictionaries(NAMES, st.builds(lambda: {"cmd": "x"}), min_size=1), NAMES)
def test_ordinary_stages_are_never_left_to_dvc(stages: dict[str, Any], name: str) -> None:
    assert with_entry(lockfile(stages), name, {"cmd": "y", "params": {"k": None}}) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "schema: '2.0'\nstages: {}\n",
        "schema: '2.0'\nstages:\n  a:\n    cmd: x\n# said by hand\n",
        "schema: '2.0'\nstages:\n  # said by hand\n  a:\n    cmd: x\n",
        "schema: '2.0'\nstages:\n  a:\n    cmd: x\ndatasets: []\n",
        "schema: '2.0'\nstages:\n  a:\n    cmd: x",
        "schema: '2.0'\nstages:\n  a: &id001\n    cmd: x\n",
    ],
)
def test_what_dvc_does_not_write_is_left_to_dvc(text: str) -> None:
    assert with_entry(text, "a", {"cmd": "y"}) is None


def test_the_projects_own_lock_file_is_one_that_can_be_changed() -> None:
    text = (Path(__file__).parents[2] / "dvc.lock").read_text(encoding="utf-8")
    stages = parse_yaml_for_update(text, "dvc.lock")["stages"]
    for name in list(stages)[::9]:
        assert with_entry(text, name, dict(stages[name])) == text
