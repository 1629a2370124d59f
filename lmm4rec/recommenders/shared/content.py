"""What recommenders read of the items: a table per modality, filled, scaled and replaceable.

In ordinary training the tables are the features folder's, made once. In end-to-end training they
are a memory bank of an encoder's embeddings: `refresh` takes it anew, and for one step `live` puts
rows into it that carry their gradient. Every modality passes through the same filling and scaling
in both, so that a model need not know which it is.

Shapes: I items, C columns of a table, R rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from lmm4rec.errors import InputError
from lmm4rec.features.features import Features, MissingPolicy
from lmm4rec.params import Distinct, Section
from lmm4rec.recommenders.shared.batches import take

Modality = Literal["image", "text", "fused"]
Scaling = Literal["none", "unit", "standard"]
JOINED = "joined"  # the name of the one table of a content whose modalities stand side by side


class ContentConfig(Section):
    """What the section of every recommender that reads features holds."""

    modalities: Annotated[list[Modality], Distinct] = Field(
        min_length=1
    )  # which matrices of the features folder
    missing: MissingPolicy  # what stands in for an item without picture or text
    scaling: Scaling  # none: as extracted; unit: rows of norm 1; standard: columns of variance 1


class Content(nn.Module):
    """Tables [I, C] by name, in the order of the config's `modalities`, or all of them joined.

    `joined_in` names the order in which modalities stand side by side in the table `JOINED`. With
    `trained` the tables are copies that training changes (dense Adam on one moves about seven times
    its size through memory in each step that has its gradient). Memory: the features once.
    """

    def __init__(
        self,
        features: Features | None,
        config: ContentConfig,
        *,
        joined_in: Sequence[Modality] | None = None,
        trained: bool = False,
    ) -> None:
        super().__init__()
        if features is None:
            raise InputError(
                "this recommender reads features but was given none; list it under "
                "run.recommenders, not run.id_recommenders, in params.yaml"
            )
        self._config = config
        self.modalities: tuple[Modality, ...] = tuple(dict.fromkeys(config.modalities))
        self._parts: dict[str, tuple[Modality, ...]] = (
            {name: (name,) for name in self.modalities}
            if joined_in is None
            else {JOINED: tuple(name for name in joined_in if name in self.modalities)}
        )
        self._live: dict[str, Tensor] = {}
        self._bank: dict[str, tuple[Tensor, Tensor]] = {}  # embeddings [I, C] and who has one [I]
        for name in self._parts:
            table = self._table_of(name, features)
            if trained:
                self.register_parameter(name, nn.Parameter(table))
            else:
                self.register_buffer(name, table, persistent=False)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._parts)

    def width(self, name: str) -> int:
        return self.table(name).shape[1]

    def table(self, name: str) -> Tensor:
        """All items: [I, C]."""
        live = self._live.get(name)
        found: Tensor = getattr(self, name) if live is None else live
        return found

    def tables(self) -> dict[str, Tensor]:
        return {name: self.table(name) for name in self._parts}

    def rows(self, name: str, rows: Tensor) -> Tensor:
        """Some items: [R] -> [R, C]."""
        return take(self.table(name), rows)

    def refresh(self, features: Features) -> None:
        """Replace every row of every table; the model is then to be told (`content_changed`)."""
        for name in self._parts:
            old = self.get_buffer(name)
            setattr(self, name, self._table_of(name, features).to(old))
        for modality in self.modalities:
            matrix = torch.from_numpy(np.array(features.matrices[modality])).to(old)
            present = torch.from_numpy(np.array(features.present[modality])).to(old.device)
            self._bank[modality] = matrix, present

    @contextmanager
    def live(self, rows: Mapping[str, Tensor], embeddings: Mapping[str, Tensor]) -> Iterator[None]:
        """Inside, these distinct rows [R] of each modality are `embeddings` [R, C], with gradient.

        The others are the bank's of the last `refresh`, without. Where an item's modality is
        missing, or columns are standardised, the gradient flows through the mean and variance too.
        """
        spliced = {
            name: self._spliced(name, rows[name], embeddings[name]) for name in self.modalities
        }
        self._live = {name: _joined([spliced[m] for m in self._parts[name]]) for name in self.names}
        try:
            yield
        finally:
            self._live = {}

    def _spliced(self, modality: str, rows: Tensor, embeddings: Tensor) -> Tensor:
        """A modality's whole table [I, C] with some rows replaced."""
        bank, present = self._bank[modality]
        whole = bank.index_copy(0, rows, embeddings.to(bank.dtype))
        return _scaled(_filled(whole, present[:, None], self._config.missing), self._config.scaling)

    def _table_of(self, name: str, features: Features) -> Tensor:
        matrices = (features.matrix(part, self._config.missing) for part in self._parts[name])
        tensors = (torch.from_numpy(np.array(matrix)) for matrix in matrices)
        return _joined([_scaled(tensor, self._config.scaling) for tensor in tensors])


def _filled(matrix: Tensor, present: Tensor, missing: MissingPolicy) -> Tensor:
    """`Features.matrix` with a gradient: [I, C] and [I, 1]."""
    if missing == "zero":
        return torch.where(present, matrix, 0.0)
    mean = torch.where(present, matrix, 0.0).sum(dim=0) / present.sum().clamp(min=1)
    return torch.where(present, matrix, mean)


def _scaled(matrix: Tensor, scaling: Scaling) -> Tensor:
    if scaling == "unit":
        return F.normalize(matrix, dim=1)
    if scaling == "standard":
        spread = matrix.std(dim=0, unbiased=False)
        return (matrix - matrix.mean(dim=0)) / torch.where(spread > 0, spread, 1.0)
    return matrix


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def projections(content: Content, dims: int) -> nn.ModuleDict:
    """A linear map of each table to `dims`, with torch's default initial weights."""
    return nn.ModuleDict({name: nn.Linear(content.width(name), dims) for name in content.names})
