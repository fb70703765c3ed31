"""`zfnet lens PHOTO …`: everything that a net makes of one picture, as one page."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zfnet.errors import UserError
from zfnet.show import find_net, net_arguments, read_pixels, writable

if TYPE_CHECKING:
    from torch import Tensor

    from zfnet.models.net import Net
    from zfnet.results import Results
    from zfnet.studies.base import Inputs

TOP = 5  # answers told
MAPS = 64  # drawn a layer: those that respond most
PROJECTED = 4  # maps a layer, and classes, that are projected
STRONGEST_PX = 56  # of a tile of what excites a map
NEAR, COMPARED = 8, 400  # neighbours shown; validation images that they are sought among
UNLIKE = 0.05  # share of those images that score as low: below it a picture is unlike them
SMALL_PX = 128  # inputs up to this are inverted by more steps: a pass takes a tenth of the time
STEPS = {True: 100, False: 30}
INVERTED = (1, 3, 5, 7)
LARGEST = 16  # grey levels of the slider
STEPS_OF = ("activations", "projections", "occlusion", "inversion", "fooling", "neighbours")
EXAMPLES = """\
examples:
  zfnet lens cat.jpg                          cat_lens.html, by the net of the last run
  zfnet lens cat.jpg --steps occlusion,fooling
  zfnet lens cat.jpg --model torchvision/alexnet --weights DEFAULT --out page.html
