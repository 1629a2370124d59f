"""One modality's features, frozen or trained, with the linear map to a recommender's dimensions.

Shapes: I items, C content dims, D dims, R rows.
"""

from __future__ import annotations

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
