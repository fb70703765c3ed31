"""What several studies need: prepared images as a net wants them, and the one top-k pass."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from zfnet.data import datasets
from zfnet.data.prefetch import prefetch
from zfnet.data.store import Prepared
from zfnet.data.views import View
from zfnet.errors import UserError
from zfnet.machine import pick_device
from zfnet.methods.gradients import deconvnet
from zfnet.methods.receptive_field import ReceptiveField, receptive_field
from zfnet.methods.top_activations import TopActivations, top_activations
from zfnet.models.checkpoint import first_model, load_net
from zfnet.models.net import Net
from zfnet.progress import progress
from zfnet.stats.estimate import Estimate

T = TypeVar("T")
BATCH = 64  # images in one forward pass; halved where the GPU's memory does not suffice
SURE = 0.5  # probability of the true class from which a correct answer is sure
FIELD_LIMIT = 0.75  # of the input's side: patches of larger fields are nearly whole images


def to_device(net: Net, device: torch.device) -> Net:
    """Move a net to `device`, in evaluation mode and channels-last. Returns the same net."""
    net.to(device)
    net.model.to(memory_format=torch.channels_last)
    net.model.eval()
    return net


def untrained(net: Net, seed: int) -> Net:
    """The same net with the weights that its training began with, beside it on its device.

    See `first_model`. Raises UserError for a model that cannot be built anew.
    """
    if "kind" not in net.rebuild:
        raise UserError(
            f"{net.name} ({net.arch}) cannot be built anew, which the untrained control needs"
        )
    device = next((each.device for each in net.model.parameters()), torch.device("cpu"))
    begun = replace(
        net,
        model=first_model(net, seed),
        normalise=copy.deepcopy(net.normalise),
        name=f"{net.name}, untrained",
    )
    return to_device(begun, device)


class Inputs:
    """One split of a prepared set as inputs of one net. Rows are rows of the split.

    `rows`: int64, all rows or a seeded random sample of `max_images`, ascending; with `share`
    (i, k) of the i-th of k parts into which the split is dealt. The net is moved to `device` (the
    CPU by default), in evaluation mode and channels-last.
    """

    def __init__(
        self,
        prepared: Prepared,
        split: str,
        net: Net,
        device: torch.device | None = None,
        *,
        max_images: int | None = None,
        seed: int = 0,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.device = device or torch.device("cpu")
        self.split_name = split
        self.split = prepared.split(split)
        self.net = to_device(net, self.device)
        self.view = View.of(prepared.size, net.input_px)
        self.labels = np.asarray(self.split.labels)
        self.class_names = [entry.name for entry in prepared.classes]
        self.rows = np.arange(len(self.split), dtype=np.int64)
        number, count = share
        dealt = np.random.default_rng([seed, 1]).permutation(self.rows)[number::count]
        self.rows = np.sort(dealt[:max_images])

    @classmethod
    def of_stage(
        cls,
        cfg: Any,
        paths: Any,
        split: str,
        *,
        max_images: int | None = None,
        dealt: bool = False,
    ) -> Inputs:
        """What a study's stage works on: the prepared set, the net and the device of the config.

        Keys read are seed and device. dealt: each training of the net has images of its own.
        """
        device = pick_device(cfg.device)  # first: a missing GPU is named before anything is read
        prepared, net = Prepared.open(paths.prepared), load_net(paths.net)
        share = paths.share if dealt else (0, 1)
        return cls(prepared, split, net, device, max_images=max_images, seed=cfg.seed, share=share)

    @property
    def adopted(self) -> bool:
        """Whether the net was trained elsewhere: which images it was trained on is not known."""
        return "adopted" in self.net.provenance

    @property
    def origin(self) -> dict[str, bool]:
        """Facts for readers: adopted; unseen, whether none of the images was trained on for sure.

        Of nets that ImageNet trained ILSVRC's validation photos are unseen, by their file names.
        """
        if not self.adopted:
            return {"adopted": False, "unseen": self.split_name != "train"}
        known = "trained_on" in self.net.provenance
        names = (PurePosixPath(each).name for each in self.split.ids) if known else ()
        unseen = known and all(name.startswith("ILSVRC2012_val_") for name in names)
        return {"adopted": True, "unseen": unseen}

    def pixels(self, rows: np.ndarray) -> Tensor:
        """The view of `rows` as uint8 (n, 3, px, px) on the CPU."""
        return datasets.fit_to(datasets.pixels(self.split, rows), self.net.input_px)

    def display(self, rows: np.ndarray) -> np.ndarray:
        """The same pixels for drawing: (n, px, px, 3) uint8."""
        return np.ascontiguousarray(self.pixels(rows).permute(0, 2, 3, 1).numpy())

    def normalised(self, pixels: Tensor) -> Tensor:
        """Raw pixels to net input (n, 3, px, px), float, channels-last, on the device."""
        x = self.net.normalise(pixels.to(self.device))
        return x.contiguous(memory_format=torch.channels_last)

    def batch(self, rows: np.ndarray) -> Tensor:
        """Net input of `rows`."""
        return self.normalised(self.pixels(rows))

    def batches(self, rows: np.ndarray, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(net input, rows as int64 Tensor) of at most `size` images, prefetched by threads."""
        parts = [rows[i : i + size] for i in range(0, len(rows), size)]
        for part, pixels in zip(parts, prefetch(self.pixels, parts), strict=True):
            yield self.normalised(pixels), torch.from_numpy(np.ascontiguousarray(part))

    def outputs(self, rows: np.ndarray) -> np.ndarray:
        """The net's output index of each row's class; -1 where the net does not know it."""
        return self.net.outputs_for(self.labels[rows])

    def boxes(self, rows: np.ndarray) -> np.ndarray | None:
        """Object boxes (n, 4) float as y0, x0, y1, x1 in net input px, clipped; NaN if unknown."""
        boxes = self.split.boxes
        if boxes is None:
            return None
        x0, y0, x1, y1 = np.asarray(boxes, np.float64)[rows].T
        moved = (np.stack([y0, x0, y1, x1], 1) - self.view.start) * self.view.factor
        return np.clip(moved, 0, self.net.input_px)


