"""An encoder frozen, fine-tuned or trained end to end, and what each modality brings, on the demo:

    python -m tests.benchmarks.paradigms [--recommenders vbpr] [--seeds 5] [--set KEY=VALUE ...]

Runs the pipeline (`dvc exp run`, in place: params.yaml is changed) once per set of modalities that
the recommenders read, and prints a table: mean ± standard deviation over seeds of ndcg@20 on the
test split, and what fine-tuning and end-to-end training add, by paired t-tests over users (each
user averaged over seeds), corrected by Holm-Bonferroni over all comparisons of the table. A second
run takes everything from the cache.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from lmm4rec.report.comparisons import Comparison
from lmm4rec.report.markdown import spread, table
from lmm4rec.report.runs import Runs, read_runs
from lmm4rec.report.statistics import holm_bonferroni, paired_t_test

METRICS = Path("data/metrics/demo")
MODALITIES = ("image", "text", "image,text")
ENCODER = "clip-tiny"
PARADIGMS = (ENCODER, f"{ENCODER}-tuned", f"{ENCODER}-e2e")
METRIC = "ndcg@20"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recommenders", nargs="+", default=["vbpr"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--modalities", nargs="+", default=MODALITIES)
    parser.add_argument("--set", nargs="+", default=[], help="further changes of params.yaml")
    arguments = parser.parse_args()
    seeds = list(range(1, arguments.seeds + 1))
    found = {}
    for modalities in arguments.modalities:
        run_pipeline(modalities, arguments.recommenders, seeds, arguments.set)
        for name in arguments.recommenders:
            found[name, modalities] = [read_runs(METRICS, f, name, seeds) for f in PARADIGMS]
    ids = read_runs(METRICS, "none", "bpr", seeds)
    print(f"bpr, ids alone: {spread(ids.values('test', METRIC))}\n")
    print(results(found))


def run_pipeline(
    modalities: str, recommenders: list[str], seeds: list[int], further: list[str]
) -> None:
    changes = {
        "run.datasets": "[demo]",
        "run.encoders": f"[{ENCODER}]",
        "run.tuned": f"[{ENCODER}]",
        "run.controls": "[]",
        "run.features": f"[{ENCODER},{ENCODER}-tuned]",
        "run.recommenders": f"[{','.join(recommenders)}]",
        "run.id_recommenders": "[bpr]",
        "run.seeds": str(seeds).replace(" ", ""),
        "run.end2end": f"[{ENCODER}]",
        "run.end2end_recommenders": f"[{','.join(recommenders)}]",
    }
    changes |= {f"recommenders.{name}.modalities": f"[{modalities}]" for name in recommenders}
    assignments = [f"{key}={value}" for key, value in changes.items()] + further
    set_all = [part for assignment in assignments for part in ("-S", assignment)]
    subprocess.run([sys.executable, "-m", "dvc", "exp", "run", *set_all], check=True)


def results(found: dict[tuple[str, str], list[Runs]]) -> str:
    pairs = [
        pair for frozen, tuned, e2e in found.values() for pair in questions(frozen, tuned, e2e)
    ]
    tests = [paired_t_test(a.users[METRIC], b.users[METRIC]) for a, b in pairs]
    corrected = iter(holm_bonferroni([test.p for test in tests]))
    compared = iter(
        Comparison(a, b, METRIC, test, float(next(corrected)))
        for (a, b), test in zip(pairs, tests, strict=True)
    )
    head = ["recommender", "reads", "frozen", "fine-tuned", "end-to-end"]
    head += ["fine-tuned over frozen", "end-to-end over frozen", "end-to-end over fine-tuned"]
    rows = [head]
    for (name, modalities), runs in found.items():
        numbers = [spread(run.values("test", METRIC)) for run in runs]
        differences = [next(compared) for _ in questions(*runs)]
        said = [f"{c.relative:+.1%} (p {c.p_corrected:.2g})" for c in differences]
        rows.append([name, modalities.replace(",", " + "), *numbers, *said])
    return table(rows, n_words=2)


def questions(frozen: Runs, tuned: Runs, e2e: Runs) -> list[tuple[Runs, Runs]]:
    return [(tuned, frozen), (e2e, frozen), (e2e, tuned)]


if __name__ == "__main__":
    main()
