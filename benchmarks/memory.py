"""Peak memory of top activations and occlusion as the work grows: it should stay flat.

    python benchmarks/memory.py

Each case runs in a process of its own and reports its peak resident memory: top 9 over 1,000 and
10,000 images (made batch by batch), occlusion with 100 and 2,500 places.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from collections.abc import Iterator

CASES = {
    "top 9 of 1,000 images": ("images", 1_000),
    "top 9 of 10,000 images": ("images", 10_000),
    "occluder at 100 places": ("places", 10),
    "occluder at 2,500 places": ("places", 50),
}


def one(kind: str, amount: int) -> None:
    import torch
    from torch import Tensor

    from zfnet.methods import occlude, top_activations
    from zfnet.models.convnet import ConvNet, init_weights
    from zfnet.models.spec import build_spec

    torch.set_num_threads(2)
    model = ConvNet(build_spec("zfnet", width=0.25, input_px=128)).eval()
    init_weights(model, "he")

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, amount, 50):
            generator = torch.Generator().manual_seed(start)
            yield torch.randn(50, 3, 128, 128, generator=generator), torch.arange(start, start + 50)

    if kind == "images":
        top_activations(model, batches(), [model.taps[f"{n}.relu"] for n in range(1, 6)])
    else:
        image = torch.randn(1, 3, 128, 128)
        size, stride = (20, 12) if amount == 10 else (30, 2)  # 10 x 10 or 50 x 50 places
        occlude(model, image, classes=0, size=size, stride=stride, layer=model.taps["5.relu"],
                progress=False)  # fmt: skip
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        one(options.case[0], int(options.case[1]))
        return
    peaks = {}
    for name, (kind, amount) in CASES.items():
        command = [sys.executable, __file__, kind, str(amount)]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        peaks[name] = int(told)
        print(f"{name:26s} peak {peaks[name]} MiB")
    few_images, many_images, few_places, many_places = peaks.values()
    print(f"images x10: {many_images / few_images:.3f}; places x25: {many_places / few_places:.3f}")


if __name__ == "__main__":
    main()
