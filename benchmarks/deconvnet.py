"""Projecting all 256 units of layer 5: ours in batches, captum one call per unit.

    python benchmarks/deconvnet.py [--device cuda] [--units 256] [--captum-units 32]

AlexNet with random weights, one image of 224 px; each unit at its strongest place. captum's
`NeuronDeconvolution` projects one neuron of one input per call; its time per unit is measured on
the first `--captum-units` of them. Both results are compared.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

import rounds
from zfnet.methods import deconvnet

LAYER = "features.10"


def captum(model: nn.Module, image: Tensor, places: list[tuple[int, int]]) -> Tensor:
    from captum.attr import NeuronDeconvolution

    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False  # captum's hooks need it
    method = NeuronDeconvolution(model, model.get_submodule(LAYER))
    return torch.cat(
        [
            method.attribute(image.clone().requires_grad_(), neuron_selector=(unit, y, x)).detach()
            for unit, (y, x) in enumerate(places)
        ]
    )


def main() -> None:
    options = rounds.options(__doc__, units=256, captum_units=32)
    model = rounds.alexnet(options.device)
    image = torch.randn(1, 3, 224, 224, device=options.device)
    units = torch.arange(options.units)
    with torch.no_grad():
        maps = model.features[:11](image)[0]
    flat = maps.flatten(1).argmax(1).tolist()
    places = [divmod(place, maps.shape[2]) for place in flat][: options.captum_units]

    def ours() -> Tensor:
        return deconvnet(model, image, LAYER, units, values=1.0)

    def theirs() -> Tensor:
        return captum(model, image, places)

    captum(model, image, places[:2])
    deconvnet(model, image, LAYER, units[:32], values=1.0)
    projected, reference = ours(), theirs()
    best = rounds.best_of({"ours": ours, "captum": theirs}, options.rounds, options.device)
    best_ours, best_theirs = best["ours"] / options.units, best["captum"] / len(places)
    error = (projected[: len(places)] - reference).abs().max() / reference.abs().max()
    print(
        f"AlexNet {LAYER}, {options.device}, {options.threads} threads, torch {torch.__version__}"
    )
    print(f"captum {1e3 * best_theirs:8.2f} ms a unit")
    print(f"ours   {1e3 * best_ours:8.2f} ms a unit   largest relative difference {error:.1e}")
    print(f"ours is {best_theirs / best_ours:.1f} times as fast")


if __name__ == "__main__":
    main()
