"""download, preprocess and images as DVC runs them: commands in a project folder."""

import errno
import gzip
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import click.testing
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lmm4rec.folders import fingerprint
from stages.running.command import stage
from tests.local_server import local_server

ROOT = Path(__file__).parents[2]

PARAMS = """
datasets:
  demo:
    source:
      {kind: demo, revision: 1, seed: 7, users: 150, items: 80, interactions_per_user: 12.0,
       both_weight: 1.0, picture_weight: 1.0, text_weight: 1.0, hidden_weight: 0.5,
       popularity_weight: 0.5, missing_share: 0.05}
    preprocess: &preprocess
      {maximum_unparsable_share: 0.01, accept_truncated: false, minimum_described_share: 0.5,
       minimum_pictured_share: 0.5, minimum_rating: null, core: 5, split: temporal,
       split_seed: 1, text_fields: [title, brand, categories, description]}
    images: &images
      {short_side_pixels: 32, jpeg_quality: 90, minimum_side_pixels: 8, maximum_bytes: 1_000_000,
       maximum_pixels: 1_000_000, pictures_per_item: 1, timeout_seconds: 5.0, attempts: 2,
       maximum_unreachable_share: 0.0}
  shop:
    source:
      fetch:
        reviews: {url: "SERVER/reviews_Shop_5.json.gz", sha256: null}
        metadata: {url: "SERVER/meta_Shop.json.gz", sha256: null}
    preprocess: *preprocess
    images: *images
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(PARAMS)
    return tmp_path


def command(name: str, dataset: str) -> list[str]:
    folders = {
        "download": [],
        "preprocess": ["--raw", f"data/raw/{dataset}"],
        "images": ["--raw", f"data/raw/{dataset}", "--corpus", f"data/corpus/{dataset}"],
    }
    output = {"download": "raw", "preprocess": "corpus", "images": "images"}[name]
    options = [*folders[name], "--output", f"data/{output}/{dataset}"]
    if name == "download":
        options += ["--record", f"data/sources/datasets/{dataset}.json"]
    return [sys.executable, "-m", f"stages.{name}", "--dataset", dataset, *options]


def run(project: Path, name: str, dataset: str = "demo") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command(name, dataset), cwd=project, env=environment, capture_output=True, text=True
    )


def run_all(project: Path, dataset: str = "demo") -> None:
    for name in ("download", "preprocess", "images"):
        done = run(project, name, dataset)
        assert done.returncode == 0, done.stderr


def test_demo_from_nothing_twice_gives_the_same_bytes(project: Path) -> None:
    run_all(project)
    data = project / "data"
    first = fingerprint(data)
    assert list((data / "scratch").iterdir()) == []
    images = pq.read_table(data / "images/demo/images.parquet")
    items = pq.read_table(data / "corpus/demo/items.parquet")
    assert images["item_id"].equals(items["item_id"])
    assert {"ok", "no-link", "not-found"} == set(images["status"].to_pylist())
    assert all(len(list(folder.iterdir())) <= 6 for folder in data.glob("*/demo"))
    shutil.rmtree(data)
    run_all(project)
    assert fingerprint(data) == first


def test_users_errors_are_one_sentence(project: Path) -> None:
    done = run(project, "download", "dmeo")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "datasets.dmeo is missing; did you mean 'demo'?" in done.stderr
    (project / "params.yaml").write_text(PARAMS.replace("seed: 7", "sead: 7"))
    done = run(project, "download")
    assert "datasets.demo.source.sead is not a parameter; did you mean 'seed'?" in done.stderr
    (project / "params.yaml").write_text(PARAMS.replace("kind: demo", "kind: dmo"))
    done = run(project, "download")
    assert "datasets.demo.source.kind is 'dmo'; did you mean 'demo'?" in done.stderr
    assert "Traceback" not in done.stderr and not (project / "data/raw").exists()


def picture(number: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (40, 40), (number, 0, 0)).save(stream, "JPEG")
    return stream.getvalue()


def test_killed_while_fetching_pictures_then_run_again(project: Path) -> None:
    """700 items, two shards: the kill comes once the first shard stands."""
    n = 700
    with local_server() as server:
        address = server.address("")
        (project / "params.yaml").write_text(PARAMS.replace("SERVER", address))
        reviews = [
            f'{{"reviewerID": "u{user}", "asin": "i{(user + 140 * step) % n:04d}",'
            f' "overall": 5.0, "unixReviewTime": {1_400_000_000 + step}}}'
            for user in range(n)
            for step in range(5)
        ]
        metadata = [
            repr({"asin": f"i{item:04d}", "title": f"t{item}", "imUrl": f"{address}/{item}.jpg"})
            for item in range(n)
        ]
        for name, lines in (("reviews_Shop_5", reviews), ("meta_Shop", metadata)):
            server.files[f"/{name}.json.gz"] = gzip.compress("\n".join(lines).encode())
        server.files |= {f"/{item}.jpg": picture(item % 200) for item in range(n) if item % 7}
        server.files["/8.jpg"] = b"<html>moved</html>"
        for name in ("download", "preprocess"):
            assert run(project, name, "shop").returncode == 0
        server.requests.clear()
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        killed = subprocess.Popen(
            command("images", "shop"), cwd=project, env=environment, stderr=subprocess.DEVNULL
        )
        while not list(project.glob("data/scratch/images-*/000000000.parquet")):
            assert killed.poll() is None
            time.sleep(0.005)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert not (project / "data/images/shop").exists()
        server.requests.clear()
        done = run(project, "images", "shop")
        assert done.returncode == 0, done.stderr
        assert "/1.jpg" not in server.times_asked()  # of the first shard
        resumed = (project / "data/images/shop/images.parquet").read_bytes()
        shutil.rmtree(project / "data/images")
        assert run(project, "images", "shop").returncode == 0
        assert (project / "data/images/shop/images.parquet").read_bytes() == resumed
    rows = pq.read_table(project / "data/images/shop/images.parquet").to_pylist()
    assert [row["item_id"] for row in rows] == [f"i{item:04d}" for item in range(n)]
    for item, row in enumerate(rows):
        expected = "not-an-image" if item == 8 else "ok" if item % 7 else "not-found"
        assert row["status"] == expected


def test_full_disk_is_one_sentence() -> None:
    @stage
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "data/raw/x")

    result = click.testing.CliRunner().invoke(full)
    assert result.exit_code == 1
    assert "data/raw/x: the disk is full; make room" in result.output
