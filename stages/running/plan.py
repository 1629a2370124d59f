"""What DVC says of the stages: which are out of date and why, and what would be fetched for them.

DVC's own dry run stops at the first input that is not here. This asks the same questions of every
stage (is its command, a parameter, an input or an output another than dvc.lock says?), in the
order of the graph, and takes no lock on what running stages write.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Any, Literal

from lmm4rec.errors import InputError

Place = Literal["cache", "remote", "nowhere"]
ALWAYS = "runs in any case"
WORDS = 3  # that a reason has at most; `dvc status STAGE` has them all
ABSENT = ("deleted", "not in cache")  # DVC's words for what --allow-missing allows to be missing


@dataclass(frozen=True)
class Fetch:
    """Data that some stage made before, and that is to be brought here."""

    path: str
    place: Place
    size: int | None  # bytes


@dataclass
class Plan:
    """What is to be done, in an order in which it could be done."""

    needs: dict[str, list[str]] = field(default_factory=dict)  # stage -> stages it needs
    reasons: dict[str, str] = field(default_factory=dict)  # of those whose command would run
    changed: set[str] = field(default_factory=set)  # of these, for a change of their own
    fetches: dict[str, Fetch] = field(default_factory=dict)  # by path
    alone: set[str] = field(default_factory=set)
    total: int = 0


class Pipeline:
    """The stages that the targets need, with the targets themselves (all: no targets)."""

    def __init__(self, repo: Any, targets: Collection[str]) -> None:
        import networkx

        graph = repo.index.graph  # from a stage to those it needs
        wanted = [node for target in targets for node in repo.stage.collect(target)]
        inside = {node for top in wanted for node in (top, *networkx.descendants(graph, top))}
        self._repo = repo
        self._stages = {node.addressing: node for node in graph if not targets or node in inside}
        self.first = [name for name in self._stages if self._schedule(name) == "first"]
        self._needs = {
            name: [other.addressing for other in graph.successors(node)]
            for name, node in self._stages.items()
        }

    def plan(self, *, pull: bool = False, first_is_done: bool = True) -> Plan:
        """The stages that are out of date.

        `pull`: files that are not here make no stage out of date; they are fetched where one that
        runs needs them. Stages that run `first`, in any case, are no part of a plan; before they
        have run nobody knows what they leave, so that it makes nothing out of date.
        """
        from dvc.repo import lock_repo

        with lock_repo(self._repo):
            return self._plan(pull, set() if first_is_done else set(self.first))

    def _plan(self, pull: bool, unknown: set[str]) -> Plan:
        plan = Plan(total=len(self._stages))
        needs = {
            name: [other for other in others if other not in self.first]
            for name, others in self._needs.items()
            if name not in self.first
        }
        for name in TopologicalSorter(needs).static_order():
            changed, absent = self._changes(name, plan, unknown, pull)
            above = [other for other in needs[name] if other in plan.reasons]
            if not changed and not above and absent and self._restorable(name):
                plan.fetches |= {path: self._fetch(name, path) for path in absent}
            elif changed or above or absent:
                said = changed or [f"{path} is not here" for path in absent]
                plan.reasons[name] = _few(said if changed or not above else _after(above))
                if absent or changed not in ([], [ALWAYS]):
                    plan.changed.add(name)
                if pull:
                    plan.fetches |= self._inputs(name, plan)
            else:
                continue
            plan.needs[name] = needs[name]
        plan.alone = {name for name in plan.needs if self._schedule(name) == "alone"}
        return plan

    def _schedule(self, name: str) -> str | None:
        return (self._stages[name].meta or {}).get("schedule")

    def _changes(
        self, name: str, plan: Plan, unknown: set[str], pull: bool
    ) -> tuple[list[str], list[str]]:
        """What is another than dvc.lock says, in words; and outputs that are lacking alone."""
        stage = self._stages[name]
        if stage.is_callback or stage.always_changed:
            return [ALWAYS], []
        if not any(entry.hash_info for entry in (*stage.outs, *stage.deps)):
            return ["has not run yet"], []
        changed = ["its command"] if stage.changed_stage() else []
        for dep in [] if stage.frozen else stage.deps:
            made = self._makers(name, dep)
            makers = {maker for maker, _ in made}
            state = {} if makers & unknown else dep.status()
            if state.get(str(dep)) == "deleted" and made:
                known = [out.hash_info for _, out in made if out.fs_path == dep.fs_path]
                if makers & plan.reasons.keys() or all(one == dep.hash_info for one in known):
                    continue  # it is to be made, or fetched as it was
            changed += _said(state)
        lacking = []
        for out in stage.outs:
            state = out.status()
            if state.get(str(out)) not in ABSENT:
                changed += _said(state)
            elif not pull:
                lacking.append(str(out))
        return changed, lacking

    def _restorable(self, name: str) -> bool:
        """DVC brings the outputs of an unchanged stage from its cache, if all of them are there."""
        return bool(self._stages[name].outs_cached())

    def _inputs(self, name: str, plan: Plan) -> dict[str, Fetch]:
        """What this stage reads, is not here, and is made by none that runs."""
        return {
            str(out): self._fetch(maker, str(out))
            for dep in self._stages[name].deps
            if not dep.exists
            for maker, out in self._makers(name, dep)
            if maker not in plan.reasons and not out.exists
        }

    def _makers(self, name: str, dep: Any) -> list[tuple[str, Any]]:
        """The outputs of other stages that are this input, lie in it, or hold it; with whose."""
        return [
            (other, out)
            for other in self._needs[name]
            for out in self._stages[other].outs
            if out.fs.isin_or_eq(out.fs_path, dep.fs_path) or out.fs.isin(dep.fs_path, out.fs_path)
        ]

    def _fetch(self, name: str, path: str) -> Fetch:
        [out] = [out for out in self._stages[name].outs if str(out) == path]
        place: Place = "nowhere"
        if not out.changed_cache():
            place = "cache"
        elif out.use_cache and (out.remote or self._repo.config["core"].get("remote")):
            place = "remote"
        return Fetch(path, place, out.meta.size if out.meta else None)


@contextmanager
def read_pipeline(targets: Collection[str] = ()) -> Iterator[Pipeline]:
    """dvc.yaml as it stands, with dvc.lock.

    InputError: dvc.yaml, dvc.lock or params.yaml cannot be read, or a target is unknown.
    """
    from dvc.exceptions import DvcException  # a second; --help stays instant
    from dvc.repo import Repo, lock_repo

    try:
        with Repo(_wait_for_lock=True) as repo:
            with lock_repo(repo):
                pipeline = Pipeline(repo, targets)
            yield pipeline
    except DvcException as error:
        raise InputError(sentence(error)) from error


def sentence(error: BaseException) -> str:
    """DVC's error and what it says caused it."""
    said = [str(error)]
    while error.__cause__ is not None:
        error = error.__cause__
        said.append(str(error))
    return ": ".join(dict.fromkeys(text for text in said if text))


def _said(state: Mapping[str, Any]) -> list[str]:
    """DVC's status of one file, in words; of a parameter file, of each parameter."""
    said = []
    for path, found in state.items():
        parts = found.items() if isinstance(found, Mapping) else [(None, found)]
        said += [f"{path} {name} {how}" if name else f"{path} {how}" for name, how in parts]
    return said


def _after(names: Collection[str]) -> list[str]:
    return [f"after {name}" for name in names]


def _few(said: list[str]) -> str:
    return ", ".join(said[:WORDS]) + (f" and {len(said) - WORDS} more" * (len(said) > WORDS))
