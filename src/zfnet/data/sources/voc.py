"""Source `voc`: PASCAL VOC 2007 and 2012, photos with several labels each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import zfnet.data.sources.files as files
from zfnet.data.multilabel import DIFFICULT, PRESENT
from zfnet.data.sample import SPLITS, Box, Sample
from zfnet.data.sources.fetched import Fetched, by_torchvision
from zfnet.errors import UserError

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
_NAMES = {"diningtable": "dining table", "pottedplant": "potted plant", "tvmonitor": "tv monitor"}

# The image sets that stand for train and val. The labels of 2012's test set are not public.
SETS = {2007: ("trainval", "test"), 2012: ("train", "val")}
ARCHIVES = {
    2007: (("trainval", "VOCtrainval_06-Nov-2007.tar"), ("test", "VOCtest_06-Nov-2007.tar")),
    2012: (("trainval", "VOCtrainval_11-May-2012.tar"),),
}


@dataclass(frozen=True)
class _Photo:
    """What the set knows of one photo: its name, exclusive label, labels, largest object's box."""

    name: str
    label: int
    present: str
    difficult: str
    box: Box


@dataclass(frozen=True)
class VOCSamples:
    """The photos of one image set."""

    folder: Path
    photos: list[_Photo]

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> Sample:
        photo = self.photos[index]
        file = f"JPEGImages/{photo.name}.jpg"
        return Sample(
            file,
            photo.label,
            path=self.folder / file,
            box=photo.box,
            attributes={PRESENT: photo.present, DIFFICULT: photo.difficult},
        )


def voc_source(path: Path, year: int, *, section: str) -> files.FileSource:
    """PASCAL VOC of one year: 2012 train and val, or 2007 trainval and test, as train and val.

    The attribute `present` of a photo names the classes that ImageSets/Main says it shows (1),
    `difficult` those of which it shows only objects marked as difficult (0, left out when scoring);
    both as class ids with spaces between them. The label, which the paper's softmax needs, is our
    choice of one class: that of the largest box in the annotation that is not marked difficult (of
    all boxes if all are; the first of equal ones). `box` is that box.

    Raises `UserError`, naming the key below `section`, for a folder that is not such a set, or for
    lists and annotations that do not fit together.
    """
    files.require_folder(path, f"{section}.path")
    folder = _find_year(path, year, f"{section}.path")
    samples = dict(zip(SPLITS, (_read(folder, each) for each in SETS[year]), strict=True))
    return files.FileSource(
        f"voc{year}", folder, files.class_infos(CLASSES, _NAMES), samples, ["JPEGImages"]
    )


def _read(folder: Path, image_set: str) -> VOCSamples:
    lists = folder / "ImageSets" / "Main"
    names = [row[0] for row in _rows(lists / f"{image_set}.txt")]
    flags = {id: _flags(lists / f"{id}_{image_set}.txt", names) for id in CLASSES}
    photos = []
    for number, name in enumerate(names):
        label, box = _largest(folder / "Annotations" / f"{name}.xml")
        shown = [id for id in CLASSES if flags[id][number] == 1]
        unclear = [id for id in CLASSES if flags[id][number] == 0]
        photos.append(_Photo(name, label, " ".join(shown), " ".join(unclear), box))
    return VOCSamples(folder, photos)


def _find_year(path: Path, year: int, setting: str) -> Path:
    """Return the folder VOC<year> at, in or under VOCdevkit in `path`."""
    for place in (path, path / f"VOC{year}", path / "VOCdevkit" / f"VOC{year}"):
        if (place / "JPEGImages").is_dir() and (place / "ImageSets" / "Main").is_dir():
            return place
    wanted = f"VOCdevkit/VOC{year}/ with JPEGImages/, Annotations/ and ImageSets/Main/"
    raise files.not_found(setting, wanted, path)


def _rows(file: Path) -> list[list[str]]:
    """Return the words of every line that has any."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{file}: cannot be read ({error.strerror}). Unpack the set again; 2007's test set has "
            "an archive of its own, VOCtest_06-Nov-2007.tar."
        ) from error
    return [line.split() for line in text.splitlines() if line.strip()]


def _flags(file: Path, names: Sequence[str]) -> list[int]:
    """Return -1 (absent), 0 (only difficult ones) or 1 (present) of one class for each image."""
    rows = _rows(file)
    found = {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1] in ("-1", "0", "1")}
    if len(found) < len(rows):
        raise UserError(f"{file}: expected lines of an image's name and -1, 0 or 1.")
    missing = [name for name in names if name not in found]
    if missing:
        raise UserError(
            f"{file}: says nothing of {files.first_few(missing)}. Unpack the set again."
        )
    return [found[name] for name in names]


def _largest(file: Path) -> tuple[int, Box]:
    """Return label and box (x0, y0, x1, y1 px) of the largest object that is not difficult."""
    try:
        root = ElementTree.parse(file).getroot()
        objects = [
            (_text(one, "difficult", "0") == "1", _text(one, "name"), _box(one))
            for one in root.iter("object")
        ]
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise UserError(f"{file}: cannot be read as an annotation ({error}).") from error
    known = [one for one in objects if one[1] in CLASSES]
    if not known:
        raise UserError(f"{file}: names no object of the {len(CLASSES)} classes.")
    clear = [one for one in known if not one[0]] or known
    _, name, box = max(clear, key=lambda one: (one[2][2] - one[2][0]) * (one[2][3] - one[2][1]))
    return CLASSES.index(name), box


def _text(element: ElementTree.Element, name: str, default: str | None = None) -> str:
    found = element.findtext(name, default)
    if found is None:
        raise ValueError(f"an object without {name}")
    return found.strip()


def _box(element: ElementTree.Element) -> Box:
    """Turn VOC's box, whose pixels count from 1 and include both ends, into edges from 0."""
    bounds = element.find("bndbox")
    if bounds is None:
        raise ValueError("an object without bndbox")
    x0, y0, x1, y1 = (float(_text(bounds, name)) for name in ("xmin", "ymin", "xmax", "ymax"))
    return x0 - 1, y0 - 1, x1, y1


def to_fetch(year: int) -> list[Fetched]:
    """Say where the parts of a year lie below the raw folder and how they are fetched."""
    lists = Path("VOCdevkit") / f"VOC{year}" / "ImageSets" / "Main"
    page = f"http://host.robots.ox.ac.uk/pascal/VOC/voc{year}/"
    return [
        Fetched(
            f"PASCAL VOC {year} ({image_set})", lists / f"{image_set}.txt", (archive,), Path(),
            by_torchvision("VOCDetection", year=str(year), image_set=image_set), page,
        )
        for image_set, archive in ARCHIVES[year]
    ]  # fmt: skip
