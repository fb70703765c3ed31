"""The paper's recipe as data, the learning rate as a function of history, and the departures.

Nothing here needs torch. Facts are from Zeiler & Fergus 2014 (arXiv v3), section 3 and Fig. 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

PAPER_CLASSES = 1000
PAPER_STORED_PX = 256
PAPER_WIDTH = 1.0
PAPER_INPUT_PX = {"zfnet": 224, "alexnet": 227}
TABLE_3_FC_UNITS = (2048, 4096, 8192)
TABLE_3_MIDDLE_MAPS = (512, 1024, 512)
NOT_STATED = "not stated"


def learning_rate(training: Mapping[str, Any], epoch: int, val_errors: Sequence[float]) -> float:
    """Rate of `epoch` (from 1), given the validation errors (%) of the epochs before it.

    A pure function of the history, so that a resumed run needs no state of a scheduler. "plateau"
    does what the paper's authors did by hand: when the error has not improved by `threshold` points
    for more than `patience` epochs, the rate is multiplied by `factor` and the count starts anew.
    "steps" multiplies by `factor` after each of the shares `at` of the training length.
    """
    rate = float(training["lr"])
    if training["schedule"] == "steps":
        steps = training["steps"]
        passed = [share for share in steps["at"] if epoch - 1 >= round(share * training["epochs"])]
        return float(rate * steps["factor"] ** len(passed))
    plateau = training["plateau"]
    best, bad = float("inf"), 0
    for error in val_errors[: epoch - 1]:
        if error < best - plateau["threshold"]:
            best, bad = error, 0
        else:
            bad += 1
        if bad > plateau["patience"]:
            rate, bad = rate * plateau["factor"], 0
    return rate


def departures(
    model: Mapping[str, Any], training: Mapping[str, Any], data: Mapping[str, Any]
) -> list[dict[str, str]]:
    """List where this run departs from the paper, and what it had to choose where that is silent.

    `model` and `training` are the config's sections; `data` holds source, size (px), classes,
    images and upsampled (training images that were enlarged). Each entry: what, paper, here, why,
    and kind: "departure", "row" (a row of the paper's Table 3) or "open" (the paper does not say).
    """
    found = [*_data(data), *_model(model), *_training(model, training)]
    keys = ("kind", "what", "paper", "here", "why")
    return [dict(zip(keys, map(str, entry), strict=True)) for entry in found]


Entry = tuple[str, str, Any, Any, str]


def _data(data: Mapping[str, Any]) -> Iterator[Entry]:
    if data["source"] != "imagenet" or data["classes"] != PAPER_CLASSES:
        here = f"{data['source']}: {data['images']:,} images of {data['classes']} classes"
        why = "smaller data, so that the pipeline runs without ImageNet"
        yield "departure", "training data", "ILSVRC-2012: 1.3 M images of 1000 classes", here, why
    if data["size"] != PAPER_STORED_PX:
        why = "fits the input of the net" if data["size"] < PAPER_STORED_PX else "config"
        yield "departure", "stored image, px", PAPER_STORED_PX, data["size"], why
    if data["upsampled"]:
        why = "their short side is below the stored size"
        yield "departure", "enlarged training images", "none known", data["upsampled"], why


def _model(model: Mapping[str, Any]) -> Iterator[Entry]:
    px = PAPER_INPUT_PX.get(model["arch"], 224)
    if model["arch"] == "alexnet":
        groups = "groups of two" if model["grouped"] else "groups joined"
        why = "the paper does not say whether its replica kept Krizhevsky's groups"
        yield "open", "AlexNet replica, layers 2, 4, 5", NOT_STATED, groups, why
    if model["input_px"] != px:
        why = "less to compute; the fields of the layers cover a larger share of the image"
        yield "departure", "input, px", px, model["input_px"], why
    if model["width"] != PAPER_WIDTH:
        why = "less to compute: maps and hidden units are multiplied by this"
        yield "departure", "width", 1, model["width"], why
    if model["without"]:
        why = "an ablation of Table 3"
        yield "row", "layers left out", "none", ", ".join(map(str, model["without"])), why
    if model["fc_units"] != 4096:
        row = model["fc_units"] in TABLE_3_FC_UNITS
        why = "a row of Table 3" if row else "config"
        kind = "row" if row else "departure"
        yield kind, "units of layers 6 and 7 (before width)", 4096, model["fc_units"], why
    if model["middle_maps"] is not None:
        row = tuple(model["middle_maps"]) == TABLE_3_MIDDLE_MAPS
        why = "a row of Tables 2 and 3" if row else "config"
        kind = "row" if row else "departure"
        yield kind, "maps of layers 3-5 (before width)", "384, 384, 256", model["middle_maps"], why
    for layer, values in (model["changes"] or {}).items():
        yield "departure", f"layer {layer}", "as in Fig. 3", dict(values), "config"
    lrn = model["lrn"]
    constants = f"{lrn['size']} maps, alpha {lrn['alpha']:g}, beta {lrn['beta']:g}, k {lrn['k']:g}"
    why = "Krizhevsky's constants; alpha is divided by the number of maps, as torch does"
    yield "open", "contrast normalisation", NOT_STATED, constants, why


def _training(model: Mapping[str, Any], training: Mapping[str, Any]) -> Iterator[Entry]:
    values: list[tuple[str, str, Any, str]] = [
        ("epochs", "epochs", 70, "time, or a schedule that needs another number"),
        ("batch_size", "images a step", 128, "config"),
        ("lr", "first learning rate", 0.01, "config"),
        ("momentum", "momentum", 0.9, "config"),
        ("dropout", "dropout in layers 6 and 7", 0.5, "config"),
    ]
    for key, what, paper, why in values:
        if training[key] != paper:
            yield "departure", what, paper, training[key], why
    yield _schedule(training)
    yield _init(model, training)
    if training["crop"] != "ten" or not training["flip"]:
        here = f"{training['crop']} crop, {'with' if training['flip'] else 'without'} mirror images"
        why = "more, or fewer, different views of each image"
        yield "departure", "training views", "five fixed crops and their mirror images", here, why
    yield "open", "weight decay", NOT_STATED, f"{training['weight_decay']:g}", _decay_why(training)
    if training["max_filter_rms"] != 0.1:
        here = "no limit" if training["max_filter_rms"] is None else training["max_filter_rms"]
        yield "departure", "largest RMS of a filter", 0.1, here, "config"
    if training["precision"] != "32-true":
        why = "faster on a GPU; weights and their updates stay float32"
        yield "departure", "arithmetic", "float32", training["precision"], why
    both = "centre crop and mean of ten crops, both reported"
    yield "open", "test views", NOT_STATED, both, "the paper does not say which its tables use"


def _schedule(training: Mapping[str, Any]) -> Entry:
    what, paper = "learning-rate schedule", "lowered by hand when validation error stops improving"
    if training["schedule"] == "steps":
        steps = training["steps"]
        at = ", ".join(f"{100 * share:g} %" for share in steps["at"])
        here = f"times {steps['factor']:g} after {at} of the epochs"
        return "departure", what, paper, here, "known in advance, so runs can be compared"
    plateau = training["plateau"]
    here = (
        f"times {plateau['factor']:g} after {plateau['patience'] + 1} epochs without "
        f"{plateau['threshold']:g} points of progress"
    )
    return "open", what, paper, here, "the same rule without the hand; its factors are not stated"


def _init(model: Mapping[str, Any], training: Mapping[str, Any]) -> Entry:
    what, paper = "first weights", "10^-2, distribution not stated; biases 0"
    if training["init"] == "paper":
        return "open", what, paper, "N(0, 0.01^2), biases 0", "the customary reading of 10^-2"
    if training["init"] == "scaled":
        deviation = 0.01 / model["width"] ** 0.5
        here = f"N(0, {deviation:.3g}^2), biases 0"
        why = "below paper size the constant 0.01 never leaves chance"
        return ("departure" if model["width"] != 1 else "open"), what, paper, here, why
    why = "He et al. 2015; scales with the fan-in"
    return "departure", what, paper, "N(0, 2 / fan-in), biases 0", why


def _decay_why(training: Mapping[str, Any]) -> str:
    return "Krizhevsky's was 0.0005" if training["weight_decay"] else "none is stated, none is used"
