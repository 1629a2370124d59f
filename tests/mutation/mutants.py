"""The mutants of a file: cosmic-ray's operators at every site, and a seeded sample of them.

A site is a place of the code and a kind of change (a comparison, a constant, an operator ...). Most
sites have several mutants (`<` can become five others); one of them is drawn, so that a sum, which
has eleven, weighs no more than a condition. Left out are annotations; numba's decorators, which
change speed alone; and what does not compile once it is changed (the bare star of a signature).
"""

from __future__ import annotations

import ast
import random
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

NO_CHANGE = {"NoOp", "VariableInserter", "VariableReplacer"}
"""Operators that change nothing, or want to be told which names to change."""


@dataclass(frozen=True)
class Mutant:
    file: str
    """Its path in the repository."""
    operator: str
    """cosmic-ray's name of the change."""
    occurrence: int
    """Which of the file's places for this operator, from 0."""
    first_line: int
    last_line: int
    """The lines of the innermost statement that holds the site, from 1."""
    where: str
    """The function or class that holds the site, or nothing."""
    before: str
    after: str
    """The site's line without indentation, as it was and as it became."""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What names it although lines move."""
        return self.file, self.where, self.before, self.after

    def source(self, original: str) -> str:
        """The file's text with this change."""
        changed = _changed(original, self.operator, self.occurrence)
        assert changed is not None, "the file is not the one that was sampled"
        return changed

    def as_row(self) -> dict[str, str | int]:
        return asdict(self)


Place = tuple[int, int, str]
"""Line, column and kind of change."""


def sites(source: str) -> dict[Place, list[tuple[str, int]]]:
    """Every site of a file with its (operator, occurrence) pairs, in the file's order."""
    nodes = list(ast_nodes(get_ast(source)))
    unseen = {*_unseen(source)}
    found: dict[Place, list[tuple[str, int]]] = defaultdict(list)
    for name in sorted(operator_names()):
        kind = name.split("/")[1].split("_")[0]
        if kind in NO_CHANGE:
            continue
        operator = get_operator(name)()
        places = (place for node in nodes for place in operator.mutation_positions(node))
        for occurrence, ((line, column), _) in enumerate(places):
            if not any(first <= (line, column) < last for first, last in unseen):
                found[line, column, kind].append((name, occurrence))
    return dict(sorted(found.items()))


def _unseen(source: str) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Where annotations and numba's decorators begin and end: (line, column) each."""
    for node in ast.walk(ast.parse(source)):
        found = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        decorators = getattr(node, "decorator_list", [])
        found += [each for each in decorators if ast.unparse(each).startswith("njit")]
        for each in found:
            if isinstance(each, ast.expr):
                assert each.end_lineno is not None and each.end_col_offset is not None
                yield (each.lineno, each.col_offset - 1), (each.end_lineno, each.end_col_offset)


def sample(root: Path, files: list[str], n: int, seed: int) -> tuple[list[Mutant], int]:
    """`n` mutants of these files, or all where there are fewer, and how many sites they have.

    Sites are drawn without replacement and every site alike; the same seed draws the same mutants
    from the same files.
    """
    sources = {file: (root / file).read_text(encoding="utf-8") for file in sorted(files)}
    every = [(file, *site) for file, source in sources.items() for site in sites(source).items()]
    chance = random.Random(seed)
    chance.shuffle(every)
    drawn: list[Mutant] = []
    for file, (line, _, _), changes in every:
        if len(drawn) == n:
            break
        made = _mutant(file, sources[file], line, *chance.choice(changes))
        drawn += [made] if made else []
    return drawn, len(every)


def _mutant(file: str, source: str, line: int, operator: str, occurrence: int) -> Mutant | None:
    """One mutant, or none where the changed file does not compile."""
    changed = _changed(source, operator, occurrence)
    if changed is None or changed == source:
        return None
    try:
        with warnings.catch_warnings(action="ignore"):  # a change may look odd: `is not 1`
            compile(changed, file, "exec")
    except SyntaxError:
        return None
    before, after = source.splitlines(), changed.splitlines()
    differing = (i for i, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1])
    at = line - 1 if "RemoveDecorator" in operator else next(differing, line - 1)
    is_now = "" if "RemoveDecorator" in operator else after[at].strip()
    first, last = _statement(source, line)
    return Mutant(
        file, operator, occurrence, first, last, _where(source, line), before[at].strip(), is_now
    )


def _changed(source: str, operator: str, occurrence: int) -> str | None:
    try:
        return mutate_code(source, get_operator(operator)(), occurrence)
    except AttributeError:  # cosmic-ray 8.7 cannot replace an exception with a dotted name
        return None


def _where(source: str, line: int) -> str:
    """Names of the classes and functions over a line, outermost first."""
    named = ast.FunctionDef | ast.ClassDef
    over = [
        (node.lineno, node.name)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, named) and node.lineno <= line <= (node.end_lineno or 0)
    ]
    return ".".join(name for _, name in sorted(over))


def _statement(source: str, line: int) -> tuple[int, int]:
    """First and last line of the innermost statement over a line; of a block, its head alone."""
    spans = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            assert node.end_lineno is not None
            last = max(node.lineno, body[0].lineno - 1) if body else node.end_lineno
            spans.append((node.lineno, last))
    holding = [span for span in spans if span[0] <= line <= span[1]]
    return max(holding, default=(line, line))
