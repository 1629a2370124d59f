"""Several stages at once: a slot that is free takes the next stage that is ready."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager

from lmm4rec.errors import InputError
from stages.running.command import available_cores
from stages.running.order import Order
from stages.running.plan import Plan
from stages.running.slots import Slot, cores_of_a_job, interruptible


class Runner:
    """Runs plans, so many stages at once as there are slots."""

    def __init__(self, slots: Sequence[Slot], *, keep_going: bool, pull: bool) -> None:
        self._slots, self._keep_going, self._pull = list(slots), keep_going, pull

    def run_alone(self, stage: str | None) -> None:
        """One stage, or with none the fetching of the run cache. InputError: it failed."""
        slot = self._slots[0]
        slot.start()
        if not slot.run(stage, pull=self._pull, cores=available_cores()):
            raise InputError(f"{stage or 'dvc'} failed, see the lines above; mend it and run again")

    def run(self, plan: Plan) -> None:
        """All its stages. InputError: some failed; the message names them."""
        order = Order(plan.needs, plan.alone)
        failed: list[str] = []
        free = list(self._slots)
        running: dict[Future[bool], tuple[str, Slot]] = {}
        with ThreadPoolExecutor(len(self._slots)) as pool:
            while True:
                while free and (self._keep_going or not failed) and (stage := order.take()):
                    slot = free.pop()
                    slot.start()
                    cores = (
                        available_cores()
                        if stage in plan.alone
                        else cores_of_a_job(len(self._slots))
                    )
                    future = pool.submit(slot.run, stage, pull=self._pull, cores=cores)
                    running[future] = stage, slot
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    stage, slot = running.pop(future)
                    free.append(slot)
                    order.done(stage, well=future.result())
                    if not future.result():
                        failed.append(stage)
        if failed:
            without = f" ({len(order.waiting)} others did not run)" if order.waiting else ""
            raise InputError(
                f"{', '.join(failed)} failed, see the lines above{without}; mend it and run this "
                "again: what is done stays done"
            )


@contextmanager
def runner_of(jobs: int, gpus: Sequence[str], *, keep_going: bool, pull: bool) -> Iterator[Runner]:
    """Slots for so many jobs; Ctrl-C and SIGTERM end what they run."""
    slots = [Slot(gpus[slot] if gpus else None) for slot in range(jobs)]
    with interruptible(slots):
        yield Runner(slots, keep_going=keep_going, pull=pull)
