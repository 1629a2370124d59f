"""Three-branch light convolution with a shared user table, as SLMRec, MMGCL and UGT use it.

Branch b is the id branch (X = E_i, learned) or a modality's (X = F_m W_m + c_m):
[U^b; I^b] = LGC([E_u; X_b]; A, L), the mean of layers 0 .. L, A symmetric-normalised.

How a step computes the rows of its batch. The map is linear, so:
- E_u, which all branches share, is convolved once, from the users' side;
- a modality's part is LGC([0; F_m W_m + c_m]) = P_m W_m + r c_m with P_m = LGC([0; F_m]) and
  r = LGC([0; 1]) constant. Where the P_m fit (`propagated_features_fit`) they are made once, and a
  step projects the batch's rows of P_m: no sparse product of content, no projection of the
  catalogue. Otherwise, and on a graph that changes (`rows_on`), a step projects all items and
  convolves the projections of all branches as one table.
Both are the same numbers to float rounding.

Shapes: U users, I items, C content dims of a modality, d dims, b branches, R rows.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lmm4rec.catalogue.corpus import TrainingView
from lmm4rec.graphs.bipartite import one_sided_convolution, one_sided_convolution_rows
from lmm4rec.graphs.sparse import SparseMatrix
from lmm4rec.graphs.user_item import interaction_matrix, normalised_interactions
from lmm4rec.recommenders.shared.batches import take
from lmm4rec.recommenders.shared.content import Content, projections

# P_m cost (U + I) x content dims: 0.97 GB for Sports with 4,480 dims, 1.6 GB for Electronics with
# 1,536. Beyond this limit a step is two to four times slower and needs the features alone.
PROPAGATED_BYTES = 2 << 30
_COLUMNS = 256  # of the features, propagated at once
_REACH = "reach"  # r: what a column of ones becomes


class SharedUserBranches(nn.Module):
    """The tables, projections and graph of the branches; order of branches: id, then `names`."""

    def __init__(
        self,
        view: TrainingView,
        content: Content,
        dims: int,
        n_layers: int,
        *,
        propagate_features: bool,
    ) -> None:
        super().__init__()
        self.content, self.names, self.n_layers = content, content.names, n_layers
        self.interactions = interaction_matrix(view.train, view.n_users, view.n_items)
        self.graph = SparseMatrix(normalised_interactions(self.interactions))  # [U, I]
        self.users = nn.Parameter(nn.init.xavier_uniform_(torch.empty(view.n_users, dims)))
        self.items = nn.Parameter(nn.init.xavier_uniform_(torch.empty(view.n_items, dims)))
        self.projections = projections(content, dims)
        self.propagated = propagate_features
        if propagate_features:
            sources = {**content.tables(), _REACH: torch.ones(view.n_items, 1)}
            for name, source in sources.items():
                for side, rows in zip(("items", "users"), self._propagate(source), strict=True):
                    self.register_buffer(_buffer(name, side), rows, persistent=False)

    def content_changed(self) -> None:
        """Content that changes from step to step leaves nothing to propagate beforehand."""
        if self.propagated:
            self.propagated = False
            for name in (*self.names, _REACH):
                for side in ("items", "users"):
                    delattr(self, _buffer(name, side))

    @property
    def width(self) -> int:
        """Of the branches side by side: b x d."""
        return self.users.shape[1] * (1 + len(self.names))

    def rows(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Branches side by side of distinct users and items: ([R_u, b d], [R_i, b d])."""
        if not self.propagated:
            return self.rows_on(self.graph, self.inputs(), users, items)
        own, other = one_sided_convolution_rows(self.graph, self.items, self.n_layers, items, users)
        user_parts = [other, *self._content("users", users)]
        item_parts = [own, *self._content("items", items)]
        return self._joined(self.graph, user_parts, item_parts, users, items)

    def rows_on(
        self, graph: SparseMatrix, inputs: Tensor, users: Tensor, items: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The same for some branches' `inputs` [I, b d] on another normalised graph [U, I]."""
        own, other = one_sided_convolution_rows(graph, inputs, self.n_layers, items, users)
        dims = self.users.shape[1]
        return self._joined(
            graph, torch.split(other, dims, dim=1), torch.split(own, dims, dim=1), users, items
        )

    def inputs(self) -> Tensor:
        """What the branches start from on the items' side, side by side: [I, b d]."""
        return torch.cat([self.items, *(self.projected(name) for name in self.names)], dim=1)

    def projected(self, name: str, items: Tensor | None = None) -> Tensor:
        """A modality's features, projected: of all items [I, d] or of some [R, d]."""
        chosen = self.content.table(name) if items is None else self.content.rows(name, items)
        projected: Tensor = self.projections[name](chosen)
        return projected

    @torch.no_grad()
    def all(self) -> tuple[Tensor, Tensor]:
        """Branches side by side of every node: ([U, b d], [I, b d])."""
        own, other = one_sided_convolution(self.graph, self.inputs(), self.n_layers)
        users, items = one_sided_convolution(self.graph.T, self.users.detach(), self.n_layers)
        n_branches = 1 + len(self.names)
        return other.add_(users.repeat(1, n_branches)), own.add_(items.repeat(1, n_branches))

    def _joined(
        self,
        graph: SparseMatrix,
        user_parts: Iterable[Tensor],
        item_parts: Iterable[Tensor],
        users: Tensor,
        items: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Add to every branch what comes from the users' table."""
        own, other = one_sided_convolution_rows(graph.T, self.users, self.n_layers, users, items)
        return (
            torch.cat([part + own for part in user_parts], dim=1),
            torch.cat([part + other for part in item_parts], dim=1),
        )

    def _content(self, side: str, rows: Tensor) -> list[Tensor]:
        """Of each modality: P_m W_m + r c_m, [R, d]."""
        reach = take(self.get_buffer(_buffer(_REACH, side)), rows)  # [R, 1]
        parts = []
        for name in self.names:
            weight, bias = (self.projections[name].get_parameter(p) for p in ("weight", "bias"))
            propagated = take(self.get_buffer(_buffer(name, side)), rows)
            parts.append(propagated @ weight.T + reach * bias)
        return parts

    def _propagate(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """LGC([0; F]) on the items' and on the users' side, some columns at a time."""
        n_users, n_items = self.graph.shape
        own = torch.empty(n_items, features.shape[1])
        other = torch.empty(n_users, features.shape[1])
        for start in range(0, features.shape[1], _COLUMNS):
            block = slice(start, start + _COLUMNS)
            own[:, block], other[:, block] = one_sided_convolution(
                self.graph, features[:, block], self.n_layers
            )
        return own, other


def _buffer(name: str, side: str) -> str:
    return f"propagated_{name}_{side}"


def propagated_features_fit(view: TrainingView, content: Content) -> bool:
    """Whether the features of all nodes, propagated, stay under `PROPAGATED_BYTES`."""
    columns = sum(content.width(name) for name in content.names)
    return 4 * columns * (view.n_users + view.n_items) <= PROPAGATED_BYTES