"""


@dataclass
class Look:
    """One picture before one net. pixels: uint8 (1, 3, px, px), x: the same as net input.

    probability: (outputs,). inputs: the prepared validation images, None where there are none;
    features: what the run knows of the net's maps, None where it is of another net.
    """

    net: Net
    pixels: Tensor
    x: Tensor
    probability: np.ndarray
    inputs: Inputs | None = None
    features: Results | None = None
    maps: dict[int, list[int]] = field(default_factory=dict)  # a layer's strongest maps

    @property
    def scores(self) -> str | None:
        """The module that gives the classes' scores: the library's other nets have no layer 8."""
        from torch.nn import Linear

        last = ""
        for name, each in self.net.model.named_modules():
            if isinstance(each, Linear) and each.out_features == len(self.net.classes):
                last = name
        return self.net.taps.get("8.out", last or None)

    @property
    def layers(self) -> list[int]:
        """The numbers of the layers with maps."""
        return [n for n in range(1, 6) if f"{n}.relu" in self.net.taps]

    def said(self, pixels: Tensor) -> list[dict[str, Any]]:
        """The most likely class of each of uint8 pictures (n, 3, px, px), with its probability."""
        import torch

        with torch.inference_mode():
            x = self.net.normalise(pixels.to(self.x.device))
            p, top = self.net.model(x).float().softmax(1).cpu().max(1)
        names = [self.net.classes[i] for i in top.tolist()]
        return [{"label": n, "p": round(v, 4)} for n, v in zip(names, p.tolist(), strict=True)]


def main(argv: Sequence[str]) -> int:
    """Parse the command line, look, write one page and say where. Returns 0."""
    given = _parser().parse_args(argv)
    photo = Path(given.photo)
    if not photo.is_file():
        raise UserError(f"{photo}: no such image file")
    steps = _steps(given.steps)
    out = writable(given.out or f"{photo.stem}_lens.html", "page", ".html", ".htm")
    net = find_net(given.model, given.weights, given.device)
    weights = given.weights or ("random" if given.model.startswith("torchvision/") else given.model)
    document = look(photo, net, weights, steps)
    size = write(document, out)
    print(f"{net.name} ({weights}): {document['answers'][0]['label']}, p "
          f"{document['answers'][0]['p']:.3f}")  # fmt: skip
    print(f"wrote {out} ({size / 1e6:.1f} MB); open it in a browser")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zfnet lens", description=__doc__, epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("photo", metavar="PHOTO", help="any image file; its centre square is used")
    net_arguments(parser)
    parser.add_argument("--out", help="page to write (default: PHOTO_lens.html, here)")
    parser.add_argument("--steps", help=f"these parts alone, of {','.join(STEPS_OF)}")
    return parser


def _steps(given: str | None) -> tuple[str, ...]:
    if given is None:
        return STEPS_OF
    named = [each.strip() for each in given.split(",") if each.strip()]
    if not named or (unknown := [each for each in named if each not in STEPS_OF]):
        wrong = ", ".join(unknown) if named else "(nothing)"
        raise UserError(f"--steps {wrong}: choose from {', '.join(STEPS_OF)}, with commas")
    return tuple(each for each in STEPS_OF if each in named)


def look(
    photo: str | Path, net: Net, weights: str, steps: Sequence[str] = STEPS_OF
) -> dict[str, Any]:
    """Everything that the page shows of a picture, as plain values and pictures as data: URIs.

    weights: what the page calls them; of a trained net its folder. A part that the net or the
    checkout does not allow says `why`, and is otherwise empty; one that is not asked for is None.
    Raises UserError for an unreadable image.
    """
    import torch

    from zfnet.methods import UnsupportedModel

    pixels = read_pixels(photo, net)
    x = net.normalise(pixels.to(net.normalise.mean.device))
    with torch.inference_mode():
        probability = net.model(x).float().softmax(1)[0].cpu().numpy()
    seen = Look(net, pixels, x, probability, *_of_the_run(net, weights))
    order = probability.argsort()[::-1][:TOP]
    parts: dict[str, Callable[[Look], dict[str, Any]]] = {
        "activations": _activations,
        "projections": _projections,
        "occlusion": _occlusion,
        "inversion": _inversion,
        "fooling": _fooling,
        "neighbours": _neighbours,
    }
    document: dict[str, Any] = {
        "photo": Path(photo).name,
        "net": net.name,
        "arch": net.arch,
        "weights": weights,
        "px": net.input_px,
        "classes": list(net.classes),
        "picture": _uri(_hwc(pixels), lossless=True),
        "answers": [
            {"label": net.classes[i], "p": round(float(probability[i]), 4)} for i in order.tolist()
        ],
    }
    document |= dict.fromkeys(STEPS_OF)
    for step in steps:
        began = time.perf_counter()
        try:
            document[step] = {"why": "", **parts[step](seen)}
        except (UserError, UnsupportedModel) as error:
            document[step] = {"why": str(error)}
        print(f"lens: {step}, {time.perf_counter() - began:.1f} s", file=sys.stderr, flush=True)
    return document


def write(document: dict[str, Any], out: Path) -> int:
    """Write the page; returns its size in bytes."""
    from zfnet.files import write_text
    from zfnet.report.site import environment

    def without(part: dict[str, Any] | None, key: str) -> dict[str, Any] | None:
        return part and {name: value for name, value in part.items() if name != key}

    page = environment().get_template("lens.html.j2")
    text = page.render(lens=document, steps=STEPS_OF, without=without)
    write_text(out, text)
    return len(text.encode())


# ------------------------------------------------------------------------------------ the parts
def _of_the_run(net: Net, folder: str) -> tuple[Inputs | None, Results | None]:
    """The checkout's validation images, and what its study of features says of this very net."""
    from zfnet.data.store import Prepared
    from zfnet.pipeline.paths import find_root
    from zfnet.results import Results
    from zfnet.studies.base import Inputs

    try:
        root = find_root()
        prepared = Prepared.open(root / "data" / "prepared")
        device = net.normalise.mean.device
        inputs = Inputs(prepared, "val", net, device, max_images=COMPARED)
    except UserError:
        return None, None
    try:
        features = Results(root / "results" / "features", root)
    except UserError:
        return inputs, None
    final = root / "models" / features.net / "final"
    ours = any((base / folder).resolve() == final.resolve() for base in (Path(), root))
    return inputs, features if ours else None


def _outputs(net: Net, paths: Sequence[str], x: Tensor) -> dict[str, Tensor]:
    """What the modules `paths` hand on for net input (n, 3, px, px): float, on the CPU."""
    import torch

    from zfnet.methods._forward import listening, run_until_heard

    found: dict[str, Tensor] = {}

    def take(path: str, output: Tensor) -> None:
        found[path] = output.float().cpu()

    with torch.inference_mode(), listening(net.model, paths, take):
        run_until_heard(net.model, x, paths)
    return found


