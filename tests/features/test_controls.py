"""Controls keep everything about features but their meaning."""

from __future__ import annotations

import numpy as np

from lmm4rec.features.controls import noise, shuffled
from lmm4rec.features.features import Features
from tests.toy import kind_features


def with_gaps() -> Features:
    features = kind_features()
    matrices = {name: matrix.copy() for name, matrix in features.matrices.items()}
    present = {name: flags.copy() for name, flags in features.present.items()}
    matrices["image"][4] = 0.0
    present["image"][4] = False
    return Features(features.item_ids, matrices, present)


def test_noise_keeps_norms_and_gaps_and_nothing_else() -> None:
    reference = with_gaps()
    control = noise(reference, seed=1)
    for name, matrix in reference.matrices.items():
        norms = np.linalg.norm(matrix, axis=1)
        np.testing.assert_allclose(np.linalg.norm(control.matrices[name], axis=1), norms, rtol=1e-5)
        np.testing.assert_array_equal(control.present[name], reference.present[name])
        kind = np.arange(len(matrix)) % 2 == 0
        centre_gap = np.linalg.norm(matrix[kind].mean(0) - matrix[~kind].mean(0))
        noise_gap = np.linalg.norm(
            control.matrices[name][kind].mean(0) - control.matrices[name][~kind].mean(0)
        )
        assert noise_gap < 0.5 * centre_gap
    assert not np.allclose(control.matrices["image"], control.matrices["text"])


def test_shuffled_deals_the_same_rows_to_other_items() -> None:
    reference = with_gaps()
    control = shuffled(reference, seed=1)
    assert control.item_ids.equals(reference.item_ids)
    rows = {row.tobytes(): place for place, row in enumerate(reference.matrices["image"])}
    dealt = [rows[row.tobytes()] for row in control.matrices["image"]]
    assert sorted(dealt) == list(range(len(dealt))) and dealt != sorted(dealt)
    text = [
        np.flatnonzero((reference.matrices["text"] == row).all(axis=1))[0]
        for row in control.matrices["text"]
    ]
    assert text == dealt  # an item's picture and text stay together
    assert dealt[int(np.flatnonzero(~control.present["image"])[0])] == 4


def test_seeds_decide() -> None:
    reference = with_gaps()
    for make in (noise, shuffled):
        first, again, other = (make(reference, seed).matrices["text"] for seed in (1, 1, 2))
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)
