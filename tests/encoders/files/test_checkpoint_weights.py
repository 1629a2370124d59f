"""Weights of kind `checkpoint`: published files fetched, resumed, checked, recorded, loaded."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from lmm4rec.catalogue import downloads
from lmm4rec.encoders import load_encoder
from lmm4rec.encoders.base import Encoder
from lmm4rec.encoders.unified import beit3, vlmo
from stages.weights import main
from tests.encoders.unified_encoders import pictures, spm, tiny_beit3, tiny_vlmo, wordpiece
from tests.local_server import LocalServer, local_server

PARAMS = """
encoders:
  {family}:
    weights: {{kind: checkpoint, revision: 1, family: {family}, variant: small, image_pixels: 48,
      weights: {{url: "{weights}", path: null, sha256: null}},
      tokenizer: {{url: "{tokenizer}", path: null, sha256: null}}}}
"""
TOKENIZERS = {"beit3": "beit3.spm", "vlmo": "vocab.txt"}


@pytest.fixture(autouse=True)
def small_variants(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`small`, the tiny sizes under a published variant's way of loading; no waiting."""
    monkeypatch.setitem(beit3.PUBLISHED, "small", lambda side: beit3.tiny(spm().size, 16))
    monkeypatch.setitem(vlmo.PUBLISHED, "small", lambda side: vlmo.tiny(wordpiece().size, 16))
    monkeypatch.setattr(downloads.time, "sleep", lambda _: None)
    monkeypatch.delenv("LMM4REC_MIRROR", raising=False)
    monkeypatch.chdir(tmp_path)


def checkpoint(family: str, seed: int = 0) -> tuple[Encoder, bytes]:
    encoder: Encoder = tiny_beit3(seed) if family == "beit3" else tiny_vlmo(seed)
    stream = io.BytesIO()
    torch.save({"model": encoder.state_dict()}, stream)
    return encoder.eval(), stream.getvalue()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalServer]:
    spm().save(tmp_path)
    wordpiece().save(tmp_path)
    with local_server() as running:
        for family in TOKENIZERS:
            running.files[f"/{family}.pt"] = checkpoint(family)[1]
        running.files["/beit3.spm"] = (tmp_path / "tokenizer.spm").read_bytes()
        running.files["/vocab.txt"] = (tmp_path / "vocab.txt").read_bytes()
        yield running


def make(server: LocalServer, family: str, *edits: tuple[str, str]) -> Result:
    """Stage weights with the section of `family`, its text edited."""
    text = PARAMS.format(
        family=family,
        weights=server.address(f"/{family}.pt"),
        tokenizer=server.address(f"/{TOKENIZERS[family]}"),
    )
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    Path("params.yaml").write_text(text)
    options = ["--encoder", family, "--output", "data/weights/small", "--device", "cpu"]
    options += ["--record", "data/sources/encoders/small.json"]
    return CliRunner().invoke(main, options)


@pytest.mark.parametrize("family", ["beit3", "vlmo"])
def test_published_files_become_an_encoder_with_a_record(server: LocalServer, family: str) -> None:
    assert make(server, family).exit_code == 0
    source, content = checkpoint(family)
    folder = Path("data/weights/small")
    with torch.no_grad():
        loaded = load_encoder(folder).encode_images(pictures(2))
        assert torch.equal(loaded, source.encode_images(pictures(2)))
    record = {entry["file"]: entry for entry in json.loads((folder / "sources.json").read_text())}
    assert record.keys() == {f"{family}.pt", TOKENIZERS[family]}
    entry = record[f"{family}.pt"]
    assert entry["bytes"] == len(content)
    assert entry["sha256"] == hashlib.sha256(content).hexdigest()
    assert entry["source"] == server.address(f"/{family}.pt")
    assert [path.name for path in Path("data/scratch").iterdir()] == ["sums"]


def test_an_interrupted_download_goes_on(server: LocalServer) -> None:
    server.cuts["/vlmo.pt"] = [5000] * 5  # five attempts, then the stage gives up
    output = make(server, "vlmo").output
    assert "could not be downloaded in 5 attempts" in output
    assert output.rstrip().rpartition("\n")[2].startswith("Error: ")
    assert not Path("data/weights/small").exists()
    assert make(server, "vlmo").exit_code == 0
    assert server.requests[-1] == ("/vlmo.pt", "bytes=25000-")
    assert server.times_asked()["/vocab.txt"] == 1


