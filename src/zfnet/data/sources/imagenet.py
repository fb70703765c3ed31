"""Source `imagenet`: ILSVRC-2012 as downloaded, with class folders or the flat validation set."""

from __future__ import annotations

import csv
import io
import re
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np

import zfnet.data.sources.files as files
from zfnet.data.sample import SPLITS
from zfnet.errors import UserError

_GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
_DEVKIT = "ILSVRC2012_devkit_t12"
_KAGGLE_LABELS = "LOC_val_solution.csv"
_KAGGLE_NAMES = "LOC_synset_mapping.txt"
_VAL_NAME = re.compile(r"ILSVRC2012_val_(\d{8})\.[A-Za-z]+$")


def imagenet_source(path: Path) -> files.FileSource:
    """ILSVRC-2012 under one root; classes are the wnids of train/ in sorted order.

    train/<wnid>/*.JPEG is required. val/ holds <wnid>/ folders, or all images flat; then their
    labels come from the development kit (ground truth + meta.mat, unpacked or as .tar.gz) or from
    Kaggle's LOC_val_solution.csv. The Kaggle layout ILSVRC/Data/CLS-LOC/ is found by itself.
    Readable names come from LOC_synset_mapping.txt or meta.mat if present, else the wnids stay.
    Train comes class by class, a flat val in the files' order.

    Raises `UserError` for whatever is missing or does not fit together.
    """
    files.require_folder(path, "data.path")
    folder = _find_images(path)
    kaggle = [folder.parents[2]] if folder.name == "CLS-LOC" else []
    kit = _DevelopmentKit([folder, path, path.parent, *kaggle])
    flat = (folder / "val").is_dir() and not files.list_folders(folder / "val")
    if flat and (folder / "train").is_dir():
        wnids = files.list_folders(folder / "train")
        if not wnids:
            hint = " Unpack the per-class archives there."
            raise files.not_found("data.path", "one folder per wnid", folder / "train", hint)
        val = _flat_val(folder, wnids, kit)
    else:
        wnids = files.require_splits(folder, "data.path")
        val = files.class_tree(folder, "val", wnids)
    odd = [wnid for wnid in wnids if not re.fullmatch(r"n\d{8}", wnid)]
    if odd:
        raise UserError(
            f"{folder / 'train'}: folders not named by a wnid (n and 8 digits): "
            f"{files.first_few(odd)}. For other images set data.source=folder."
        )
    samples = {"train": files.class_tree(folder, "train", wnids), "val": val}
    classes = files.class_infos(wnids, kit.names())
    return files.FileSource("imagenet", folder, classes, samples, list(SPLITS))


def _find_images(path: Path) -> Path:
    """Return the folder that holds train/ and val/, also in Kaggle's layout."""
    for below in ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC"):
        if (path / below / "train").is_dir():
            return path / below
    return path


def _flat_val(folder: Path, wnids: list[str], kit: _DevelopmentKit) -> files.FileSamples:
    """Label the flat validation images by the development kit or by Kaggle's list."""
    names = list(files.walk_files(folder / "val"))
    if not names:
        raise UserError(f"{folder / 'val'}: the folder is empty. Unpack val there.")
    truth = kit.validation_wnids()
    if truth is None:
        raise UserError(
            f"{folder / 'val'} holds its images flat, and their labels were not found. "
            f"Looked for {_DEVKIT}/ (or {_DEVKIT}.tar.gz) with {_GROUND_TRUTH} and meta.mat, "
            f"or {_KAGGLE_LABELS}, in {', '.join(map(str, kit.folders))}. Put one there, or sort "
            f"the images into val/<wnid>/."
        )
    unknown = [name for name in names if _number(name) not in truth]
    if unknown:
        raise UserError(
            f"{folder / 'val'}: no ground truth for {files.first_few(unknown)} (expected names "
            f"like ILSVRC2012_val_00000001.JPEG, numbers up to {max(truth)}). Labels are "
            f"never guessed."
        )
    found = [truth[_number(name)] for name in names]
    files.same_classes(folder, set(wnids), set(found))
    index = {wnid: i for i, wnid in enumerate(wnids)}
    labels = np.array([index[wnid] for wnid in found], np.int32)
    return files.FileSamples(folder, [str(Path("val") / name) for name in names], labels)


def _number(name: str) -> int:
    """Return the image number in a validation file's name, 0 if it has none."""
    match = _VAL_NAME.search(name)
    return int(match[1]) if match else 0


class _DevelopmentKit:
    """The label files of ILSVRC-2012, searched in a few folders; all parts optional."""

    def __init__(self, folders: list[Path]) -> None:
        self.folders = list(dict.fromkeys(folders))

    def _read(self, name: str) -> bytes | None:
        """Return the bytes of a kit file from the first place that has it."""
        for folder in self.folders:
            for place in (folder, folder / "data", folder / _DEVKIT / "data", folder / _DEVKIT):
                if (place / name).is_file():
                    return (place / name).read_bytes()
            archive = folder / f"{_DEVKIT}.tar.gz"
            if archive.is_file() and name in (_GROUND_TRUTH, "meta.mat"):
                with tarfile.open(archive) as tar:
                    member = tar.extractfile(f"{_DEVKIT}/data/{name}")
                    return member.read() if member else None
        return None

    def _synsets(self) -> list[tuple[int, str, str]]:
        """Return (ILSVRC2012_ID, wnid, words) of the leaf classes in meta.mat, [] without it."""
        content = self._read("meta.mat")
        if content is None:
            return []
        from scipy.io import loadmat

        table = np.atleast_1d(loadmat(io.BytesIO(content), squeeze_me=True)["synsets"])
        rows = zip(
            *(table[k] for k in ("ILSVRC2012_ID", "WNID", "words", "num_children")), strict=True
        )
        return [(int(i), str(wnid), str(words)) for i, wnid, words, kids in rows if not int(kids)]

    def validation_wnids(self) -> dict[int, str] | None:
        """Return {image number from 1: wnid} of the validation set, or None if nothing tells."""
        listed = self._read(_KAGGLE_LABELS)
        if listed is not None:
            rows = csv.DictReader(io.StringIO(listed.decode()))
            return {_number(r["ImageId"] + ".JPEG"): r["PredictionString"].split()[0] for r in rows}
        truth = self._read(_GROUND_TRUTH)
        if truth is None:
            return None
        # The ground truth counts classes in the kit's own order, which is not that of the wnids.
        wnid = {number: id for number, id, _ in self._synsets()}
        if not wnid:
            raise UserError(
                f"{_GROUND_TRUTH} was found, but not meta.mat, which says what its numbers mean. "
                f"Unpack the whole {_DEVKIT}."
            )
        numbers = [int(line) for line in truth.split()]
        strange = sorted(set(numbers) - wnid.keys())
        if strange:
            raise UserError(f"{_GROUND_TRUTH}: class {strange[0]} is not in meta.mat.")
        return {i: wnid[number] for i, number in enumerate(numbers, 1)}

    def names(self) -> dict[str, str]:
        """Return {wnid: readable name}: the first synonym, all of them where it is ambiguous."""
        mapping = self._read(_KAGGLE_NAMES)
        if mapping is not None:
            lines = (line.partition(" ") for line in mapping.decode().splitlines())
            words = {wnid: rest.strip() for wnid, _, rest in lines if rest.strip()}
        else:
            words = {wnid: text for _, wnid, text in self._synsets()}
        first = {wnid: text.split(",")[0].strip() for wnid, text in words.items()}
        seen = Counter(first.values())
        return {w: name if seen[name] == 1 else words[w] for w, name in first.items()}
