"""Draws docs/figures/four_rules.webp: the four rules for rectifiers, on one image and one unit.

    python docs/four_rules.py [--net models/zfnet/final] [--data data/prepared]
        [--image 0] [--layer 5] [--unit N] [--out docs/figures/four_rules.webp]

Forward mask across, gradient mask down. Without --unit the strongest map of the layer is taken.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from zfnet.errors import UserError
from zfnet.figures.kit.grid import pale_outside, resize, signed_to_rgb
from zfnet.figures.kit.style import FAINT, INK, sheet, text_width, write

if TYPE_CHECKING:
    import numpy as np

    from zfnet.data.store import PreparedSplit

TILE = 256  # twice 128 px: pixels stay whole, so that the file stays small
GAP = 14
LABEL = 32
BESIDE = 40
MARGIN = 8
# Row by row: the gradient mask comes in below, the forward mask at the right.
RULES = {
    "linear": "rectifiers ignored",
    "plain": "the gradient",
    "deconvnet": "Zeiler & Fergus",
    "guided": "guided backprop",
}
COLUMNS = ("no forward mask", "forward mask 1[x > 0]")
ROWS = ("no gradient mask", "gradient mask 1[g > 0]")


@dataclass(frozen=True)
class Pictures:
    """What is drawn: the image (px, px, 3) uint8 and, by rule, its projection alike."""

    image: np.ndarray
    rules: dict[str, np.ndarray]
    subject: str
    unit: str


def project_all(net_folder: Path, data: Path, image: str, layer: str, unit: int | None) -> Pictures:
    """Project one unit of one validation image by each rule; each has a scale of its own."""
    import torch

    from zfnet.data.datasets import centre_crop, pixels
    from zfnet.data.store import Prepared
    from zfnet.methods import project, receptive_field, top_activations
    from zfnet.models.checkpoint import load_net

    net, prepared = load_net(net_folder), Prepared.open(data)
    split = prepared.split("val")
    row, path = row_of(split, image), net.tap(layer)
    shown = centre_crop(pixels(split, [row]), net.input_px)
    x = net.normalise(shown)
    best = top_activations(net.model, [(x, torch.arange(1))], [path], k=1)[path]
    if unit is None:
        unit = int(best.values[:, 0].argmax())
    place = best.places[unit]  # (1, 2)
    box = receptive_field(net.model, path, net.input_px).box(*place[0].tolist())
    drawn = {}
    for rule in RULES:
        down = project(net.model, x, path, unit, rule=rule, places=place)
        drawn[rule] = signed_to_rgb(down[0].permute(1, 2, 0).numpy())
    seen = pale_outside(shown[0].permute(1, 2, 0).numpy(), box)
    name = prepared.classes[int(split.labels[row])].name
    return Pictures(seen, drawn, name, f"unit {unit} of layer {layer}")


def row_of(split: PreparedSplit, image: str) -> int:
    """The row of an image given by its number or its id. UserError if there is none such."""
    if image in split.ids:
        return split.ids.index(image)
    if image.isdigit() and int(image) < len(split):
        return int(image)
    raise UserError(f"--image {image}: neither a row 0..{len(split) - 1} nor an id of the split")


def draw(pictures: Pictures) -> Image.Image:
    """The image at the left, the two by two at the right."""
    grid_x = TILE + BESIDE + LABEL
    width = grid_x + 2 * TILE + GAP
    top = LABEL + 4
    step = LABEL + TILE + GAP
    picture, pen = sheet(width, top + 2 * step - GAP)
    for column, text in enumerate(COLUMNS):
        x = grid_x + column * (TILE + GAP)
        write(pen, (x + TILE / 2, LABEL / 2), text, 19, anchor="mm")
    for row, text in enumerate(ROWS):
        middle = top + row * step + LABEL + TILE // 2
        picture.paste(upright(text, 19), (grid_x - LABEL, middle - TILE // 2))
    for number, (rule, known_as) in enumerate(RULES.items()):
        row, column = divmod(number, 2)
        x, y = grid_x + column * (TILE + GAP), top + row * step
        write(pen, (x, y + LABEL / 2), rule, 20, bold=True)
        write(pen, (x + TILE, y + LABEL / 2), known_as, 17, anchor="rm", fill=FAINT)
        picture.paste(resize(pictures.rules[rule], TILE, sharp=True), (x, y + LABEL))
    y = top + (2 * step - GAP + LABEL - TILE) // 2
    picture.paste(resize(pictures.image, TILE), (0, y))
    write(pen, (0, y - LABEL / 2), pictures.subject, 20, bold=True)
    room = TILE - text_width(pictures.subject + " ", 20, bold=True)
    if text_width(pictures.unit, 17) <= room:
        write(pen, (TILE, y - LABEL / 2), pictures.unit, 17, anchor="rm", fill=FAINT)
    else:
        write(pen, (0, y + TILE + LABEL / 2), pictures.unit, 17, fill=FAINT)
    framed, _ = sheet(width + 2 * MARGIN, picture.height + 2 * MARGIN)
    framed.paste(picture, (MARGIN, MARGIN))
    return framed


def upright(text: str, size: int) -> Image.Image:
    """A line of text that reads upwards, centred along one tile."""
    strip, pen = sheet(TILE, LABEL)
    write(pen, (TILE / 2, LABEL / 2 - 4), text, size, anchor="mm", fill=INK)
    return strip.rotate(90, expand=True)


def main() -> None:
    """Parse the command line and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", type=Path, default=Path("models/zfnet/final"))
    parser.add_argument("--data", type=Path, default=Path("data/prepared"))
    parser.add_argument("--image", default="0", help="row or id in the validation split")
    parser.add_argument("--layer", default="5")
    parser.add_argument("--unit", type=int, help="default: the strongest map")
    parser.add_argument("--out", type=Path, default=Path("docs/figures/four_rules.webp"))
    given = parser.parse_args()
    try:
        pictures = project_all(given.net, given.data, given.image, given.layer, given.unit)
    except UserError as error:
        sys.exit(str(error))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    draw(pictures).save(given.out, quality=84, method=6)
    print(f"{given.out}: {pictures.subject}, {pictures.unit}")


if __name__ == "__main__":
    main()
