"""`zfnet show IMAGE …`: one picture of what in an image drives one unit of a net."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from zfnet.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from zfnet.data.sample import ClassInfo
    from zfnet.figures.kit.maps import Panel
    from zfnet.models.net import Net

# What each draws, as its panel is headed.
METHODS = {
    "deconvnet": "deconvnet projection",
    "guided": "guided backprop",
    "gradient": "gradient",
    "occlusion": "occlusion",
}
DEFAULT_MODEL = "models/zfnet/final"
EXAMPLES = """\
examples:
  zfnet show cat.jpg                                     the strongest map of layer 5
  zfnet show cat.jpg --layer 3 --unit 17 --method guided
  zfnet show cat.jpg --method occlusion --out cat_occlusion.png
  zfnet show cat.jpg --model torchvision/alexnet --weights DEFAULT --layer 2
"""


def main(argv: Sequence[str]) -> int:
    """Parse the command line, draw, write one PNG and say where. Returns 0."""
    given = _parser().parse_args(argv)
    image = Path(given.image)
    if not image.is_file():
        raise UserError(f"{image}: no such image file")
    out = Path(given.out or f"{image.stem}_{given.method}_layer{given.layer}.png".replace("/", "_"))
    writable(out, "picture", ".png")
    net = find_net(given.model, given.weights, given.device)
    for line in show(image, net, given.method, given.layer, given.unit, out):
        print(line)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zfnet show", description=__doc__, epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("image", metavar="IMAGE", help="any image file; its centre square is used")
    net_arguments(parser)
    parser.add_argument(
        "--layer", default="5", help='layer of the paper (1 to 8), a tap ("5.out"), or a module'
    )
    parser.add_argument("--unit", type=int, help="number of the map (default: the strongest)")
    parser.add_argument("--method", choices=METHODS, default="deconvnet")
    parser.add_argument("--out", help="PNG to write (default: in the current folder)")
    return parser


def net_arguments(parser: argparse.ArgumentParser) -> None:
    """Which net, and where it computes: what `find_net` takes."""
    parser.add_argument(
        "--model", default=DEFAULT_MODEL,
        help=f"folder of a trained net, or torchvision/NAME (default {DEFAULT_MODEL})",
    )  # fmt: skip
    parser.add_argument("--weights", help="torchvision models: a file, or torchvision's name")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


def writable(given: str | Path, what: str, *endings: str) -> Path:
    """The file that `--out` names, in a folder that is there: known before anything is computed.

    what: a page or a picture, whose name has one of `endings`. Raises UserError.
    """
    out = Path(given)
    if out.suffix.lower() not in endings:
        kind = endings[0][1:].upper()
        raise UserError(f"--out {out}: the {what} is {kind}; end its name in {endings[0]}")
    try:
        if out.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise UserError(f"--out {out} cannot be written there ({error.strerror})") from error
    return out


def find_net(model: str, weights: str | None, device: str = "auto") -> Net:
    """The net that `--model` names, on `device`.

    A folder is looked for here, then under the project's root. Raises UserError.
    """
    from zfnet.machine import pick_device
    from zfnet.models.checkpoint import load_net
    from zfnet.pipeline.paths import find_root
    from zfnet.studies.base import to_device

    place, root = pick_device(device), Path()
    with contextlib.suppress(UserError):  # outside a checkout there is none
        root = find_root()
    if model.startswith("torchvision/"):
        from zfnet.data.store import Prepared
        from zfnet.models.foreign import torchvision_net

        classes: list[ClassInfo] = []  # of the prepared data, to name outputs that lack names
        with contextlib.suppress(UserError):
            classes = Prepared.open(root / "data" / "prepared").classes
        return to_device(torchvision_net(model, weights, classes), place)
    if weights is not None:
        raise UserError(
            f"--weights goes with --model torchvision/NAME; {model} has weights of its own"
        )
    for folder in (Path(model), root / model):
        if (folder / "net.json").is_file():
            return to_device(load_net(folder), place)
    raise UserError(
        f"--model {model}: no trained net there (net.json is missing). Train one with "
        "`dvc repro train@zfnet`, or give a folder, or torchvision/NAME with --weights"
    )


def show(
    image: str | Path,
    net: Net,
    method: str = "deconvnet",
    layer: int | str = 5,
    unit: int | None = None,
    out: str | Path = "show.png",
) -> list[str]:
    """Draw what in `image` drives `unit` of `layer` (default: its strongest map) as one PNG.

    method: "deconvnet", "guided", "gradient" (the projection beside the receptive field's patch) or
    "occlusion" (activity, the map's projection, probability and top label under a sliding grey
    square). Returns lines that say what was drawn. Raises UserError for unreadable images, unknown
    layers, units or methods.
    """
    import torch

    from zfnet.figures.kit.maps import panel_sheet
    from zfnet.figures.kit.show import to_image
    from zfnet.methods.top_activations import top_activations

    if method not in METHODS:
        raise UserError(f"method {method}: choose one of {', '.join(METHODS)}")
    pixels = read_pixels(image, net)
    x = net.normalise(pixels.to(net.normalise.mean.device))
    # The layer's ReLU, or what it hands on where it has none (the classifier).
    bare = f"{layer}.relu" not in net.taps and f"{layer}.out" in net.taps
    path = net.tap(layer, "out" if bare else "relu")
    top = top_activations(net.model, [(x, torch.tensor([0]))], [path], k=1)[path]
    count = len(top.values)
    chosen = int(top.values[:, 0].argmax()) if unit is None else unit
    if not 0 <= chosen < count:
        raise UserError(f"--unit {unit}: layer {layer} ({path}) has {count} maps, 0 to {count - 1}")
    value, (y, column) = float(top.values[chosen, 0]), top.places[chosen, 0].tolist()
    name = f"layer {layer}, map {chosen} of {count}"
    if count == len(net.classes) and path == net.taps.get("8.out"):
        name = f"layer {layer}, class {net.classes[chosen]}"
    title = f"{Path(image).name}: {name}, activation {value:.3g}"
    if method == "occlusion":
        panels, said = _occlusion_panels(net, pixels, x, path, layer, chosen)
        drawn = panel_sheet([panels[:-2], panels[-2:]], title=title)
    else:
        panels, said = _projection_panels(net, pixels, x, path, chosen, (y, column), method)
        drawn = panel_sheet([panels], title=title, panel_inches=2.3 if len(panels) > 2 else 3.2)
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    to_image(drawn).save(out, "PNG", optimize=True)
    first = f"{net.name}, {name} ({path}): activation {value:.4g} at {(y, column)}"
    return [first, *said, f"wrote {out}"]


def read_pixels(image: str | Path, net: Net) -> Tensor:
    """The centre view of an image file as the net sees it: uint8 (1, 3, px, px)."""
    import torch

    from zfnet.data.decode import DecodeError, fit_square, open_upright
    from zfnet.data.views import View

    try:
        opened, _ = open_upright(image)
    except DecodeError as error:
        raise UserError(f"{image}: not a usable image ({error.reason})") from error
    # Nets with a mean image were trained on squares of its side; others on 256 for 224 px.
    stored = net.normalise.mean.shape[-1] if net.normalise.mean.ndim == 3 else 0
    size = stored or round(net.input_px * 256 / 224)
    view = View.of(size, net.input_px).cut(fit_square(opened, size))
    return torch.from_numpy(view.copy()).permute(2, 0, 1)[None].contiguous()


def _projection_panels(
    net: Net, pixels: Tensor, x: Tensor, path: str, unit: int, place: tuple[int, int], method: str
) -> tuple[list[Panel], list[str]]:
    import torch

    from zfnet.data.signed import signed_scale, signed_to_rgb
    from zfnet.figures.kit.grid import cut
    from zfnet.figures.kit.maps import ImagePanel
    from zfnet.methods import gradients
    from zfnet.methods.receptive_field import receptive_field

    functions = {
        "deconvnet": gradients.deconvnet,
        "guided": gradients.guided_backprop,
        "gradient": gradients.gradient,
    }
    down = functions[method](net.model, x, path, unit, places=torch.tensor([place]).to(x.device))
    y0, x0, y1, x1 = receptive_field(net.model, path, net.input_px).box(*place)
    part = down[0, :, y0:y1, x0:x1].permute(1, 2, 0).cpu().numpy()
    scale = signed_scale(part)
    image = _display(pixels)
    shape = (y1 - y0, x1 - x0)
    panels: list[Panel] = [
        ImagePanel("input and receptive field", image, box=(y0, x0, y1, x1)),
        ImagePanel(f"its {shape[0]} x {shape[1]} px", cut(image, (y0, x0), shape), origin=(y0, x0)),
        ImagePanel(METHODS[method], signed_to_rgb(part, scale), origin=(y0, x0)),
    ]
    if shape == image.shape[:2]:
        panels = [ImagePanel("input", image), panels[2]]
    if scale == 0:
        return panels, ["the unit is not active here: its projection is empty"]
    return panels, [f"grey is 0, full contrast ±{scale:.3g} (input units), symmetric"]


def _occlusion_panels(
    net: Net, pixels: Tensor, x: Tensor, path: str, layer: int | str, unit: int
) -> tuple[list[Panel], list[str]]:
    import torch

    from zfnet.data.signed import signed_to_rgb
    from zfnet.figures.occlusion import row_panels
    from zfnet.methods import UnsupportedModel
    from zfnet.methods.gradients import deconvnet
    from zfnet.methods.occlusion import occlude
    from zfnet.pipeline.studies import Occlusion
    from zfnet.studies.occlusion import GREY
    from zfnet.studies.occlusion import pixels as square_pixels

    size, stride = square_pixels(Occlusion(), net.input_px)
    with torch.inference_mode():
        top = int(net.model(x).argmax())
    maps = occlude(
        net.model, x, classes=top, size=size, stride=stride, layer=path, unit=unit,
        fill=net.normalise(torch.full_like(pixels, GREY).to(x.device)),
    )  # fmt: skip
    without = []
    projection = None
    try:
        down = deconvnet(net.model, x, path, unit)
        projection = signed_to_rgb(down[0].permute(1, 2, 0).cpu().float().numpy())
    except UnsupportedModel as error:
        without = [f"no projection: {error}"]
    panels = row_panels(
        maps.arrays(),
        0,
        size,
        image=_display(pixels),
        classes=net.classes,
        output=top,
        layer=layer,
        projection=projection,
    )
    clean, worst = float(maps.clean_probability[0]), float(maps.probability[0].min())
    said = [
        f"top label {net.classes[top]}, p {clean:.3f}; at the worst place {worst:.3f} "
        f"(grey square of {size} px, step {stride} px)",
        *without,
    ]
    return panels, said


def _display(pixels: Tensor) -> np.ndarray:
    return pixels[0].permute(1, 2, 0).cpu().contiguous().numpy()
