"""One modality's features, frozen or trained, with the linear map to a recommender's dimensions.

Shapes: I items, C content dims, D dims, R rows.
"""

from __future__ import annotations

from collections.abc import ItemsView, ValuesView
from typing import TYPE_CHECKING

from torch import Tensor, nn


class ContentProjection(nn.Module):
    """F W + b of all items or of some.

    With `train_features` the features are a copy that training changes (dense Adam on it moves
    about seven times its size through memory in each step that has its gradient); without, they
    stay as extracted.
    """

    features: Tensor  # [I, C]

    def __init__(self, features: Tensor, dims: int, *, train_features: bool) -> None:
        super().__init__()
        if train_features:
            self.features = nn.Parameter(features.clone())
        else:
            self.register_buffer("features", features)
        self.linear = nn.Linear(features.shape[1], dims)

    def forward(self) -> Tensor:
        """All items: [I, D]."""
        projected: Tensor = self.linear(self.features)
        return projected

    def rows(self, rows: Tensor) -> Tensor:
        """Some items: [R] -> [R, D]; index_select copies whole rows, faster than plain indexing."""
        projected: Tensor = self.linear(self.features.index_select(0, rows))
        return projected


class ContentProjections(nn.ModuleDict):
    """One projection per modality, in the order of `parts`; torch's default initial weights."""

    def __init__(self, parts: dict[str, Tensor], dims: int, *, train_features: bool) -> None:
        super().__init__(
            {
                name: ContentProjection(part, dims, train_features=train_features)
                for name, part in parts.items()
            }
        )

    if TYPE_CHECKING:  # a ModuleDict's values are Modules to a type checker

        def __getitem__(self, name: str) -> ContentProjection: ...
        def items(self) -> ItemsView[str, ContentProjection]: ...
        def values(self) -> ValuesView[ContentProjection]: ...
