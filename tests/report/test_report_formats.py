import pytest

from zfnet.figures.kit.words import words
from zfnet.report import formats
from zfnet.report.facts import where

THIN = formats.THIN


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (True, "yes"),
        (62357608, "62,357,608"),
        (0.5366312, "0.537"),
        (0.7, "0.7"),
        (0.7004, "0.700"),
        (-1234.567, "−1,235"),
        (10.0, "10"),
        (3.2e-7, "3.20e−07"),
        (0.0, "0"),
        ("n01440764", "n01440764"),
    ],
)
def test_plain_values(value, text):
    assert formats.number(value) == text


@pytest.mark.parametrize(
    ("cell", "number"),
    [(3, True), (0.5, True), ("−0.1 [−0.2, 0.0]", True), (True, False), ("3x3 max", False),
     ("n01440764", False), (None, False)],
)  # fmt: skip
def test_cells_that_are_numbers(cell, number):
    assert formats.is_number(cell) == number


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (4.25, f"4.2{THIN}s"),
        (59.9, f"60{THIN}s"),
        (59.97, f"1{THIN}min 00{THIN}s"),
        (187, f"3{THIN}min 07{THIN}s"),
        (7500, f"2{THIN}h 05{THIN}min"),
    ],
)
def test_durations(seconds, text):
    assert formats.duration(seconds) == text


def test_dates():
    assert formats.date("2026-11-22T00:09:25Z") == "2026-11-22 00:09 UTC"
    assert formats.date(None) == "–"


@pytest.mark.parametrize(
    ("key", "heading"),
    [
        ("layer2_mid", "Layer 2 mid"),
        ("zfnet_minus_alexnet", "ZFNet minus AlexNet"),
        ("zfnet_layer1_low", "ZFNet, layer 1 low"),
        ("val_top1_alexnet_no34", "Validation top-1 error of AlexNet without 3, 4"),
        ("val_top1_error", "Validation top-1 error"),
        ("cost_removing_3_4_6_7", "Cost of removing layers 3, 4, 6, 7"),
        ("caltech101_pretrained_2", "Caltech-101: pretrained, 2 images a class"),
        ("voc2012_softmax_map", "PASCAL VOC 2012: softmax, mean average precision"),
    ],
)
def test_a_key_becomes_a_heading(key, heading):
    assert words(key) == heading


@pytest.mark.parametrize(
    ("tap", "read"),
    [
        ("5.relu", "output of the rectifier of layer 5"),
        ("5.out, 7.out", "output of layers 5 and 7"),
        ("1: layer1, 3: layer3.relu", "output of layers 1 and 3"),
        ("conv", "output of the convolution of each layer"),
        ("features", "features"),
    ],
)
def test_a_tap_says_what_was_read(tap, read):
    assert where(tap) == read
