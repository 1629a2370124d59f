"""Which stages may run next when several run at once: the order of `stages.repro`, without DVC.

A job is a list of stages that one process runs one after the other: a chain (a training and its
evaluation), or several chains while many are ready, so that starting DVC is paid once for all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

# While this many ready chains stand against each process that may run, a job takes several.
CHAINS_PER_PROCESS = 2


class JobQueue:
    """Deals stages out as jobs: each once, and after every stage that it needs.

    `needs` holds, for every stage that is to run, the stages it needs; those that are not to run
    themselves stand already. Stages named in `alone` (measurements) run while nothing else does.
    """

    def __init__(self, needs: Mapping[str, Collection[str]], alone: Collection[str] = ()) -> None:
        self._needs = {
            stage: {other for other in others if other in needs} for stage, others in needs.items()
        }
        self._alone = set(alone)
        self._children: dict[str, list[str]] = {stage: [] for stage in needs}
        for stage, others in self._needs.items():
            for other in others:
                self._children[other].append(stage)
        self._waiting = dict.fromkeys(needs)  # a set that keeps the order it was given
        self._running: set[str] = set()
        self._done: set[str] = set()

    @property
    def waiting(self) -> list[str]:
        """The stages that no job has taken."""
        return list(self._waiting)

    def alone(self, job: Collection[str]) -> bool:
        """Whether nothing else runs beside this job."""
        return not self._alone.isdisjoint(job)

    def take(self, processes: int, *, single: bool = False) -> list[str]:
        """The stages of the next job; empty while none may start.

        Stages on which most others wait come first. `single` takes one chain a job.
        """
        ready = [stage for stage in self._waiting if self._needs[stage] <= self._done]
        heads = [stage for stage in ready if stage not in self._alone]
        if heads:
            heads.sort(key=lambda stage: -len(self.descendants([stage])))
            size = 1 if single else max(1, len(heads) // (CHAINS_PER_PROCESS * processes))
            job = self._chains(heads[:size])
        elif self._running or not ready:
            return []
        else:
            job = ready[:1] if single else ready
        for stage in job:
            del self._waiting[stage]
        self._running.update(job)
        return job

    def finish(self, job: Iterable[str]) -> None:
        """The stages of a job have run; what needs them may run."""
        job = set(job)
        self._running -= job
        self._done |= job

    def drop(self, job: Collection[str]) -> list[str]:
        """A job has failed: those of the waiting stages that need it will not run. Returns them."""
        self._running -= set(job)
        lost = [stage for stage in self.descendants(job) if stage in self._waiting]
        for stage in lost:
            del self._waiting[stage]
        return lost

    def descendants(self, stages: Collection[str]) -> list[str]:
        """The stages that need one of these, directly or through others."""
        found: dict[str, None] = {}
        stack = list(stages)
        while stack:
            for child in self._children[stack.pop()]:
                if child not in found:
                    found[child] = None
                    stack.append(child)
        return list(found)

    def _chains(self, heads: list[str]) -> list[str]:
        """Each of these with what follows it as its only child, and needs nothing unfinished."""
        job: list[str] = []
        for head in heads:
            stage: str | None = head
            while stage is not None:
                job.append(stage)
                stage = self._follower(stage, self._done.union(job))
        return job

    def _follower(self, stage: str, standing: set[str]) -> str | None:
        following = [child for child in self._children[stage] if self._needs[child] <= standing]
        if len(following) != 1 or following[0] in self._alone:
            return None
        return following[0]
