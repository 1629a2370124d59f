"""What several tests of published pairs stand on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.encoders.unimodal.small_pair import image_folder, text_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    image_folder(tmp_path / "image")
    text_folder(tmp_path / "text")
    return tmp_path


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
