"""The lines that docs/catalogues.md shows for a format read a folder in that format."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.catalogue.sources.catalogues import make
from tests.catalogue.sources.other_formats import BUILDERS
from tests.catalogue.sources.test_formats import FORMATS, copied, expected
from tests.pipeline.pages import ROOT

# What each section of the page is read with: a sample folder, or a builder of one.
SAMPLES = {
    "Amazon 2014": "01_amazon2014",
    "Amazon 2018": "02_amazon2018",
    "Amazon 2023": "03_amazon2023",
    "Amazon 2023 benchmark": "04_amazon2023_benchmark",
    "MMRec": "05_mmrec",
    "RecBole": "06_recbole",
    "RecBole in parts": "recbole_parts",
    "Elliot and Ducho": "08_ducho_elliot",
    "Cornac": "09_cornac",
    "LATTICE": "lattice",
    "MicroLens": "11_microlens",
    "H&M": "hm",
    "Yelp": "13_yelp",
    "Steam": "14_steam",
    "MovieLens 1M and 10M": "15_movielens_1m",
    "MovieLens 100k": "16_movielens_100k",
    "MovieLens 20M, 25M, latest": "17_movielens_25m",
    "Pinterest as in NCF": "18_pinterest_ncf",
    "Polyvore Outfits": "19_polyvore",
    "Hugging Face datasets": "20_huggingface",
    "WebDataset": "webdataset",
    "Shopify": "22_shopify",
    "WooCommerce": "23_woocommerce",
    "Google Merchant": "merchant_feed",
    "REES46": "rees46",
    "Retailrocket": "retailrocket",
    "Taobao": "taobao",
    "A folder of your own": "26_own_folder",
    "PixelRec": "27_pixelrec",
}
_BUILDERS = {build.__name__: build for build in BUILDERS}


def sections() -> dict[str, str]:
    """The block below each heading of a format."""
    page = (ROOT / "docs" / "catalogues.md").read_text(encoding="utf-8")
    formats = page[page.index("\n## Formats\n") :]
    return dict(re.findall(r"^### (.+?)\n.*?```yaml\n(.+?)```", formats, re.M | re.S))


def test_every_format_has_its_section() -> None:
    folders = {path.name for path in FORMATS.iterdir() if path.is_dir()}
    tables = {"merchant_table"}  # the same section as merchant_feed
    assert set(SAMPLES) == set(sections())
    assert set(SAMPLES.values()) == (folders | _BUILDERS.keys()) - tables


@pytest.mark.parametrize("heading", SAMPLES)
def test_a_section_reads_its_format(heading: str, tmp_path: Path) -> None:
    dataset = _parsed(sections()[heading])
    sample = SAMPLES[heading]
    theirs = tmp_path / "theirs"
    if sample in _BUILDERS:
        theirs.mkdir()
        wanted = _BUILDERS[sample](theirs)
    else:
        theirs, wanted = copied(sample, tmp_path), expected(sample)
    preprocess = {**dataset["preprocess"], "core": 0}  # samples are smaller than any core
    made = make(theirs, tmp_path, preprocess, **dataset["source"])
    keys = ("users", "items", "interactions")
    assert {key: made.about[key] for key in keys} == {key: wanted[key] for key in keys}


def _parsed(block: str) -> dict[str, Any]:
    """The section in the place that the page says, with the groups of params.yaml."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    whole = text.replace("\ndatasets:\n", f"\ndatasets:\n{block}")
    found: dict[str, Any] = YAML(typ="safe").load(whole)["datasets"]["my-shop"]
    return found