def _activations(seen: Look) -> dict[str, Any]:
    """Every layer's maps on one scale a layer, and the strongest images of each map."""
    layers = []
    taps = {n: seen.net.tap(n, "relu") for n in range(1, 8) if f"{n}.relu" in seen.net.taps}
    found = _outputs(seen.net, list(taps.values()), seen.x)
    for number, path in taps.items():
        maps = found[path][0].numpy()
        maps = maps if maps.ndim == 3 else maps.reshape(len(maps), 1, 1)
        most = maps.max((1, 2))
        order = most.argsort(kind="stable")[::-1]
        scale = max(float(most.max()), 1e-12)
        one: dict[str, Any] = {
            "layer": number,
            "of": len(maps),
            "silent": int((most <= 0).sum()),
            "scale": scale,
            "shape": list(maps.shape[1:]),
            "strip": "",
            "top": None,
        }
        if maps.shape[1:] == (1, 1):
            one["strip"] = _uri(_cells(maps[:, 0, 0] / scale), lossless=True)
        else:
            shown = order[most[order] > 0][:MAPS].tolist() or order[:1].tolist()
            seen.maps[number] = shown
            grey = np.clip(maps[shown] / scale, 0, 1)
            tiles = [np.repeat(np.rint(255 * each)[..., None], 3, 2).astype(np.uint8)
                     for each in grey]  # fmt: skip
            one |= {
                "sheet": _sheet(tiles, lossless=True),
                "maps": [{"map": m, "max": float(most[m])} for m in shown],
                "top": _strongest(seen, number, shown),
            }
        layers.append(one)
    if not layers:
        raise UserError(f"{seen.net.name} has no layers that are known by the paper's numbers")
    return {"layers": layers, "most": MAPS}


