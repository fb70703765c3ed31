"""Top 9 of every map of layers 1 to 5 in one pass, against the bare forward pass.

    python benchmarks/top_activations.py [--device cuda] [--images 512]

ZFNet at paper size with random weights, 224 px, the same images in the same batches; the bare pass
is `model(batch)` in inference mode up to the class scores. Rounds alternate; the best counts.
"""

from __future__ import annotations

import torch

import rounds
from zfnet.methods import top_activations
from zfnet.models.convnet import ConvNet, init_weights
from zfnet.models.spec import build_spec


def main() -> None:
    options = rounds.options(__doc__, images=256, batch=64)
    model = ConvNet(build_spec("zfnet")).eval()
    init_weights(model, "he")
    model = model.to(options.device, memory_format=torch.channels_last)
    layers = [model.taps[f"{number}.relu"] for number in range(1, 6)]
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(options.images, 3, 224, 224, generator=generator).mul_(50)
    pixels = pixels.to(options.device, memory_format=torch.channels_last)
    batches = list(zip(pixels.split(options.batch), torch.arange(options.images).split(options.batch), strict=True))  # fmt: skip  # noqa: E501

    @torch.inference_mode()
    def bare() -> None:
        for images, _ in batches:
            model(images)

    def ours() -> None:
        top_activations(model, batches, layers, k=9)

    bare()
    ours()
    work = {"bare forward": bare, "top 9, layers 1-5": ours}
    best = rounds.best_of(work, options.rounds, options.device)
    print(f"ZFNet, {options.images} images, {options.device}, torch {torch.__version__}")
    for name, seconds in best.items():
        print(f"{name:18s} {seconds:7.3f} s  {options.images / seconds:7.1f} images/s")
    print(f"ratio {best['top 9, layers 1-5'] / best['bare forward']:.3f}")


if __name__ == "__main__":
    main()
