"""Labels of the ILSVRC validation photographs: their places, by torchvision's own list."""

from __future__ import annotations

import json

import numpy as np
import pytest

from zfnet.data import reassessed
from zfnet.data.reassessed import IMAGENETTE, outside, photo_numbers, places_of, read_reassessed
from zfnet.data.sample import ClassInfo
from zfnet.data.sources.imagenette import CLASS_NAMES
from zfnet.errors import UserError


def infos(*wnids):
    return [ClassInfo(i, wnid, wnid) for i, wnid in enumerate(wnids)]


def test_imagenettes_places_are_those_of_its_names_in_torchvisions_list():
    from torchvision.models._meta import _IMAGENET_CATEGORIES as CATEGORIES

    assert {wnid: CATEGORIES[place] for wnid, place in IMAGENETTE.items()} == CLASS_NAMES


def test_places_of_other_classes_need_a_list(tmp_path):
    every = [f"n{10_000_000 + i}" for i in range(1000)]
    assert places_of(infos(*every[::-1]), tmp_path)[:2] == [999, 998]
    some = infos(every[7], every[3])
    assert places_of(some, tmp_path) is None
    lines = "".join(f"{wnid} name, other\n" for wnid in every[::-1])
    (tmp_path / reassessed.SYNSETS).write_text(lines)
    assert places_of(some, tmp_path) == [7, 3]
    assert places_of(infos("cat"), tmp_path) is None
    assert places_of(infos("n01440764", "n03888257"), tmp_path) == [0, 701]


def test_the_place_of_a_photograph_is_its_number_minus_one():
    ids = ["val/a/ILSVRC2012_val_00000002.JPEG", "n01_5.JPEG", "ILSVRC2012_val_00000001.png",
           "ILSVRC2012_val_00050001.JPEG", "ILSVRC2012_val_000000010.JPEG"]  # fmt: skip
    numbers = photo_numbers(ids)
    assert numbers == {0: 2, 2: 1}
    labels = [[217], [5, 0], *([[]] * 49_998)]
    rows, apart = outside(labels, numbers, np.array([0, 0, 1, 0, 0]), [0, 482])
    assert dict(zip(rows.tolist(), apart.tolist(), strict=True)) == {0: False, 2: True}
    labels[1] = []  # nobody agreed: left out
    assert outside(labels, numbers, np.zeros(5, int), [0])[0].tolist() == [2]


@pytest.mark.parametrize("content", ["[[1]]", "{", '{"a": 1}', "[" + "[1000]," * 49_999 + "[1]]",
                                     "[" + '["a"],' * 49_999 + "[1]]"])  # fmt: skip
def test_other_files_are_refused(tmp_path, content):
    file = tmp_path / "real.json"
    file.write_text(content)
    with pytest.raises(UserError, match=r"real\.json"):
        read_reassessed(file)
    file.write_text(json.dumps([[i % 1000] for i in range(50_000)]))
    assert read_reassessed(file)[1001] == [1]
