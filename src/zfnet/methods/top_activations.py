"""The strongest activations of every channel of every asked layer, in one pass over a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zfnet.errors import UserError
from zfnet.methods._forward import (
    Layer,
    UnsupportedModel,
    check_images,
    layer_path,
    listening,
    run_until_heard,
    undisturbed,
)

L = TypeVar("L", bound=Layer)


@dataclass(frozen=True)
class TopActivations:
    """The k strongest images of each of C channels, strongest first; ties by lower image index.

    Where directions were asked for, too, each of them is one more row behind the channels.

    values: float (C, k); images: int64 (C, k), the indices that came with the images;
    places: int64 (C, k, 2), row and column of the map's maximum (the first where tied).
    k is smaller than asked only while fewer images have been seen.
    """

    values: Tensor
    images: Tensor
    places: Tensor

    def merge(self, other: TopActivations, k: int | None = None) -> TopActivations:
        """The k strongest of both (default: the larger of the two k); the order does not matter."""
        k = k or max(self.values.shape[1], other.values.shape[1])
        both = self._each(lambda *parts: torch.cat(parts, dim=1), other)
        order = _ranking(both.values, both.images)[:, :k]
        return TopActivations(
            both.values.gather(1, order),
            both.images.gather(1, order),
            both.places.gather(1, order[..., None].expand(-1, -1, 2)),
        )

    def rows(self, chosen: slice | Tensor) -> TopActivations:
        """The same of the chosen rows alone: `top.rows(slice(channels, None))`, the directions."""
        return self._each(lambda part: part[chosen])

    def _each(self, change: Callable[..., Tensor], *others: TopActivations) -> TopActivations:
        """`change` of the values, images and places, with those of `others` behind them."""
        tops = (self, *others)
        return TopActivations(
            change(*(top.values for top in tops)),
            change(*(top.images for top in tops)),
            change(*(top.places for top in tops)),
        )

    def purity(self, labels: Tensor) -> Tensor:
        """Share of each row's images that belong to its commonest class: (C,) float64, 0..1.

        labels: int64, the class of every image by its index.
        """
        classes = labels.to(self.images.device)[self.images]  # (C, k)
        same = (classes[:, :, None] == classes[:, None, :]).sum(dim=2)
        return same.amax(dim=1).double() / classes.shape[1]


def _ranking(values: Tensor, images: Tensor) -> Tensor:
    """Order (C, m) of candidates by falling value, then rising image index."""
    by_image = images.argsort(dim=1, stable=True)
    by_value = values.gather(1, by_image).argsort(dim=1, descending=True, stable=True)
    return by_image.gather(1, by_value)


@torch.no_grad()
def top_activations(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    layers: Sequence[L],
    k: int = 9,
    *,
    directions: Mapping[L, Tensor] | None = None,
) -> dict[L, TopActivations]:
    """The k images that excite each channel of each layer most (Zeiler & Fergus 2014, Fig. 2).

    batches: yields (net input (n, C, H, W), indices (n,) int64 of these images).
    layers: module paths, or the paper's numbers where the model defines them: the result's keys.
    directions: for a layer, vectors (D, C) in the space of its channels (Szegedy et al. 2014,
    section 3.1). The layer's result then has C + D rows: its channels, then its directions in their
    order. An image's score is the maximum of its map, along a direction that of its map of
    projections onto the vector.

    One pass, memory independent of the number of images, nothing behind the last layer computed.
    Results of parts of a data set join by `merge`. Results are on the CPU.
    Raises `UserError` for unknown layers, directions that do not fit theirs, no images, or
    activations that are not numbers.
    """
    if not layers:
        raise UserError("top_activations needs at least one layer")
    paths = {layer: layer_path(model, layer) for layer in layers}
    vectors = {layer_path(model, layer): rows for layer, rows in (directions or {}).items()}
    if stray := [path for path in vectors if path not in paths.values()]:
        raise UserError(f"directions are given for {stray[0]!r}, which is not among the layers")
    if k < 1:
        raise UserError(f"k must be at least 1, got {k}")
    best: dict[str, TopActivations] = {}
    along: dict[str, TopActivations] = {}
    indices = torch.empty(0, dtype=torch.int64)

    def take(layer: str, output: Tensor) -> None:
        if output.ndim not in (2, 4):
            raise UnsupportedModel(
                f"layer {layer!r} gives a tensor of shape {tuple(output.shape)}; "
                "only maps (N, C, H, W) and vectors (N, C) have channels to rank"
            )
        maps = output if output.ndim == 4 else output[:, :, None, None]
        now = indices.to(maps.device)
        best[layer] = _update(best.get(layer), maps, now, k, layer)
        if layer in vectors:
            mixed = _projected(maps, vectors[layer], layer)
            along[layer] = _update(along.get(layer), mixed, now, k, layer)

    listened = list(dict.fromkeys(paths.values()))
    with undisturbed(model), listening(model, listened, take):
        for images, batch_indices in batches:
            check_images(images)
            indices = torch.as_tensor(batch_indices)
            if indices.shape != images.shape[:1]:
                raise UserError(
                    f"{images.shape[0]} images came with {tuple(indices.shape)} indices"
                )
            run_until_heard(model, images, listened)
    if not best:
        raise UserError("top_activations was given no images")
    for path, top in along.items():
        best[path] = best[path]._each(lambda *parts: torch.cat(parts), top)
    found = {path: top._each(Tensor.cpu) for path, top in best.items()}
    return {layer: found[path] for layer, path in paths.items()}


def _projected(maps: Tensor, vectors: Tensor, layer: str) -> Tensor:
    """Maps (n, D, H, W) of the projections of maps (n, C, H, W) onto vectors (D, C)."""
    if vectors.ndim != 2 or vectors.shape[1] != maps.shape[1]:
        raise UserError(
            f"directions of layer {layer!r} must be (D, {maps.shape[1]}), one value a channel; got "
            f"{tuple(vectors.shape)}"
        )
    # With the channels last this is one product of matrices, and nothing is copied.
    return F.linear(maps.permute(0, 2, 3, 1), vectors.to(maps)).permute(0, 3, 1, 2)


def _update(
    best: TopActivations | None, maps: Tensor, indices: Tensor, k: int, layer: str
) -> TopActivations:
    """Merge the maps (n, C, H, W) of one batch into the k best so far."""
    scores, peaks = _scores(maps)  # (C, n), (C, n) or None
    if scores.isnan().any():
        bad = indices[scores.isnan().any(dim=0)][:5].tolist()
        raise UserError(f"layer {layer!r} gives values that are no numbers, first in images {bad}")
    full = best is not None and best.values.shape[1] == k
    channels = torch.arange(len(scores), device=maps.device)
    if best is not None and full:
        # Late in a data set few maps are beaten: only their lists are sorted anew.
        channels = channels[(scores >= best.values[:, -1:]).any(dim=1)]
    images = indices.expand(len(channels), -1)
    order = _ranking(scores[channels], images)[:, :k]  # positions in the batch
    chosen = scores[channels].gather(1, order)
    if peaks is not None:
        flat = peaks[channels].gather(1, order)
    else:
        enters = chosen >= best.values[channels, -1:] if best is not None and full else None
        flat = _look_up(maps, channels, order, enters)
    width = maps.shape[3]
    places = torch.stack([flat // width, flat % width], dim=2)
    new = TopActivations(chosen, images.gather(1, order), places)
    if best is None or not full:
        return new if best is None else best.merge(new, k)
    part = best.rows(channels).merge(new, k)
    return best._each(lambda old, changed: old.index_copy(0, channels, changed), part)


def _scores(maps: Tensor) -> tuple[Tensor, Tensor | None]:
    """Score (C, n) of every map, and the flat place (C, n) of its maximum where that is free.

    On a CPU a pool of one place finds value and place together, faster than `amax` the value alone;
    on a GPU such a pool runs one thread a map, so that places are looked up for the winners only.
    """
    if maps.device.type != "cpu":
        return maps.amax(dim=(2, 3)).t().contiguous(), None
    peak, place = F.adaptive_max_pool2d(maps, 1, return_indices=True)
    return peak.flatten(1).t().contiguous(), place.flatten(1).t()


def _look_up(maps: Tensor, channels: Tensor, order: Tensor, enters: Tensor | None) -> Tensor:
    """Flat places (c, k) of the maxima of maps[order, channels], where `enters` (default: all)."""
    flat = torch.zeros_like(order)
    wanted = torch.ones_like(order, dtype=torch.bool) if enters is None else enters
    row, rank = wanted.nonzero(as_tuple=True)
    for part in torch.arange(row.numel(), device=maps.device).split(4096):
        r, k = row[part], rank[part]
        flat[r, k] = maps[order[r, k], channels[r]].flatten(1).argmax(dim=1)
    return flat
