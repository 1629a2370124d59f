"""The device that a name means, and when a step is too small to wake a second thread for."""

from __future__ import annotations

import numba
import pytest
import torch

from lmm4rec.devices import SMALL_STEP, choose_device, use_one_thread_if_small
from lmm4rec.errors import InputError


@pytest.mark.parametrize(
    ("has_cuda", "name", "device"),
    [
        (True, "auto", "cuda"),
        (True, "cuda", "cuda"),
        (True, "cuda:1", "cuda:1"),
        (True, "cpu", "cpu"),
        (False, "auto", "cpu"),
        (False, "cpu", "cpu"),
    ],
)
def test_a_name_means_a_device(
    has_cuda: bool, name: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2 * has_cuda)
    assert choose_device(name) == torch.device(device)


@pytest.mark.parametrize(
    ("has_cuda", "name", "sentence"),
    [
        (True, "cuda:abc", "device 'cuda:abc' is not known; use auto"),
        (True, "cuda:2", "device 'cuda:2': this machine has 2 CUDA devices, counted from 0"),
        (True, "tpu", "device 'tpu' is not known; use auto, cpu, cuda or cuda:<number>"),
        (False, "gpu", "device 'gpu' is not known; use auto"),
        (False, "cuda", "device 'cuda': this machine has no CUDA device; use cpu or auto"),
        (False, "cuda:1", "device 'cuda:1': this machine has no CUDA device"),
    ],
)
def test_other_names_are_one_sentence(
    has_cuda: bool, name: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2 * has_cuda)
    with pytest.raises(InputError, match=sentence):
        choose_device(name)


def test_small_steps_alone_keep_to_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []
    monkeypatch.setattr(torch, "set_num_threads", lambda n: asked.append(("torch", n)))
    monkeypatch.setattr(numba, "set_num_threads", lambda n: asked.append(("numba", n)))
    use_one_thread_if_small(SMALL_STEP)
    assert asked == []
    use_one_thread_if_small(SMALL_STEP - 1)
    assert asked == [("torch", 1), ("numba", 1)]