def test_a_file_that_changed_since_its_first_download_is_refused(server: LocalServer) -> None:
    assert make(server, "vlmo").exit_code == 0
    server.files["/vlmo.pt"] = checkpoint("vlmo", seed=1)[1]
    failed = make(server, "vlmo")
    assert failed.exit_code == 1
    assert "when it was first fetched" in failed.output and "pin the new sum" in failed.output
    changed = hashlib.sha256(server.files["/vlmo.pt"]).hexdigest()
    pin = ("sha256: null", f"sha256: {changed}")
    assert make(server, "vlmo", pin).exit_code == 0
    assert make(server, "vlmo").exit_code == 0  # the pinned one is the known one now


def test_a_pinned_sum_that_does_not_fit_is_refused(server: LocalServer) -> None:
    failed = make(server, "vlmo", ("sha256: null", f"sha256: '{'0' * 64}'"))
    assert failed.exit_code == 1 and "SHA-256 is" in failed.output
    local = (f'url: "{server.address("/vlmo.pt")}", path: null', "url: null, path: vocab.txt")
    failed = make(server, "vlmo", local, ("sha256: null", f"sha256: '{'0' * 64}'"))
    assert "vocab.txt: the file's SHA-256 is" in failed.output


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (lambda: checkpoint("vlmo")[1][:-5000], "not a whole checkpoint"),
        (lambda: checkpoint("beit3")[1], "a BEiT-3 checkpoint, not a VLMo checkpoint"),
        (lambda: b"<html>moved</html>", "a web page came in place of the file"),
    ],
)
def test_wrong_checkpoints(server: LocalServer, content: object, sentence: str) -> None:
    server.files["/vlmo.pt"] = content()  # type: ignore[operator]
    failed = make(server, "vlmo")
    assert failed.exit_code == 1 and sentence in failed.output
    assert not Path("data/weights/small").exists()
    assert not Path("data/scratch/sums").exists()  # what was of no use is not what must come again


def test_vocabulary_of_the_wrong_size(server: LocalServer) -> None:
    server.files["/vocab.txt"] += b"surplus\n"
    failed = make(server, "vlmo")
    assert "entries but these weights were trained with" in failed.output


def test_local_files_and_a_mirror_ask_nobody(
    server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.pt").write_bytes(server.files["/vlmo.pt"])
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "vocab.txt").write_bytes(server.files["/vocab.txt"])
    monkeypatch.setenv("LMM4REC_MIRROR", str(mirror))
    local = (f'url: "{server.address("/vlmo.pt")}", path: null', "url: null, path: mine.pt")
    assert make(server, "vlmo", local).exit_code == 0
    assert not server.requests
    record = json.loads(Path("data/weights/small/sources.json").read_text())
    assert {entry["file"]: entry["source"] for entry in record}["mine.pt"] is None
    read = json.loads(Path("data/sources/encoders/small.json").read_text())
    assert read == {"revision": 1, "read": {"mine.pt": {".": file_state(tmp_path / "mine.pt")}}}
    # Another content under the same revision is no silent news.
    other, _ = checkpoint("vlmo", seed=1)
    torch.save({"model": other.state_dict()}, tmp_path / "mine.pt")
    changed = make(server, "vlmo", local)
    assert "mine.pt: was changed since it was read under revision 1" in changed.output
    assert make(server, "vlmo", local, ("revision: 1", "revision: 2")).exit_code == 0


def file_state(path: Path) -> dict[str, int | str]:
    content = path.read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("path: null", "path: here.pt", r"must name either a url or a path"),
        ("variant: small", "variant: smal", "vlmo has no variant 'smal'; did you mean 'small'?"),
        ("family: vlmo", "family: clip", "weights.family"),
        ("image_pixels: 48", "image_pixels: 0", "weights.image_pixels"),
    ],
)
def test_mistakes_in_the_section(server: LocalServer, old: str, new: str, sentence: str) -> None:
    failed = make(server, "vlmo", (old, new))
    assert failed.exit_code == 1 and sentence in failed.output, failed.output


def test_hosts_that_do_not_answer(tmp_path: Path) -> None:
    with local_server() as gone:
        pass
    failed = make(gone, "vlmo")
    assert failed.exit_code == 1
    assert "vocab.txt: could not be downloaded in 5 attempts" in failed.output
    assert "LMM4REC_MIRROR" in failed.output
