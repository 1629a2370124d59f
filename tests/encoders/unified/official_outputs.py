"""The files of official outputs, and what a model does not give of them."""

from pathlib import Path

from tests import parity

GOLDEN = Path(__file__).parents[2] / "golden"

FILES = ("beit3_dev", "vlmo_dev", "vlmo_relpos_dev")


def failures(model, golden):
    return {
        difference.name
        for difference in parity.differences(parity.answers(model, golden), golden)
        if not difference.within
    }
