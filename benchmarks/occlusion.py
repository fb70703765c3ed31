"""One occlusion map: `zfnet.methods.occlude` against captum's `Occlusion`, same model and image.

    python benchmarks/occlusion.py [--device cuda] [--stride 8] [--rounds 3]

AlexNet with random weights, 224 px, a 32-px square, every 8 px (625 places), channels-last on both
sides. captum runs at its default (one place per pass) and at its best `perturbations_per_eval` of
those tried, ours at its default batch and at others, and gives probability, logit, activity and
label where captum gives the logit alone. Rounds alternate between the contestants; the best of each
counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import rounds
from zfnet.allocator import keep_freed_memory
from zfnet.methods import OcclusionMaps, occlude

SIZE = 32


Run = Callable[[], Tensor]


def to_pixels(maps: OcclusionMaps, values: Tensor) -> Tensor:
    """Values (N, R, C) of places as captum gives them: each pixel's mean over those covering it."""
    pixels = torch.arange(maps.image_size[0], device=values.device)
    covers = [
        ((pixels >= starts[:, None]) & (pixels < starts[:, None] + SIZE)).to(values)
        for starts in (maps.rows.to(values.device), maps.cols.to(values.device))
    ]
    total = torch.einsum("nrc,rh,cw->nhw", values, *covers)
    return total / torch.einsum("rh,cw->hw", *covers)


def contestants(model: nn.Module, image: Tensor, stride: int) -> dict[str, Run]:
    """Captum at several numbers of places a pass, and ours at several batches."""
    from captum.attr import Occlusion

    def captum(batch: int) -> Callable[[], Tensor]:
        def run() -> Tensor:
            with torch.inference_mode():
                return Occlusion(model).attribute(
                    image, (3, SIZE, SIZE), strides=(3, stride, stride), target=5, baselines=0,
                    perturbations_per_eval=batch,
                )  # fmt: skip

        return run

    def ours(**options: Any) -> Callable[[], Tensor]:
        def run() -> Tensor:
            maps = occlude(
                model, image, classes=5, size=SIZE, stride=stride, layer="features.11",
                progress=False, **options,
            )  # fmt: skip
            return to_pixels(maps, maps.clean_logit[:, None, None] - maps.logit)

        return run

    batches = (1, 32, 64, 128) if not image.is_cuda else (1, 64, 256, 625)
    found = {f"captum, {batch} a pass": captum(batch) for batch in batches}
    found["ours"] = ours()
    for batch in batches[1:]:
        found[f"ours, {batch} a pass"] = ours(batch_size=batch)
    return found


def main() -> None:
    options = rounds.options(__doc__, stride=8)
    keep_freed_memory()  # for both sides, as the command line does
    model = rounds.alexnet(options.device)
    image = torch.randn(1, 3, 224, 224).to(options.device, memory_format=torch.channels_last)
    racing = contestants(model, image, options.stride)
    results = {name: run() for name, run in racing.items()}  # also warms up
    best = rounds.best_of(racing, options.rounds, options.device)
    default = best["captum, 1 a pass"]
    tuned = min(value for name, value in best.items() if name.startswith("captum"))
    own = min(value for name, value in best.items() if name.startswith("ours"))
    reference = results["captum, 1 a pass"][:, 0]
    print(f"AlexNet, {SIZE}-px square, stride {options.stride}, {options.device}, "
          f"{options.threads} threads, torch {torch.__version__}")  # fmt: skip
    for name, seconds in best.items():
        result = results[name] if name.startswith("ours") else results[name][:, 0]
        error = float((result - reference).abs().max())
        print(f"{name:20s} {seconds:7.3f} s   largest difference {error:.1e}")
    for what, ours in (("ours", best["ours"]), ("ours at its best batch", own)):
        print(f"{what} against captum's default: {default / ours:.2f} times as fast")
        print(f"{what} against captum's best:    {tuned / ours:.2f} times as fast")


if __name__ == "__main__":
    main()
