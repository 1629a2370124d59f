"""Recommenders by name. The table is literal and the imports lazy: looking a name up costs nothing.

Adding one: a file here, a line in the table, a section of the same name in params.yaml. The
contract tests find it by themselves.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from lmm4rec.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from lmm4rec.recommenders.shared.base import Recommender

# Models that read features: run once per features folder (run.recommenders in params.yaml).
CONTENT = {
    "bm3": "bm3:BM3",
    "freedom": "freedom:FREEDOM",
    "itemknn": "itemknn:ItemKNN",
    "lattice": "lattice:LATTICE",
    "lgmrec": "lgmrec:LGMRec",
    "mgcn": "mgcn:MGCN",
    "mmgcl": "mmgcl:MMGCL",
    "mmgcn": "mmgcn:MMGCN",
    "slmrec": "slmrec:SLMRec",
    "ugt": "ugt:UGT",
    "vbpr": "vbpr:VBPR",
}
# Those of them without weights, which no gradient trains.
UNTRAINED = frozenset({"itemknn"})
# Models that use ids only: run once per dataset (run.id_recommenders).
IDS = {
    "bpr": "bpr:BPR",
    "lightgcn": "lightgcn:LightGCN",
}
RECOMMENDERS = CONTENT | IDS


def recommender_class(name: str) -> type[Recommender]:
    """The class registered under `name`; its file is imported only now."""
    if name not in RECOMMENDERS:
        raise InputError(
            f"run.recommenders: {name!r} is not a recommender; {did_you_mean(name, RECOMMENDERS)}"
        )
    module, class_name = RECOMMENDERS[name].split(":")
    found: type[Recommender] = getattr(import_module(f"{__name__}.{module}"), class_name)
    return found