def first_filters(net: Net) -> tuple[Tensor, tuple[int, int]]:
    """The first convolution (C, 3, k, k) and its stride; C = 0 if it does not read the pixels."""
    first = next((m for m in net.model.modules() if isinstance(m, nn.Conv2d)), None)
    if first is None or first.weight.shape[1] != 3:
        return torch.zeros(0, 3, 1, 1), (1, 1)
    stride = int(first.stride[0]), int(first.stride[1])
    return first.weight.detach().cpu().float().contiguous(), stride


# -------------------------------------------------------------------------------------- choosing
def named_rows(inputs: Inputs, ids: Sequence[str], option: str) -> np.ndarray:
    """The rows (n,) of the images `ids`. Raises UserError for one that the split does not hold."""
    row_of = {name: row for row, name in enumerate(inputs.split.ids)} if ids else {}
    for name in ids:
        if name not in row_of:
            raise UserError(
                f"{option}: the split {inputs.split_name} holds no image {name!r}; ids look like "
                f"{inputs.split.ids[0]!r} (data/prepared/index.parquet lists them)"
            )
    return np.array([row_of[name] for name in ids], np.int64)


def turns(*keys: np.ndarray) -> np.ndarray:
    """How many members before it have the same keys: (n,) int64, from arrays (n,) of keys."""
    taken: Counter[tuple[Any, ...]] = Counter()
    found = np.zeros(len(keys[0]), np.int64)
    for i, key in enumerate(zip(*(each.tolist() for each in keys), strict=True)):
        found[i] = taken[key]
        taken[key] += 1
    return found


