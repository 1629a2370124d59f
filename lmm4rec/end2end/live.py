"""Items of a step through the encoder, with gradient and within a bound of memory.

Gradient caching (Gao et al. 2021, "Scaling deep contrastive learning batch size under memory
limited setup"): items that do not fit at once are encoded without graph first; the loss gives the
gradient of each embedding; then they are encoded again, in the same micro-batches but with graph,
and each micro-batch takes the gradients of its rows back into the encoder. The sum is the gradient
of the whole step. It costs one more forward pass and holds one micro-batch's activations.

Of several processes each encodes its part of a step's items, and all of them receive every row.

The encoder runs in eval mode throughout, without dropout and with fixed batch norms: live rows and
banked rows come from one function, and both passes of an item agree.

Shapes: N items of the catalogue, B items of a micro-batch, R rows of a modality, D its dims.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from lmm4rec.distributed import gather, own_part, ranks
from lmm4rec.encoders.base import Encoder
from lmm4rec.encoders.item_batches import Embeddings, ItemBatches, Rows, chunks, embedded
from lmm4rec.encoders.picture_texts import Batch
from lmm4rec.features.features import Features


class MicroBatch(NamedTuple):
    items: Tensor  # [B] item rows, ascending
    batch: Batch


class Live(NamedTuple):
    """Embeddings of a step by modality, and the item row of each, ascending."""

    rows: dict[str, Tensor]  # [R]
    embeddings: dict[str, Tensor]  # [R, D]

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Image and text embeddings of the items that have both."""
        image, text = self.rows["image"], self.rows["text"]
        both = torch.isin(image, text), torch.isin(text, image)
        return self.embeddings["image"][both[0]], self.embeddings["text"][both[1]]

    def of_all(self) -> Live:
        """Together with what the other processes encoded, in their order; gradients come back."""
        if ranks() > 1:
            for embedding in self.embeddings.values():
                if not embedding.requires_grad:  # who encoded nothing takes part all the same
                    embedding.requires_grad_()
        return Live(
            {name: gather(rows) for name, rows in self.rows.items()},
            {name: gather(embedding) for name, embedding in self.embeddings.items()},
        )


class LiveEncoder:
    """Some modalities of an encoder, in micro-batches of at most `micro_batch` items."""

    def __init__(
        self,
        encoder: Encoder,
        modalities: Sequence[str],
        precision: str,
        micro_batch: int,
        device: torch.device,
    ) -> None:
        self.encoder, self.modalities, self._device = encoder, tuple(modalities), device
        self._is_half, self._micro_batch = precision == "bfloat16", micro_batch
        widths = {
            "image": encoder.image_dim, "text": encoder.text_dim, "fused": encoder.fused_dim
        }  # fmt: skip
        self._widths = {name: widths[name] or 0 for name in self.modalities}

    def served(self, items: ItemBatches, steps: Iterable[Rows]) -> Iterator[list[MicroBatch]]:
        """This process's micro-batches of each step's distinct items, decoded some ahead."""
        plan = [
            [rows[start:stop] for start, stop in self._parts(rows)] for rows in map(own_part, steps)
        ]
        batches = items.batches(rows for parts in plan for rows in parts)
        for parts in plan:
            served = islice(batches, len(parts))
            yield [MicroBatch(torch.from_numpy(r), b) for r, b in zip(parts, served, strict=True)]

    def encode(self, parts: list[MicroBatch]) -> Live:
        """Embeddings that are part of the graph, or leaves of it where `send_back` is to follow."""
        is_cached = len(parts) > 1
        with torch.set_grad_enabled(not is_cached):
            found = [self._embedded(part.batch) for part in parts]
        live = self._joined(found, [part.items for part in parts])
        if is_cached:
            for embedding in live.embeddings.values():
                embedding.requires_grad_()
        return live

    def send_back(self, parts: list[MicroBatch], live: Live) -> None:
        """After the loss's `backward`: take the embeddings' gradients into the encoder."""
        if len(parts) <= 1:
            return  # the graph reached that far
        gradients = {name: leaf.grad for name, leaf in live.embeddings.items()}
        begun = dict.fromkeys(gradients, 0)
        for part in parts:
            if all(gradient is None for gradient in gradients.values()):
                return  # a loss that does not read what was encoded
            outputs, arriving = [], []
            for name, (rows, embedding) in self._embedded(part.batch).items():
                start, begun[name] = begun[name], begun[name] + len(rows)
                gradient = gradients[name]
                if gradient is not None and embedding.requires_grad:
                    outputs.append(embedding)
                    arriving.append(gradient[start : begun[name]])
            torch.autograd.backward(outputs, arriving)

    @torch.no_grad()
    def all(self, items: ItemBatches, item_ids: pa.Array) -> Features:
        """Every item's embeddings, [N, D] a modality; zeros and a flag where it has none."""
        every = np.arange(len(items))
        own = own_part(every)
        parts = [own[start:stop] for start, stop in self._parts(own)]
        found = [self._embedded(batch) for batch in items.batches(parts)]
        live = self._joined(found, [torch.from_numpy(part) for part in parts]).of_all()
        matrices, present = {}, {}
        for name, rows in live.rows.items():
            whole = live.embeddings[name].new_zeros(len(items), self._widths[name])
            matrices[name] = whole.index_copy_(0, rows, live.embeddings[name]).cpu().numpy()
            present[name] = np.isin(every, rows.cpu().numpy())
        return Features(item_ids, matrices, present)

    def _parts(self, rows: Rows) -> list[tuple[int, int]]:
        """As few as the bound allows, and of the same size."""
        n_parts = max(1, -(-len(rows) // self._micro_batch))
        return chunks(len(rows), max(1, -(-len(rows) // n_parts)))

    def _embedded(self, batch: Batch) -> Embeddings:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._is_half):
            found = embedded(self.encoder, batch.to(self._device), self.modalities)
        return {  # half precision ends at the encoder's output
            name: (rows, vectors.to(torch.promote_types(vectors.dtype, torch.float32)))
            for name, (rows, vectors) in found.items()
        }

    def _joined(self, found: list[Embeddings], items: list[Tensor]) -> Live:
        """Of micro-batches with these items; a modality that no item has is empty, not absent."""
        rows, embeddings = {}, {}
        for name, width in self._widths.items():
            has_it = [
                (one[name], own) for one, own in zip(found, items, strict=True) if name in one
            ]
            if has_it:
                rows[name] = torch.cat([own[at] for (at, _), own in has_it]).to(self._device)
                embeddings[name] = torch.cat([vectors for (_, vectors), _ in has_it])
            else:
                rows[name] = torch.empty(0, dtype=torch.int64, device=self._device)
                embeddings[name] = torch.empty(0, width, device=self._device)
        return Live(rows, embeddings)
