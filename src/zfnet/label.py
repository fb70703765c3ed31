"""`zfnet label` writes a page on which a person labels the net's pictures, without their answers.

`zfnet humans add FILE.csv` takes what the page gave.
"""

from __future__ import annotations

import argparse
import base64
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zfnet import MAIN_NET
from zfnet.data import answers
from zfnet.errors import UserError
from zfnet.files import read_json, write_text, write_whole
from zfnet.show import writable

if TYPE_CHECKING:
    from zfnet.data.store import Prepared

EXAMPLES = 5  # training images that stand for each class
PRACTICE = 10  # training images with feedback, before the test
THUMBNAIL_PX = 80  # of an example; smaller where there are many classes
MANY_CLASSES, SMALL_PX = 50, 56
MOST_BYTES = 20_000_000
KEYS = "123456789abcdefghijklmnopqrstuvwxyz"
USAGE = """\
examples:
  zfnet label                        label.html: 100 pictures of the validation split
  zfnet label --n 300 --seed 1       others, in another order
  zfnet humans add zfnet-answers-ann.csv
"""


def main(argv: Sequence[str]) -> int:
    """Write the page and say where. Returns 0."""
    parser = argparse.ArgumentParser(
        prog="zfnet label", description=__doc__, epilog=USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--n", type=int, default=100, help="pictures that count (default 100)")
    parser.add_argument("--seed", type=int, default=0, help="which, in what order (default 0)")
    parser.add_argument("--out", default="label.html", help="page to write (default label.html)")
    given = parser.parse_args(argv)
    out = writable(given.out, "page", ".html", ".htm")
    if given.n < answers.LEAST:
        raise UserError(
            f"--n {given.n}: at least {answers.LEAST}; of fewer pictures an error rate says little"
        )
    if given.seed < 0:
        raise UserError(f"--seed {given.seed}: a whole number from 0")
    _, prepared, px = _checkout()
    document = page(prepared, px, given.n, given.seed)
    size = write(document, out)
    shown = len(document["test"])
    few = f", all that there are of {given.n}" if shown < given.n else ""
    print(f"wrote {out} ({size / 1e6:.1f} MB): {shown} pictures at {px} px{few}")
    print("open it in a browser; then: zfnet humans add FILE.csv")
    return 0


def add(argv: Sequence[str]) -> int:
    """Check a person's answers and copy them to data/humans. Returns 0."""
    parser = argparse.ArgumentParser(prog="zfnet humans add", description=add.__doc__)
    parser.add_argument("file", metavar="FILE.csv", help="what the page of `zfnet label` gave")
    file = Path(parser.parse_args(argv).file)
    if not file.is_file():
        raise UserError(f"{file}: no such file")
    root, prepared, px = _checkout()
    for line in take(file, prepared, px, root / "data" / "humans"):
        print(line)
    return 0


def take(file: Path, prepared: Prepared, px: int, folder: Path) -> list[str]:
    """Copy `file` into `folder` under its person's name; lines that say what was in it.

    Raises UserError for what `read_answers` refuses, and for a person who has answers there.
    """
    one = answers.read_answers(file, prepared, px)
    stem = re.sub(r"[^\w]+", "-", one.name.lower()).strip("-_") or "person"
    target = folder / f"{stem}.csv"
    content = file.read_bytes()
    if target.is_file() and target.read_bytes() != content:
        raise UserError(
            f"{target} holds other answers of {one.name}: remove that file to replace it; a second "
            "round of one person needs a name of its own"
        )
    write_whole(target, lambda to: to.write(content))
    lines = [f"{target}: {len(one.rows)} pictures by {one.name}, {one.practice} of practice aside"]
    if one.repeated:
        lines.append(f"{one.repeated} answers repeat a picture: the first counts")
    return [*lines, "compare: dvc repro humans, or zfnet humans"]


def page(prepared: Prepared, px: int, n: int, seed: int) -> dict[str, Any]:
    """What the page holds: pictures as the net sees them at `px`, names of classes, examples.

    Of the pictures that count there is no id, label or file name; they come in a seeded order of
    all validation images, so that classes come as often as they do there. Examples and practice are
    of the training split. Raises UserError where a class has too few images for both.
    """
    from zfnet.data.views import NetView

    mark = prepared.meta.fingerprint
    train, val = NetView(prepared, "train", px), NetView(prepared, answers.SPLIT, px)
    if len(val) < answers.LEAST:
        raise UserError(f"{prepared.path} has {len(val)} validation images: too few to label")
    order = answers.picture_order(len(val), seed)[:n].tolist()
    shuffled = np.random.default_rng([seed, 17]).permutation(len(train))
    labels = np.asarray(train.split.labels)[shuffled]
    by_class = [shuffled[labels == each.index].tolist() for each in prepared.classes]
    chosen = {row for rows in by_class for row in rows[:EXAMPLES]}
    practice = [int(row) for row in shuffled if row not in chosen][:PRACTICE]
    small = SMALL_PX if len(by_class) > MANY_CLASSES else THUMBNAIL_PX
    classes = [
        {
            "id": info.id,
            "name": info.name,
            "key": KEYS[i] if i < len(KEYS) else "",
            "examples": [_thumbnail(train.image(row), small) for row in rows[:EXAMPLES]],
        }
        for i, (info, rows) in enumerate(zip(prepared.classes, by_class, strict=True))
    ]
    ids, own = val.split.ids, train.split.ids
    return {
        "fingerprint": mark,
        "version": answers.PAGE_VERSION,
        "px": px,
        "seed": seed,
        "least": answers.LEAST,
        "columns": answers.COLUMNS,
        "sure": answers.SURE,
        # what only the comparison shows is no reason to give here
        "reasons": {k: v for k, v in answers.REASONS.items() if k not in ("unaware", "label")},
        "classes": classes,
        "test": [{"id": answers.opaque(mark, ids[row]), "src": _exact(val.image(row))}
                 for row in order],
        "practice": [
            {
                "id": answers.opaque(mark, own[row]),
                "src": _exact(train.image(row)),
                "class": prepared.classes[int(train.split.labels[row])].id,
            }
            for row in practice
        ],
    }  # fmt: skip


def write(document: dict[str, Any], out: Path) -> int:
    """Write the page; returns its size in bytes. Raises UserError if it would be too large."""
    from zfnet.report.site import environment

    text = environment().get_template("label.html.j2").render(page=document)
    size = len(text.encode())
    if size > MOST_BYTES:
        raise UserError(
            f"the page would have {size / 1e6:.0f} MB, and {MOST_BYTES // 10**6} are the most that "
            f"browsers open well: ask for fewer pictures (--n {len(document['test']) // 2})"
        )
    write_text(out, text)
    return size


def _checkout() -> tuple[Path, Prepared, int]:
    """The project's root, its prepared images, and the px that its main net sees."""
    from zfnet.data.store import Prepared
    from zfnet.pipeline.paths import find_root

    root = find_root()
    prepared = Prepared.open(root / "data" / "prepared")
    net = root / "models" / MAIN_NET / "final" / "net.json"
    if not net.is_file():
        raise UserError(
            f"{net} is missing, which says how large the net's pictures are: run `dvc repro` first"
        )
    return root, prepared, int(read_json(net)["input_px"])


def _exact(picture: np.ndarray) -> str:
    """A picture (h, w, 3) uint8 as a data: URI, without loss and without a word on its origin."""
    return _uri(picture, lossless=True, quality=80, method=4)


def _thumbnail(picture: np.ndarray, px: int) -> str:
    from zfnet.figures.kit.grid import thumbnail

    return _uri(thumbnail(np.ascontiguousarray(picture), px), quality=82, method=4)


def _uri(picture: np.ndarray, **how: Any) -> str:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(stream, "WEBP", **how)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"
