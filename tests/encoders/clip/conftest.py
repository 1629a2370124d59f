"""What several tests of CLIP stand on."""

from __future__ import annotations

import pytest

from tests.encoders.clip.small_clip import small_model


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two small architectures in open_clip's tables, with one tag of QuickGELU weights."""
    from open_clip import factory, pretrained

    for name, quick in (("Small", False), ("Small-quickgelu", True)):
        monkeypatch.setitem(factory._MODEL_CONFIGS, name, small_model(quick_gelu=quick))
        tags = {"openai": {"hf_hub": "someone/small.openai/", "quick_gelu": True}}
        monkeypatch.setitem(pretrained._PRETRAINED, name, tags)
