"""The order in which stages run when several run at once."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.running.job_queue import JobQueue

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


def test_a_study_in_two_processes() -> None:
    jobs = JobQueue(STUDY, alone=["efficiency"])
    assert jobs.take(2) == ["weights"]
    assert jobs.take(2) == []
    jobs.finish(["weights"])
    # Five stages wait on the features, two on fine-tuning; that one brings its only child along.
    assert jobs.take(2) == ["extract"]
    assert jobs.take(2) == ["finetune", "extract-tuned"]
    jobs.finish(["extract"])
    assert jobs.take(2) == ["train-1", "evaluate-1"]
    jobs.finish(["finetune", "extract-tuned"])
    assert jobs.take(2) == ["train-2", "evaluate-2"]
    jobs.finish(["train-1", "evaluate-1"])
    assert jobs.take(2) == []  # the measurement waits until nothing else runs
    jobs.finish(["train-2", "evaluate-2"])
    job = jobs.take(2)
    assert job == ["efficiency"] and jobs.alone(job)
    assert jobs.take(2) == []
    jobs.finish(job)
    assert jobs.take(2) == ["report"]
    assert jobs.waiting == []


def test_many_chains_share_a_process_and_single_ones_do_not() -> None:
    many = {f"train-{n}": [] for n in range(8)} | {
        f"evaluate-{n}": [f"train-{n}"] for n in range(8)
    }
    assert JobQueue(many).take(2) == ["train-0", "evaluate-0", "train-1", "evaluate-1"]
    assert JobQueue(many).take(2, single=True) == ["train-0", "evaluate-0"]


def test_what_needs_a_failed_job_is_dropped_and_the_rest_runs() -> None:
    jobs = JobQueue(STUDY)
    jobs.finish(jobs.take(1))
    assert jobs.take(1, single=True) == ["extract"]
    assert set(jobs.drop(["extract"])) == {
        "train-1", "evaluate-1", "train-2", "evaluate-2", "report",
    }  # fmt: skip
    assert jobs.take(1, single=True) == ["finetune", "extract-tuned"]
    assert jobs.waiting == ["efficiency"]


@st.composite
def _graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    size = draw(st.integers(1, 12))
    return {
        str(n): [str(m) for m in range(n) if draw(st.booleans())] for n in range(size)
    }  # fmt: skip


@given(_graphs(), st.integers(1, 4), st.booleans(), st.data())
def test_every_stage_runs_once_after_what_it_needs(
    needs: dict[str, list[str]], processes: int, single: bool, data: st.DataObject
) -> None:
    alone = set(data.draw(st.lists(st.sampled_from(sorted(needs)), unique=True)))
    pick = random.Random(data.draw(st.integers(0, 99)))
    jobs = JobQueue(needs, alone)
    order: list[str] = []
    running: list[list[str]] = []
    while True:
        while len(running) < processes and (job := jobs.take(processes, single=single)):
            seen = set(order)
            for stage in job:  # in a job one after the other, beside others only if those are done
                assert set(needs[stage]) <= seen
                seen.add(stage)
            running.append(job)
        if not running:
            break
        assert len(running) == 1 or not any(jobs.alone(job) for job in running)
        job = running.pop(pick.randrange(len(running)))
        order += job
        jobs.finish(job)
    assert sorted(order) == sorted(needs)


@pytest.mark.parametrize("failing", sorted(STUDY))
def test_a_failure_loses_what_needs_it_and_nothing_else(failing: str) -> None:
    jobs = JobQueue(STUDY)
    ran: list[str] = []
    lost: list[str] = []
    while job := jobs.take(1, single=True):
        if failing in job:
            failed_with = job
            lost += jobs.drop(job)
        else:
            ran += job
            jobs.finish(job)
    assert set(lost) == set(JobQueue(STUDY).descendants(failed_with)) - set(failed_with)
    assert sorted(ran + failed_with + lost) == sorted(STUDY)
