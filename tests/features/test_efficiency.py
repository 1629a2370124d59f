"""What encoders cost: counts by hand, a measurement that names no machine, and its table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from lmm4rec.encoders.tuning.trainable import TuneAll, TuneLastBlocks, TuneLora
from lmm4rec.features import efficiency as module
from lmm4rec.features.efficiency import Pairs, device_kind, efficiency, fastest, flops_per_item
from lmm4rec.features.efficiency import parameter_counts as counts
from lmm4rec.folders import read_json
from lmm4rec.report.efficiency import efficiency_table
from lmm4rec.report.markdown import tables
from lmm4rec.report.page import section
from lmm4rec.report.runs import Runs
from tests.catalogue import toy_catalogue as toy
from tests.encoders.encoder_contract import tiny

CPU = torch.device("cpu")
ALL = TuneAll(kind="all")


def transformer_flops(tokens: int, width: int, blocks: int) -> int:
    """Maps to queries, keys, values; scores and their product with values; output; MLP."""
    attention = 6 * tokens * width**2 + 4 * tokens**2 * width + 2 * tokens * width**2
    return blocks * (attention + 16 * tokens * width**2)


def test_operations_by_hand() -> None:
    """clip-tiny: 48 pixels in patches of 12 at width 96; 32 text tokens at width 64."""
    patches = 2 * 16 * (3 * 12 * 12) * 96
    image = patches + transformer_flops(16 + 1, 96, 3) + 2 * 96 * 64
    text = transformer_flops(32, 64, 2) + 2 * 64 * 64
    assert flops_per_item(tiny("clip")) == {"image": image, "text": text}


def test_texts_are_as_long_as_the_encoder_takes() -> None:
    for family in ("clip", "beit3", "vlmo"):
        encoder = tiny(family)
        config: Any = encoder.config
        longest = (
            config.model["text_cfg"]["context_length"]
            if family == "clip"
            else config.max_text_tokens
        )
        for tokens in Pairs.generated(encoder, 2, CPU).tokens.values():
            assert tokens.shape == (2, longest)
        assert (encoder.tokenizer(["word"])["tokens"] != tokens[:1]).any()


def test_parameters_of_two_towers_and_of_shared_ones() -> None:
    clip = tiny("clip")
    found = counts(clip, ALL)
    text = sum(p.numel() for name, p in clip.named_parameters() if name.startswith("model.text"))
    assert found["text_tower"] == text
    assert found["image_tower"] + text + 1 == found["total"] == found["trained"]  # 1: the scale
    encoder: Any = tiny("beit3")  # as many experts as towers, and an unused mask token
    width, beit3 = encoder.config.width, counts(encoder, ALL)
    assert beit3["image_tower"] + beit3["text_tower"] + 1 + width == beit3["total"]
    vlmo = tiny("vlmo")
    for name, parameter in vlmo.named_parameters():
        parameter.requires_grad_(".attn." in name)
    shared = counts(vlmo, ALL)  # attention serves both and counts in each
    assert shared["image_tower"] == shared["text_tower"] == shared["trained"] > 0


def test_what_is_trained() -> None:
    everything = counts(tiny("clip"), ALL)["trained"]
    last = counts(tiny("clip"), TuneLastBlocks(kind="last-blocks", blocks=1))["trained"]
    adapted = counts(tiny("clip"), TuneLora(kind="lora", rank=2, alpha=4))
    blocks = sum(p.numel() for p in tiny("clip").layers()[-1].parameters())  # of both towers
    assert blocks < last < 2 * blocks < everything
    assert 0 < adapted["trained"] < last and adapted["total"] == everything


def test_the_fastest_batch_size_that_fits_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    def seconds(_: object, pairs: Pairs, *__: object) -> float:
        size = len(pairs.pixels)
        if size > 8:
            raise torch.cuda.OutOfMemoryError
        return {2: 1.0, 4: 1.0, 8: 3.0}[size]

    monkeypatch.setattr(module, "forward_seconds", seconds)
    monkeypatch.setattr(module, "BATCH_SIZES", {"cpu": (2, 4, 8, 16, 32)})
    assert fastest(tiny("clip"), "float32", CPU) == (4, 4.0)


def test_batch_sizes_are_powers_of_two_that_rise() -> None:
    for sizes in module.BATCH_SIZES.values():
        assert list(sizes) == sorted(set(sizes)) and all(size.bit_count() == 1 for size in sizes)


def test_device_by_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert device_kind(CPU) == "cpu, 2 threads"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert device_kind(CPU) == "cpu, 1 thread"


def test_bfloat16_is_measured_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, seen = tiny("clip"), set()
    block = encoder.layers()[0][0].mlp[0]  # type: ignore[index]
    block.register_forward_hook(lambda *given: seen.add(given[2].dtype))
    monkeypatch.setattr(module, "MATRIX_SIDES", {"cpu": 64})
    found = efficiency(encoder, "bfloat16", ALL, CPU)
    assert torch.bfloat16 in seen and found["precision"] == "bfloat16"


@pytest.mark.slow
def test_stage_and_table(tmp_path: Path) -> None:
    project = toy.toy_project(tmp_path, 9)
    command = [sys.executable, "-m", "stages.efficiency", "--encoder", "toy", "--device", "cpu"]
    command += ["--weights", "data/weights/toy", "--output", "data/metrics/efficiency/toy.json"]
    command += ["--measured", "data/metrics/efficiency/toy.measured.json"]
    done = toy.run(project, command)
    assert done.returncode == 0, done.stderr
    folder = project / "data/metrics/efficiency"
    counted = read_json(folder / "toy.json")
    assert counted.keys() == {"encoder", "flops_per_item", "parameters"}
    assert counted["encoder"] == "toy" and counted["parameters"]["total"] > 3_000_000
    found = read_json(folder / "toy.measured.json")
    assert found["encoder"] == "toy" and found["device"] == "cpu, 1 thread"
    assert found["items_per_second"] > 0 and found["share_of_matrix_rate"] > 0
    assert found["peak_memory_mib"] > 50
    [table] = efficiency_table(folder, ["absent", "toy"])
    head, row = table.rows
    assert len(row) == len(head) and row[0] == "toy"
    assert efficiency_table(folder, ["absent"]) == []
    html = section(table)
    assert "cpu, 1 thread, float32" in html and html.count("<td>") == len(head)
    runs = [Runs("none", "bpr", [{"test": {"recall@20": 0.5}}], {})]
    assert f"| {' | '.join(row)} |" in tables(runs, [], [table])
    (folder / "toy.measured.json").unlink()
    [table] = efficiency_table(folder, ["toy"])
    assert table.rows[1][:7] == row[:7] and table.rows[1][7:] == ["", "", "", ""]
