"""Which stage may run next when several run at once: the order of `stages.repro`, without DVC."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from graphlib import TopologicalSorter


class Order:
    """Hands stages out one by one: each once, and after every stage that it needs.

    `needs` holds, for every stage that is to run, the stages it needs; those that are not to run
    themselves stand already. Stages named in `alone` (measurements) are handed out while nothing
    else runs. A stage that is never said to be done keeps back all that need it.
    """

    def __init__(self, needs: Mapping[str, Collection[str]], alone: Collection[str] = ()) -> None:
        import networkx  # DVC's; half a second

        graph = networkx.DiGraph()
        graph.add_nodes_from(needs)
        graph.add_edges_from(
            (other, stage) for stage in needs for other in needs[stage] if other in needs
        )
        self._followers = {stage: len(networkx.descendants(graph, stage)) for stage in needs}
        self._sorter = TopologicalSorter(
            {stage: [other for other in needs[stage] if other in needs] for stage in needs}
        )
        self._sorter.prepare()
        self._rank = {stage: place for place, stage in enumerate(needs)}
        self._alone = set(alone)
        self._ready = list(self._sorter.get_ready())
        self._running: set[str] = set()
        self._waiting = set(needs)

    @property
    def waiting(self) -> list[str]:
        """The stages that were not handed out, in the order that was given."""
        return sorted(self._waiting, key=self._rank.__getitem__)

    def take(self) -> str | None:
        """The next stage, one on which most others wait; None while none may start."""
        if not self._alone.isdisjoint(self._running):
            return None
        beside = [stage for stage in self._ready if stage not in self._alone]
        able = beside or ([] if self._running else self._ready)
        if not able:
            return None
        stage = min(able, key=lambda name: (-self._followers[name], self._rank[name]))
        self._ready.remove(stage)
        self._running.add(stage)
        self._waiting.remove(stage)
        return stage

    def done(self, stage: str, *, well: bool) -> None:
        """A stage has ended; if it ended well, what needs it may run."""
        self._running.remove(stage)
        if well:
            self._sorter.done(stage)
            self._ready += self._sorter.get_ready()