# ----------------------------------------------------------------------------- what excites a map
def strongest(
    inputs: Inputs,
    paths: Sequence[str],
    k: int,
    directions: Mapping[str, Tensor] | None = None,
    what: str = "",
) -> dict[str, TopActivations]:
    """The `k` strongest images of every map of the modules `paths`, in one pass over `inputs`.

    `directions`: as in `top_activations`. `what`: shown in the progress bar.
    """

    def whole_pass(size: int) -> dict[str, TopActivations]:
        batches = progress(
            inputs.batches(inputs.rows, size),
            total=math.ceil(len(inputs.rows) / size),
            desc=f"strongest activations{what and f', {what}'}",
            unit="batch",
        )
        return top_activations(inputs.net.model, batches, paths, k, directions=directions)

    return when_it_fits(whole_pass, BATCH)


@dataclass(frozen=True)
class Windows:
    """What activations at some places of one layer see, in px of the net's input.

    boxes (…, 4): the receptive fields y0, x0, y1, x1, half-open, cut at the image's border; fields
    (…, 2): their top left, also outside the image; corners (…, 2): top left of the window that is
    drawn, `canvas` (h, w) large: a whole field, moved inwards at the border, or the image where
    that is smaller.
    """

    reach: ReceptiveField
    boxes: np.ndarray
    fields: np.ndarray
    corners: np.ndarray
    canvas: tuple[int, int]

    @staticmethod
    def of(net: Net, path: str, places: Tensor) -> Windows:
        """Those of int64 places (…, 2), row and column, of the module `path`."""
        return Windows.at(receptive_field(net.model, path, net.input_px), places)

    @staticmethod
    def at(reach: ReceptiveField, places: Tensor) -> Windows:
        """The same where the layer's receptive field is known."""
        canvas = min(reach.size[0], reach.image[0]), min(reach.size[1], reach.image[1])
        fields = reach.boxes(places, clip=False).numpy()[..., :2]
        corners = np.clip(fields, 0, np.subtract(reach.image, canvas))
        return Windows(reach, reach.boxes(places).numpy(), fields, corners, canvas)


def project(
    inputs: Inputs,
    path: str,
    images: Tensor,
    maps: np.ndarray,
    places: Tensor | Literal["all"] | None,
    **start: Any,
) -> Tensor:
    """Projections (n, 3, H, W) of the maps (n,) of `path`, each alone, by the deconvnet.

    images (n, 3, H, W): net input; places (n, 2): where in the maps, "all": whole maps, None: their
    strongest activations. `start`: `values` to start from, as in `deconvnet`.
    """
    model, units = inputs.net.model, torch.from_numpy(maps)
    return when_it_fits(
        lambda size: deconvnet(model, images, path, units, places=places, batch_size=size, **start),
        BATCH,
    )


def cut_windows(images: Tensor, corners: np.ndarray, size: tuple[int, int]) -> Tensor:
    """Windows of `size` (h, w) of images (n, C, H, W), top left at `corners` (n, 2); 0 outside."""
    windows = images.new_zeros((len(images), images.shape[1], *size))
    height, width = images.shape[2:]
    for window, image, (y, x) in zip(windows, images, corners.tolist(), strict=True):
        y0, x0 = max(y, 0), max(x, 0)
        y1, x1 = min(y + size[0], height), min(x + size[1], width)
        if y1 > y0 and x1 > x0:
            window[:, y0 - y : y1 - y, x0 - x : x1 - x] = image[:, y0:y1, x0:x1]
    return windows


def with_ends(key: str, estimate: Estimate) -> dict[str, float | None]:
    """A value and its interval's ends under the keys that a table has for them."""
    return {key: estimate.value, f"{key}_low": estimate.low, f"{key}_high": estimate.high}


# ------------------------------------------------------------------------------------- running it
def when_it_fits(function: Callable[[int], T], size: int) -> T:
    """`function(size)`; halves the batch size each time the GPU's memory does not suffice."""
    while True:
        try:
            return function(size)
        except torch.cuda.OutOfMemoryError:
            if size <= 1:
                raise
            torch.cuda.empty_cache()
            size = size // 2
