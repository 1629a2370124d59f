"""Fixed vectors of every tiny encoder: do cached features still tell what the code computes?

`python -m tests.encoders.encoder_drift FAMILY ...` writes tests/golden/<family>_tiny.json anew.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch

from tests.encoders.encoder_contract import tiny, toy_pictures

GOLDEN = Path(__file__).parents[1] / "golden"
TEXT = "A chequered RED lamp, with caf\u00e9 lights &amp; more!"


def golden_file(family: str) -> Path:
    return GOLDEN / f"{family}_tiny.json"


def drift_vectors(family: str) -> dict[str, list[float]]:
    """What the family's tiny encoder says of a fixed picture and sentence.

    Its weights are drawn by a fixed rule of NumPy's, so that they hang on no initialisation.
    """
    encoder = tiny(family)
    rng = np.random.default_rng(20240131)
    with torch.no_grad():
        for _, parameter in sorted(encoder.named_parameters()):
            drawn = rng.standard_normal(parameter.shape, dtype=np.float32)
            parameter.copy_(torch.from_numpy(np.asarray(drawn)) * 0.1)
        pixels = encoder.image_transform(toy_pictures()[5])[None]
        tokens = encoder.tokenizer([TEXT])
        vectors = {"image": encoder.encode_images(pixels), "text": encoder.encode_texts(tokens)}
        if encoder.fused_dim is not None:
            vectors["fused"] = encoder.encode_pairs(pixels, tokens)
    return {name: vector[0].tolist() for name, vector in vectors.items()}


if __name__ == "__main__":
    for named in sys.argv[1:]:
        golden_file(named).write_text(json.dumps(drift_vectors(named)) + "\n")