def _strongest(seen: Look, layer: int, maps: Sequence[int]) -> dict[str, Any] | None:
    """The images of the run that excite each of `maps` most, as the features study found them."""
    from zfnet.figures.features import LayerPictures
    from zfnet.figures.kit.grid import thumbnail

    if seen.features is None or str(layer) not in seen.features.facts["layers"]:
        return None
    pictures = LayerPictures(seen.features, str(layer))
    tiles = [thumbnail(tile, STRONGEST_PX) for m in maps for tile in pictures.patches(m)]
    notes = [pictures.note(m, 40) for m in maps]
    return {"sheet": _sheet(tiles, columns=len(tiles) // len(maps)), "notes": notes}


def _projections(seen: Look) -> dict[str, Any]:
    """Classes and each layer's strongest maps, down to the pixels by each rule."""
    import torch

    from zfnet.data.signed import signed_to_rgb
    from zfnet.methods import UnsupportedModel, gradients

    net = seen.net
    kinds: dict[str, list[int]] = {}
    if seen.scores is not None:
        kinds["8"] = [int(i) for i in seen.probability.argsort()[::-1][:PROJECTED]]
    for number in seen.layers:
        kinds[str(number)] = seen.maps.get(number, _by_strength(seen, number))[:PROJECTED]
    if not kinds:
        raise UserError(f"{net.name} has no layers that are known by the paper's numbers")
    methods = {
        "deconvnet": gradients.deconvnet,
        "guided": gradients.guided_backprop,
        "gradient": gradients.gradient,
    }
    items, refused = [], ""
    for layer, units in kinds.items():
        path = (seen.scores or "") if layer == "8" else net.tap(layer, "relu")
        pictures: dict[str, list[str]] = {}
        for name, method in methods.items():
            try:
                down = method(net.model, seen.x, path, torch.tensor(units)).float().cpu()
            except UnsupportedModel as error:
                refused = str(error)
                continue
            pictures[name] = [_uri(signed_to_rgb(_chw(each))) for each in down]
            if name == "gradient":
                pictures["saliency"] = [
                    _uri(_grey(each.numpy())) for each in gradients.saliency(down)
                ]
        for i, unit in enumerate(units):
            title = f"class {net.classes[unit]}" if layer == "8" else f"layer {layer}, map {unit}"
            shown = {name: each[i] for name, each in pictures.items()}
            items.append({"layer": layer, "unit": unit, "title": title, "pictures": shown})
    return {"items": items, "refused": refused}


def _by_strength(seen: Look, layer: int) -> list[int]:
    path = seen.net.tap(layer, "relu")
    maps = _outputs(seen.net, [path], seen.x)[path][0].flatten(1)
    return [int(i) for i in maps.amax(1).argsort(descending=True)]


def _occlusion(seen: Look) -> dict[str, Any]:
    """What the net says with a grey square at each place, and the map that responds most."""
    import torch

    from zfnet.data.signed import signed_to_rgb
    from zfnet.figures.kit.maps import panel_sheet
    from zfnet.figures.kit.show import to_image
    from zfnet.figures.occlusion import row_panels
    from zfnet.methods import UnsupportedModel
    from zfnet.methods.gradients import deconvnet
    from zfnet.methods.occlusion import occlude
    from zfnet.pipeline.studies import Occlusion
    from zfnet.studies.occlusion import GREY
    from zfnet.studies.occlusion import pixels as square

    net, top = seen.net, int(seen.probability.argmax())
    wanted = Occlusion(stride=16) if net.input_px > SMALL_PX else Occlusion()
    size, stride = square(wanted, net.input_px)
    layer = max(seen.layers, default=None)
    path = None if layer is None else net.tap(layer, "relu")
    fill = net.normalise(torch.full_like(seen.pixels, GREY).to(seen.x.device))
    found = occlude(
        net.model, seen.x, classes=top, size=size, stride=stride, fill=fill, layer=path,
        unit=None if path is None else "strongest", progress=False,
    )  # fmt: skip
    maps = found.arrays()
    told: dict[str, Any] = {
        "size": size,
        "stride": stride,
        "rows": maps["rows"].tolist(),
        "cols": maps["cols"].tolist(),
        "p": np.round(maps["probability"][0], 4).tolist(),
        "label": maps["label"][0].tolist(),
        "names": {int(i): net.classes[int(i)] for i in np.unique(maps["label"][0])},
        "clean": round(float(maps["clean_probability"][0]), 4),
        "watched": net.classes[top],
        "figure": "",
        "refused": "",
    }
    if path is not None:
        projection = None
        try:
            down = deconvnet(net.model, seen.x, path, int(maps["unit"][0]))
            projection = signed_to_rgb(_chw(down[0].float().cpu()))
        except UnsupportedModel as error:
            told["refused"] = str(error)
        panels = row_panels(
            maps, 0, size, image=_hwc(seen.pixels), classes=net.classes, output=top,
            layer=layer or "", projection=projection,
        )  # fmt: skip
        drawn = to_image(panel_sheet([panels[:-2], panels[-2:]])).convert("RGB")
        told |= {"figure": _uri(np.asarray(drawn)), "figure_size": list(drawn.size)}
    return told


def _inversion(seen: Look) -> dict[str, Any]:
    """Pictures made from the code of each layer alone."""
    from zfnet.methods.inversion import invert, pixel_error

    net = seen.net
    scale = 255 * net.normalise.std if net.normalise.kind == "standardise" else 1.0
    steps = STEPS[net.input_px <= SMALL_PX]
    items = []
    for layer in INVERTED:
        if f"{layer}.out" not in net.taps:
            continue
        made = invert(net.model, seen.x, net.tap(layer, "out"), scale=scale, steps=steps)
        error = float(pixel_error(made.images, seen.x, scale)[0])
        pixels = net.normalise.inverse(made.images)[0].clamp(0, 255).round().byte()
        items.append({"layer": layer, "picture": _uri(_hwc(pixels[None])), "error": error})
    if not items:
        raise UserError(f"{net.name} has no layers that are known by the paper's numbers")
    return {"items": items, "steps": steps}


def _fooling(seen: Look) -> dict[str, Any]:
    """The picture changed by 0 to LARGEST grey levels, and noise of the same size."""
    import torch

    from zfnet.methods.fooling import fgsm, noise_like

    clean = seen.pixels.float().to(seen.x.device)
    top = int(seen.probability.argmax())
    levels = list(range(LARGEST + 1))
    changed = fgsm(seen.net.model, clean, top, levels, normalise=seen.net.normalise)[:, 0]
    noise = torch.cat([noise_like(clean, each[None]) for each in changed])
    sign = (changed[1] - clean[0]).sign()
    # a pixel at the end of the range may hide its sign in the first step
    sign = torch.where(sign == 0, (changed[-1] - clean[0]).sign(), sign)
    return {
        "sign": _uri(_hwc(((sign + 1) * 127.5).round().byte()[None]), lossless=True),
        "changed": seen.said(changed.round().byte()),
        "noise": seen.said(noise.round().byte()),
    }


def _neighbours(seen: Look) -> dict[str, Any]:
    """The validation images whose codes are most alike (cosine), and whether its score is usual.

    `lower`: share of them whose highest score is as low, None where the net knows not all of their
    classes. Distances of codes tell less: what the net does not know has small codes, near to all.
    """
    import torch

    from zfnet.studies.base import BATCH

    if seen.inputs is None:
        raise UserError("this checkout holds no prepared images: run `dvc repro prepare`")
    net, inputs = seen.net, seen.inputs
    layer = max((n for n in range(1, 8) if f"{n}.out" in net.taps), default=None)
    if layer is None:
        raise UserError(f"{net.name} has no layers that are known by the paper's numbers")
    paths = [net.tap(layer, "out"), *([seen.scores] if seen.scores else [])]

    def told(x: Tensor) -> tuple[Tensor, Tensor]:
        found = _outputs(net, paths, x)
        code, scores = (found[path].flatten(1) for path in (paths[0], paths[-1]))
        return torch.nn.functional.normalize(code), scores.amax(1)

    each = [told(batch) for batch, _ in inputs.batches(inputs.rows, BATCH)]
    codes, scores = (torch.cat(part) for part in zip(*each, strict=True))
    own, score = told(seen.x)
    alike = (codes @ own[0]).numpy()
    order = alike.argsort(kind="stable")[::-1][:NEAR]
    names = [inputs.class_names[i] for i in inputs.labels[inputs.rows[order]].tolist()]
    known = seen.scores is not None and bool((inputs.outputs(inputs.rows) >= 0).all())
    return {
        "layer": layer,
        "of": len(codes),
        "lower": float((scores <= score).float().mean()) if known else None,
        "unlike": UNLIKE,
        "items": [
            {"picture": _uri(picture), "class": name, "alike": float(alike[i])}
            for picture, name, i in zip(
                inputs.display(inputs.rows[order]), names, order, strict=True
            )
        ],
    }


# ------------------------------------------------------------------------------------- pictures
def _hwc(pixels: Tensor) -> np.ndarray:
    """One picture (1, 3, h, w) as (h, w, 3)."""
    return pixels[0].permute(1, 2, 0).cpu().contiguous().numpy()


def _chw(picture: Tensor) -> np.ndarray:
    return picture.permute(1, 2, 0).contiguous().numpy()


def _grey(values: np.ndarray) -> np.ndarray:
    """Values ≥ 0 (h, w) as grey (h, w, 3), white at their 99th percentile."""
    scale = max(float(np.quantile(values, 0.99)), 1e-12)
    return np.repeat((255 * np.clip(values / scale, 0, 1)).astype(np.uint8)[..., None], 3, 2)


def _cells(values: np.ndarray, columns: int = 64) -> np.ndarray:
    """Values 0..1 (n,) as a block of grey cells, row after row; what is left over is white."""
    rows = -(-len(values) // columns)
    filled = np.ones(rows * columns)
    filled[: len(values)] = np.clip(values, 0, 1)
    block = (255 * filled.reshape(rows, columns)).astype(np.uint8)
    return np.repeat(block[..., None], 3, 2)


def _sheet(
    tiles: Sequence[np.ndarray], columns: int = 8, *, lossless: bool = False
) -> dict[str, Any]:
    """Tiles of one size (h, w, 3) on one picture, row after row."""
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    canvas = np.zeros((rows * height, columns * width, 3), np.uint8)
    for i, tile in enumerate(tiles):
        y, x = divmod(i, columns)
        canvas[y * height : (y + 1) * height, x * width : (x + 1) * width] = tile
    return {"src": _uri(canvas, lossless=lossless), "columns": columns, "rows": rows}


def _uri(picture: np.ndarray, *, lossless: bool = False) -> str:
    """A picture (h, w, 3) uint8 as a data: URI; exact ones as PNG, others as WebP."""
    import base64
    import io

    from PIL import Image

    stream = io.BytesIO()
    if lossless:
        Image.fromarray(picture).save(stream, "PNG", optimize=True)
    else:
        Image.fromarray(picture).save(stream, "WEBP", quality=85, method=4)
    kind = "png" if lossless else "webp"
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
