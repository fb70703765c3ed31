"""What is listed of a net that departs from the paper."""

from __future__ import annotations

from typing import Any

import pytest

from zfnet.figures.departures import departures
from zfnet.pipeline.options import ModelOptions, TrainingOptions

PAPER_MODEL = ModelOptions().model_dump(mode="json")
PAPER_TRAINING = TrainingOptions().model_dump(mode="json")
IMAGENET = {
    "source": "imagenet",
    "size": 256,
    "images": 1_281_167,
    "upsampled": 0,
}


def net(model: Any = PAPER_MODEL, training: Any = PAPER_TRAINING, data: Any = IMAGENET,
        classes: int = 1000) -> dict[str, Any]:  # fmt: skip
    """The content of a net.json."""
    provenance = {"net": "zfnet", "seed": 0, "model": model, "training": training, "data": data}
    return {"arch": "zfnet", "classes": ["a"] * classes, "provenance": provenance}


def test_the_paper_itself_leaves_questions_but_no_departures() -> None:
    found = departures(net())
    assert {entry["kind"] for entry in found} == {"open"}
    assert {"weight decay", "contrast normalisation", "test views", "first weights"} <= {
        entry["what"] for entry in found
    }
    assert all(entry["paper"] and entry["here"] and entry["why"] for entry in found)


@pytest.mark.parametrize(
    ("section", "change", "what", "here", "kind"),
    [
        ("model", {"width": 0.25}, "width", "0.25", "departure"),
        ("model", {"input_px": 128}, "input, px", "128", "departure"),
        ("model", {"without": [3, 4]}, "layers left out", "3, 4", "row"),
        ("model", {"fc_units": 2048}, "units of layers 6 and 7 (before width)", "2048", "row"),
        ("model", {"fc_units": 512}, "units of layers 6 and 7 (before width)", "512", "departure"),
        ("training", {"epochs": 16}, "epochs", "16", "departure"),
        ("training", {"weight_decay": 5e-4}, "weight decay", "0.0005", "open"),
        ("training", {"max_filter_rms": None}, "largest RMS of a filter", "no limit", "departure"),
        ("training", {"precision": "bf16-mixed"}, "arithmetic", "bf16-mixed", "departure"),
        ("data", {"size": 144}, "stored image, px", "144", "departure"),
        ("data", {"upsampled": 7}, "enlarged training images", "7", "departure"),
    ],
)
def test_a_changed_value_is_listed(
    section: str, change: dict[str, Any], what: str, here: str, kind: str
) -> None:
    sections = {"model": PAPER_MODEL, "training": PAPER_TRAINING, "data": IMAGENET}
    sections[section] = sections[section] | change
    found = [entry for entry in departures(net(**sections)) if entry["what"] == what]
    assert [(entry["here"], entry["kind"]) for entry in found] == [(here, kind)]


def test_small_data_crops_schedule_and_start_are_departures_with_their_values() -> None:
    training = PAPER_TRAINING | {"schedule": "steps", "crop": "random", "init": "scaled"}
    data = IMAGENET | {"source": "synthetic", "images": 2400}
    record = net(PAPER_MODEL | {"width": 0.25}, training, data, classes=12)
    found = {entry["what"]: entry for entry in departures(record)}
    assert found["training data"]["here"] == "synthetic: 2,400 images of 12 classes"
    assert found["learning-rate schedule"]["here"] == "times 0.1 after 60 %, 85 % of the epochs"
    assert found["training views"]["here"] == "random crop, with mirror images"
    assert found["first weights"]["here"] == "N(0, 0.02^2), biases 0"
    assert all(
        found[what]["kind"] == "departure"
        for what in ("training data", "learning-rate schedule", "training views", "first weights")
    )


def test_of_an_adopted_net_the_weights_are_named() -> None:
    (entry,) = departures({"arch": "torchvision/vgg11", "provenance": {"adopted": "vgg11.pth"}})
    assert (entry["kind"], entry["here"]) == (
        "departure",
        "torchvision/vgg11, weights from vgg11.pth",
    )


def test_a_record_without_a_recipe_has_none() -> None:
    assert departures({"arch": "zfnet", "classes": [], "provenance": {"training": {}}}) == []
