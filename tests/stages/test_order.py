"""The order in which stages run when several run at once."""

from __future__ import annotations

import random

import networkx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.running.order import Order

STUDY = {
    "weights": [],
    "extract": ["weights", "images"],  # images stand already: they are not to run
    "finetune": ["weights", "images"],
    "extract-tuned": ["finetune"],
    "efficiency": ["weights"],
    "train-1": ["extract"],
    "evaluate-1": ["train-1"],
    "train-2": ["extract"],
    "evaluate-2": ["train-2"],
    "report": ["evaluate-1", "evaluate-2", "efficiency", "extract-tuned"],
}


def ready(order: Order) -> list[str]:
    """All that may start now."""
    found = []
    while stage := order.take():
        found.append(stage)
    return found


def test_a_study() -> None:
    order = Order(STUDY, alone=["efficiency"])
    assert ready(order) == ["weights"]
    order.done("weights", well=True)
    # Five stages wait on the features, two on fine-tuning.
    assert ready(order) == ["extract", "finetune"]
    order.done("extract", well=True)
    # While fine-tuning goes on, its features are trained on: nobody waits for a chain to end.
    assert ready(order) == ["train-1", "train-2"]
    order.done("train-2", well=True)
    assert ready(order) == ["evaluate-2"]
    for stage in ("finetune", "train-1", "evaluate-2"):
        order.done(stage, well=True)
    assert ready(order) == ["extract-tuned", "evaluate-1"]
    order.done("evaluate-1", well=True)
    assert ready(order) == []  # the measurement waits until nothing else runs
    order.done("extract-tuned", well=True)
    assert ready(order) == ["efficiency"]
    order.done("efficiency", well=True)
    assert order.waiting == ["report"]
    assert ready(order) == ["report"] and order.waiting == []


@st.composite
def _graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    size = draw(st.integers(1, 12))
    return {
        str(n): [str(m) for m in range(n) if draw(st.booleans())] for n in range(size)
    }  # fmt: skip


@given(_graphs(), st.integers(1, 4), st.data())
def test_every_stage_runs_once_after_what_it_needs_and_no_slot_idles(
    needs: dict[str, list[str]], slots: int, data: st.DataObject
) -> None:
    alone = set(data.draw(st.lists(st.sampled_from(sorted(needs)), unique=True)))
    pick = random.Random(data.draw(st.integers(0, 99)))
    order = Order(needs, alone)
    done: list[str] = []
    running: list[str] = []
    while True:
        while len(running) < slots and (stage := order.take()):
            assert set(needs[stage]) <= set(done)
            running.append(stage)
        if not running:
            break
        assert len(running) == 1 or alone.isdisjoint(running)
        able = {
            stage
            for stage in needs
            if stage not in (*done, *running) and set(needs[stage]) <= set(done)
        }
        assert len(running) == slots or able <= alone or not alone.isdisjoint(running)
        done.append(running.pop(pick.randrange(len(running))))
        order.done(done[-1], well=True)
    assert sorted(done) == sorted(needs)


@pytest.mark.parametrize("failing", sorted(STUDY))
def test_a_failure_loses_what_needs_it_and_nothing_else(failing: str) -> None:
    order = Order(STUDY)
    ran = []
    while stage := order.take():
        order.done(stage, well=stage != failing)
        ran.append(stage)
    graph = networkx.DiGraph((other, stage) for stage in STUDY for other in STUDY[stage])
    assert set(order.waiting) == networkx.descendants(graph, failing)
    assert sorted([*ran, *order.waiting]) == sorted(STUDY)
