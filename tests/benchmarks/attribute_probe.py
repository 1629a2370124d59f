"""What features know of the demo's products: `python -m tests.benchmarks.attribute_probe NAME ...`

NAME is a folder under data/features/demo, made by `dvc repro`. For each attribute a linear
classifier (ridge regression onto one-hot targets, standardised columns) is fitted on four fifths of
the items that have the modality and asked for the rest, five times. Pictures show kind, colour and
pattern, texts name kind and theme; what a modality does not hold must stay near chance, which is
the share of the attribute's commonest value.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lmm4rec.catalogue.corpus import read_items
from lmm4rec.catalogue.sources.demo import DemoSource
from lmm4rec.catalogue.sources.demo_world import Product
from lmm4rec.features.features import Features, read_features
from lmm4rec.params import read_section

ATTRIBUTES = ("kind", "colour", "pattern", "theme")
MODALITIES = ("image", "text")
FOLDS, PENALTY = 5, 10.0

Matrix = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="+", help="folders under data/features/demo")
    names = parser.parse_args().names
    source = read_section(Path("params.yaml"), "datasets.demo.source", DemoSource)
    truth = source.draw_products(np.random.default_rng(source.seed))
    item_ids = read_items(Path("data/corpus/demo"))["item_id"].combine_chunks()
    products = [truth[item] for item in item_ids.to_pylist()]
    columns = [f"{modality} {name}" for modality in MODALITIES for name in ATTRIBUTES]
    print(table_line("features", columns))
    print(table_line("---", ["---:"] * len(columns)))
    chances = [chance([getattr(product, name) for product in products]) for name in ATTRIBUTES]
    print(table_line("chance", [f"{share:.2f}" for share in chances * len(MODALITIES)]))
    for name in names:
        features = read_features(Path("data/features/demo") / name, item_ids)
        print(table_line(name, [f"{share:.2f}" for share in accuracies(features, products)]))


def accuracies(features: Features, products: list[Product]) -> list[float]:
    """One per modality and attribute, in the order of the table's columns."""
    found = []
    for modality in MODALITIES:
        rows = np.flatnonzero(features.present[modality])
        vectors = features.matrices[modality][rows].astype(np.float64)
        for name in ATTRIBUTES:
            found.append(probe(vectors, [getattr(products[row], name) for row in rows]))
    return found


def probe(vectors: Matrix, values: list[str]) -> float:
    """Cross-validated accuracy of reading `values` off the rows of `vectors` [I, D]."""
    names = sorted(set(values))
    targets = np.array([[value == name for name in names] for value in values], dtype=np.float64)
    fold = np.random.default_rng(0).permutation(len(values)) % FOLDS
    hits = 0
    for held_out in range(FOLDS):
        known, asked = fold != held_out, fold == held_out
        guessed = ridge(vectors[known], targets[known], vectors[asked])
        hits += int((guessed.argmax(1) == targets[asked].argmax(1)).sum())
    return hits / len(values)


def ridge(vectors: Matrix, targets: Matrix, asked: Matrix) -> Matrix:
    """Predicted targets of the rows of `asked`."""
    mean, deviation = vectors.mean(0), vectors.std(0) + 1e-9
    columns, offset = (vectors - mean) / deviation, targets.mean(0)
    gram = columns.T @ columns + PENALTY * np.eye(columns.shape[1])
    weights = np.linalg.solve(gram, columns.T @ (targets - offset))
    predicted: Matrix = (asked - mean) / deviation @ weights + offset
    return predicted


def chance(values: list[str]) -> float:
    """Accuracy of always guessing the commonest."""
    return Counter(values).most_common(1)[0][1] / len(values)


def table_line(name: str, cells: list[str]) -> str:
    return f"| {' | '.join([name, *cells])} |"


if __name__ == "__main__":
    main()
