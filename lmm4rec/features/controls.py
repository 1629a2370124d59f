"""Control features: without them a comparison of encoders says nothing.

A recommender that does as well on noise as on an encoder's features learned nothing from content;
one that does as well on shuffled features used them as ids.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lmm4rec.features.features import Features, Matrix
from lmm4rec.params import Section, Seed


class ControlConfig(Section):
    seed: Seed  # of the noise, or of the permutation


def noise(reference: Features, seed: int) -> Features:
    """Gaussian directions with the shapes, the row norms and the missing rows of `reference`."""
    matrices = {
        name: _noise_like(matrix, np.random.default_rng([seed, place]))
        for place, (name, matrix) in enumerate(sorted(reference.matrices.items()))
    }
    return Features(reference.item_ids, matrices, reference.present)


def shuffled(reference: Features, seed: int) -> Features:
    """The rows of `reference` dealt to other items at random; flags move with their rows."""
    order = np.random.default_rng(seed).permutation(len(reference.item_ids))
    return Features(
        reference.item_ids,
        {name: matrix[order] for name, matrix in reference.matrices.items()},
        {name: present[order] for name, present in reference.present.items()},
    )


CONTROLS: dict[str, Callable[[Features, int], Features]] = {"noise": noise, "shuffled": shuffled}


def _noise_like(matrix: Matrix, rng: np.random.Generator) -> Matrix:
    directions = rng.standard_normal(matrix.shape, dtype=np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions * np.linalg.norm(matrix, axis=1, keepdims=True)
