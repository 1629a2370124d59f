"""The catalogue section that README and docs/ show a reader: short, complete, and it runs."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from dvc.utils.hydra import apply_overrides
from PIL import Image

from lmm4rec.folders import read_json
from lmm4rec.params import read_params
from stages import download, images, preprocess, show
from tests.pipeline.pages import PAGES, ROOT

NAME = "my-shop"
SECTIONS = [
    pytest.param(block, id=page.name)
    for page in PAGES
    for block in page.blocks("yaml")
    # each format has a block too: tests/catalogue/sources/test_format_docs.py reads those
    if block.startswith(f"  {NAME}:") and block in page.text.split("\n## Formats\n")[0]
]
SKUS = [f"00{number}" for number in range(6)]  # leading zeros: ids are text


def test_the_section_is_shown_where_a_reader_looks() -> None:
    assert len(SECTIONS) >= 2


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a link to a small shop, as README says: six customers, six products."""
    shop, project = tmp_path / NAME, tmp_path / "project"
    (shop / "photos").mkdir(parents=True)
    project.mkdir()
    orders = [f"c{buyer},{sku},{1_700_000_000 + buyer}" for buyer in range(6) for sku in SKUS]
    products = [f"{sku},Cup {sku},cups,A cup." for sku in SKUS]
    (shop / "orders.csv").write_text("\n".join(["customer,sku,ordered_at", *orders]) + "\n")
    (shop / "products.csv").write_text("\n".join(["sku,name,category,text", *products]) + "\n")
    for sku in SKUS[:5]:  # one has no picture
        Image.new("RGB", (32, 32)).save(shop / "photos" / f"{sku}.jpg")
    (project / "catalogues").mkdir()
    (project / "catalogues" / NAME).symlink_to(shop)
    monkeypatch.chdir(project)
    return project


def write_params(project: Path, section: str) -> None:
    """The project's own file with the section below `datasets:`, as README says."""
    text = (ROOT / "params.yaml").read_text()
    assert text.count("\ndatasets:\n") == 1
    (project / "params.yaml").write_text(text.replace("\ndatasets:\n", f"\ndatasets:\n{section}"))


@pytest.mark.parametrize("section", SECTIONS)
def test_it_is_short_and_enters(section: str, project: Path) -> None:
    assert len(section.splitlines()) <= 11
    write_params(project, section)
    raw, corpus = f"data/raw/{NAME}", f"data/corpus/{NAME}"
    for stage, inputs in (
        (download, ["--output", raw, "--record", f"data/sources/datasets/{NAME}.json"]),
        (preprocess, ["--raw", raw, "--output", corpus]),
        (images, ["--raw", raw, "--corpus", corpus, "--output", f"data/images/{NAME}"]),
    ):
        done = CliRunner().invoke(stage.main, ["--dataset", NAME, *inputs])
        assert done.exit_code == 0, done.output
    about = read_json(project / corpus / "about.json")
    assert (about["users"], about["items"], about["interactions"]) == (6, 6, 36)
    items = pq.read_table(project / corpus / "items.parquet").to_pydict()
    assert items["item_id"] == SKUS and items["text"][0] == "Cup 000 cups A cup."
    statuses = pq.read_table(project / f"data/images/{NAME}/images.parquet")["status"].to_pylist()
    assert statuses == ["ok"] * 5 + ["no-link"]


def test_a_misspelt_word_is_named(project: Path) -> None:
    section = str(SECTIONS[0].values[0])
    write_params(project, section.replace("source: {}", "source: {interactions: {usr: a}}"))
    done = CliRunner().invoke(show.main, [f"datasets.{NAME}"])
    assert done.exit_code == 1
    assert f"datasets.{NAME}.source.interactions" in done.output and "'user'" in done.output


def test_a_value_set_in_one_catalogue_reaches_no_other(tmp_path: Path) -> None:
    """As `dvc exp run -S` sets it: what catalogues share through `defaults` stays shared."""
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    expected = deepcopy(read_params(path))
    expected["datasets"]["sports"]["preprocess"]["core"] = 3
    apply_overrides(str(path), ["datasets.sports.preprocess.core=3"])
    assert read_params(path) == expected
    assert "*usual-preprocess" in path.read_text()
