"""What README and docs/ tell a reader to type, to open or to look up is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import pytest
from dvc.cli.parser import get_main_parser
from pydantic import BaseModel
from ruamel.yaml import YAML

from lmm4rec.catalogue.sources import SOURCES
from lmm4rec.params import _models_in
from tests.pipeline.pages import DOCS, PAGES, README, ROOT, Page

PARAMS = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
STAGES = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
OURS = ("lmm4rec", "stages", "tests")
MADE_UP = "my-shop"  # the catalogue that a reader adds
MADE_BY_RUNS = ("data/", ".venv", ".dvc/")
FILE = re.compile(
    r"[\w.*-]+(/[\w.*-]+)*\.(py|md|toml|lock|ya?ml|json|npy|parquet|html|safetensors|csv|tsv|txt"
    r"|gz|dat|data|item|inter|rating|negative|jpg|tar|xml|p|pkl|b)"
)

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def dotted_keys(section: Any) -> Iterator[str]:
    """Every dotted key below a section, and every end of one, as pages say `finetune.tune`."""
    for name, value in section.items() if isinstance(section, dict) else ():
        yield str(name)
        for below in set(dotted_keys(value)):
            yield below
            yield f"{name}.{below}"


def words_of(model: type[BaseModel]) -> Iterator[str]:
    """What a source may say and our own sections leave out."""
    for name, field in model.model_fields.items():
        yield name
        for below in _models_in(field.annotation):
            yield from (f"{name}.{word}" for word in words_of(below))


WORDS = {word for source in SOURCES.values() for word in words_of(source)}
KEYS = set(dotted_keys(PARAMS)) | WORDS | {f"source.{word}" for word in WORDS}
KEYS |= {f"datasets.{name}.source.{word}" for name in PARAMS["datasets"] for word in WORDS}


def test_pages_are_found() -> None:
    """All that follows says nothing of pages without commands, code and links."""
    assert len(DOCS) >= 8
    assert README.calls("dvc") and README.calls("make") and README.calls("python -m")
    assert all(page.links and page.code for page in PAGES)


@every_page
def test_nothing_is_left_to_fill_in(page: Page) -> None:
    assert not re.search(r"@@|TODO|FIXME", page.text)


def test_readme_is_short() -> None:
    assert len(README.text.splitlines()) <= 200


@every_page
def test_make_targets_exist(page: Page) -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    assert {words[0] for words in page.calls("make")} <= targets


@every_page
def test_dvc_takes_each_of_its_commands(page: Page) -> None:
    """DVC's own parser does: verbs, options and how many words each wants."""
    parser = get_main_parser()
    for words in page.calls("dvc"):
        try:
            parsed = parser.parse_args(words)
        except (SystemExit, Exception) as error:
            pytest.fail(f"{page.name}: dvc {' '.join(words)}: {error!r}")
        if words[0] in ("repro", "commit", "status"):
            for target in parsed.targets:
                assert target.split("@")[0] in STAGES, (words, target)


@every_page
def test_our_commands_take_their_options(page: Page) -> None:
    for module, *words in page.calls("python -m"):
        if module.split(".")[0] not in OURS:
            continue
        place = ROOT.joinpath(*module.split("."))
        path = place / "__main__.py" if place.is_dir() else place.with_suffix(".py")
        assert path.exists(), module
        if module.startswith("stages."):
            try:
                import_module(module).main.make_context(module, words)
            except click.ClickException as error:
                pytest.fail(f"{page.name}: {module} {' '.join(words)}: {error.message}")
        options = [word.partition("=")[0] for word in words if word.startswith("--")]
        source = path.read_text(encoding="utf-8")
        assert [option for option in options if f'"{option}"' not in source] == [], module


@every_page
def test_stages_exist(page: Page) -> None:
    named = {name.split("@")[0] for name in re.findall(r"\b[a-z0-9-]+@[a-z]+-", page.text)}
    assert named <= set(STAGES)


@every_page
def test_parameters_exist(page: Page) -> None:
    """Dotted keys, in code font, commands and blocks alike."""
    heads = "|".join(PARAMS)
    named = set(re.findall(rf"(?<![\w./(-])(?:{heads})(?:\.[\w-]+)+", page.text))
    named |= {re.split(r"[:=]", span)[0] for span in page.code}
    keys = {name for name in named if re.fullmatch(r"[a-z][\w-]*(\.[\w-]+)+", name)}
    keys = {key for key in keys if not FILE.fullmatch(key) and key.split(".")[0] not in OURS}
    assert {key for key in keys if MADE_UP not in key} <= KEYS


@every_page
def test_blocks_of_parameters_exist(page: Page) -> None:
    for block in page.blocks("yaml"):
        if MADE_UP not in block:  # that one is run: test_own_catalogue.py
            assert set(dotted_keys(YAML(typ="safe").load(block))) <= KEYS


@every_page
def test_variables_exist(page: Page) -> None:
    code = "".join(
        p.read_text() for room in ("lmm4rec", "stages") for p in (ROOT / room).rglob("*.py")
    )
    for name in set(re.findall(r"LMM4REC_\w+", page.text)):
        assert f'"{name}"' in code, name


@every_page
def test_files_exist(page: Page) -> None:
    words = [word for command in page.commands for word in command.split()]
    rooms = {path.name for path in ROOT.iterdir()}
    for word in {word.strip("();,") for word in (*words, *page.code)}:
        is_path = re.fullmatch(r"[\w.*-]+(/[\w.*-]+)+/?", word)
        if word.startswith(MADE_BY_RUNS) or not is_path:
            continue
        if word.split("/")[0] in rooms or FILE.fullmatch(word):
            assert list(ROOT.glob(word)), f"{page.name}: {word}"


@every_page
def test_names_in_our_code_exist(page: Page) -> None:
    for span in page.code:
        if not re.fullmatch(rf"({'|'.join(OURS)})(\.\w+)+", span):
            continue
        if (ROOT / f"{span.replace('.', '/')}.py").exists():
            continue
        module, _, name = span.rpartition(".")
        file = ROOT / f"{module.replace('.', '/')}.py"
        assert file.exists() and re.search(rf"^(class|def) {name}\b", file.read_text(), re.M), span


@every_page
def test_links_lead_somewhere(page: Page) -> None:
    for link in page.links:
        if link.startswith(("http://", "https://")):
            continue
        target, _, anchor = link.partition("#")
        path = (page.path.parent / target).resolve() if target else page.path
        assert path.exists() and path.is_relative_to(ROOT), f"{page.name}: {link}"
        if anchor:
            assert anchor in Page(path).anchors, f"{page.name}: {link}"


def test_pages_are_linked_both_ways() -> None:
    """README lists every page, each leads back, and neighbours lead to one another."""
    listed = [Path(link).name for link in re.findall(r"^\| \[.+?\]\((.+?)\)", README.text, re.M)]
    assert sorted(listed) == sorted(page.path.name for page in DOCS)
    links = {page.path.name: page.links for page in DOCS}
    assert all("../README.md" in found for found in links.values())
    for before, after in pairwise(listed):
        assert after in links[before] and before in links[after], (before, after)


def test_the_reports_tables_stand_in_the_results_as_they_were_made() -> None:
    """The demo's numbers are copied from a run's results.md, whole lines and unrounded."""
    made = re.compile(r"^\| \w+ \| [\w-]+ \| 0\.\d{4} ± .*$", re.M)
    results = made.findall(next(page.text for page in DOCS if page.path.name == "results.md"))
    assert len(results) >= 8
    assert made.findall(README.text) and set(made.findall(README.text)) <= set(results)
