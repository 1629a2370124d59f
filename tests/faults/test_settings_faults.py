"""The table of faults in params.yaml and in JSON: one sentence with the file's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmm4rec.errors import InputError
from lmm4rec.folders import read_json
from lmm4rec.params import find, read_params

DEEP = "more than 100 deep"
TEXTS: dict[str, tuple[bytes, str]] = {
    "brackets": (b"a: " + b"[" * 101 + b"]" * 101, DEEP),
    "braces": (b'{"a":' * 101 + b"1" + b"}" * 101, DEEP),
    "lists on one line": (b"- " * 101 + b"a", DEEP),
    "100,000 lists on one line": (b"a:\n  " + b"- " * 100_000 + b"a", DEEP),
    "keys on one line": (b"? " * 101 + b"a", DEEP),
    "lists and keys on one line": (b"- ? " * 51 + b"a", DEEP),
    "100,000 brackets that never close": (b"[" * 100_000, DEEP),
    "other bytes": (b"a: \xff", "byte 3 is not UTF-8"),
    "no date": (b"a: 2001-99-99", "not valid YAML"),
    "too many digits": (b"a: " + b"9" * 5_000, "not valid YAML"),
    "a key twice": (b"a: {b: 1, b: 2}", "not valid YAML"),
    "a control character": (b"a: \x07", "not valid YAML"),
    "a tag of Python's": (b"a: !!python/object:os.system x", "not valid YAML"),
}


@pytest.mark.parametrize("fault", TEXTS)
def test_a_params_file_with_a_fault(fault: str, tmp_path: Path) -> None:
    content, sentence = TEXTS[fault]
    (tmp_path / "params.yaml").write_bytes(content)
    with pytest.raises(InputError, match=rf"params\.yaml: .*{sentence}"):
        read_params(tmp_path / "params.yaml")


def test_what_is_nested_no_deeper_is_read(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("a: " + "[" * 100 + "]" * 100 + "\nb: '- - - -'\nc: [" + "[1]," * 300 + "]\n")
    assert set(read_params(path)) == {"a", "b", "c"}


def test_keys_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("1: a\n? [2]\n: b\ntrain: c\n")
    with pytest.raises(InputError, match="run is missing; known are"):
        find(read_params(path), "run", path)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff", b"9" * 5_000, b"", b"{'a': 1}"])
def test_a_json_file_with_a_fault(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "about.json").write_bytes(content)
    with pytest.raises(InputError, match=r"about\.json: not valid JSON \(.+\); run the stage"):
        read_json(tmp_path / "about.json")
