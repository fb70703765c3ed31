"""Where a net departs from the paper, in words, told by its net.json. Needs no torch.

Facts are from Zeiler & Fergus 2014 (arXiv v3), section 3 and Fig. 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

PAPER_CLASSES = 1000
PAPER_STORED_PX = 256
PAPER_WIDTH = 1.0
PAPER_INPUT_PX = {"zfnet": 224, "alexnet": 227}
TABLE_3_FC_UNITS = (2048, 4096, 8192)
TABLE_3_MIDDLE_MAPS = (512, 1024, 512)
NOT_STATED = "not stated"
CHOSEN = "chosen in the configuration"
DEPARTURE, ROW, OPEN = "departure", "row", "open"
Entry = tuple[str, str, Any, Any, str]
Section = Mapping[str, Any]


def departures(net_json: Section) -> list[dict[str, str]]:
    """List where a net departs from the paper, and what was chosen where the paper is silent.

    `net_json`: the content of a net's net.json. Each entry: what, paper, here, why, and kind:
    "departure", "row" (a row of the paper's Table 3) or "open" (the paper does not say). Empty for
    a record of an older version, which has no recipe.
    """
    source = net_json.get("provenance", {})
    entries: list[Entry] = []
    if "adopted" in source:
        entries = [_adopted(net_json["arch"], source["adopted"])]
    elif "model" in source:
        classes = len(net_json["classes"])
        model, training = source["model"], source["training"]
        entries = [*_data(source["data"], classes), *_model(model), *_training(model, training)]
    keys = ("kind", "what", "paper", "here", "why")
    return [dict(zip(keys, map(str, entry), strict=True)) for entry in entries]


def _adopted(arch: str, weights: str) -> Entry:
    here = f"{arch}, weights from {weights}"
    why = "adopted: trained elsewhere, by a recipe that is not known here"
    return DEPARTURE, "training", "trained from scratch on ILSVRC-2012", here, why


def _data(data: Section, classes: int) -> Iterator[Entry]:
    if data["source"] != "imagenet" or classes != PAPER_CLASSES:
        here = f"{data['source']}: {data['images']:,} images of {classes} classes"
        why = "smaller data, so that the pipeline runs without ImageNet"
        yield DEPARTURE, "training data", "ILSVRC-2012: 1.3 M images of 1000 classes", here, why
    if data["size"] != PAPER_STORED_PX:
        why = "fits the input of the net" if data["size"] < PAPER_STORED_PX else CHOSEN
        yield DEPARTURE, "stored image, px", PAPER_STORED_PX, data["size"], why
    if data["upsampled"]:
        why = "their short side is below the stored size"
        yield DEPARTURE, "enlarged training images", "none known", data["upsampled"], why


def _model(model: Section) -> Iterator[Entry]:
    px = PAPER_INPUT_PX.get(model["arch"], 224)
    if model["arch"] == "alexnet":
        groups = "groups of two" if model["grouped"] else "groups joined"
        why = "the paper does not say whether its replica kept Krizhevsky's groups"
        yield OPEN, "AlexNet replica, layers 2, 4, 5", NOT_STATED, groups, why
    if model["input_px"] != px:
        why = "less to compute; the fields of the layers cover a larger share of the image"
        yield DEPARTURE, "input, px", px, model["input_px"], why
    if model["width"] != PAPER_WIDTH:
        why = "less to compute: maps and hidden units are multiplied by this"
        yield DEPARTURE, "width", 1, model["width"], why
    if model["without"]:
        why = "an ablation of Table 3"
        yield ROW, "layers left out", "none", ", ".join(map(str, model["without"])), why
    if model["fc_units"] != 4096:
        row = model["fc_units"] in TABLE_3_FC_UNITS
        why = "a row of Table 3" if row else CHOSEN
        kind = ROW if row else DEPARTURE
        yield kind, "units of layers 6 and 7 (before width)", 4096, model["fc_units"], why
    if model["middle_maps"] is not None:
        row = tuple(model["middle_maps"]) == TABLE_3_MIDDLE_MAPS
        why = "a row of Tables 2 and 3" if row else CHOSEN
        kind = ROW if row else DEPARTURE
        yield kind, "maps of layers 3-5 (before width)", "384, 384, 256", model["middle_maps"], why
    for layer, values in (model["changes"] or {}).items():
        yield DEPARTURE, f"layer {layer}", "as in Fig. 3", dict(values), CHOSEN
    lrn = model["lrn"]
    constants = f"{lrn['size']} maps, alpha {lrn['alpha']:g}, beta {lrn['beta']:g}, k {lrn['k']:g}"
    why = "Krizhevsky's constants; alpha is divided by the number of maps, as torch does"
    yield OPEN, "contrast normalisation", NOT_STATED, constants, why


def _training(model: Section, training: Section) -> Iterator[Entry]:
    values: list[tuple[str, str, Any, str]] = [
        ("epochs", "epochs", 70, "time, or a schedule that needs another number"),
        ("batch_size", "images a step", 128, CHOSEN),
        ("lr", "first learning rate", 0.01, CHOSEN),
        ("momentum", "momentum", 0.9, CHOSEN),
        ("dropout", "dropout in layers 6 and 7", 0.5, CHOSEN),
    ]
    for key, what, paper, why in values:
        if training[key] != paper:
            yield DEPARTURE, what, paper, training[key], why
    yield _schedule(training)
    yield _init(model, training)
    if training["crop"] != "ten" or not training["flip"]:
        here = f"{training['crop']} crop, {'with' if training['flip'] else 'without'} mirror images"
        why = "more, or fewer, different views of each image"
        yield DEPARTURE, "training views", "five fixed crops and their mirror images", here, why
    yield OPEN, "weight decay", NOT_STATED, f"{training['weight_decay']:g}", _decay_why(training)
    if training["max_filter_rms"] != 0.1:
        here = "no limit" if training["max_filter_rms"] is None else training["max_filter_rms"]
        yield DEPARTURE, "largest RMS of a filter", 0.1, here, CHOSEN
    if training["precision"] != "32-true":
        why = "faster on a GPU; weights and their updates stay float32"
        yield DEPARTURE, "arithmetic", "float32", training["precision"], why
    both = "centre crop and mean of ten crops, both reported"
    yield OPEN, "test views", NOT_STATED, both, "the paper does not say which its tables use"


def _schedule(training: Section) -> Entry:
    what, paper = "learning-rate schedule", "lowered by hand when validation error stops improving"
    if training["schedule"] == "steps":
        steps = training["steps"]
        at = ", ".join(f"{100 * share:g} %" for share in steps["at"])
        here = f"times {steps['factor']:g} after {at} of the epochs"
        return DEPARTURE, what, paper, here, "known in advance, so runs can be compared"
    plateau = training["plateau"]
    here = (
        f"times {plateau['factor']:g} after {plateau['patience'] + 1} epochs without "
        f"{plateau['threshold']:g} points of progress"
    )
    return OPEN, what, paper, here, "the same rule without the hand; its factors are not stated"


def _init(model: Section, training: Section) -> Entry:
    what, paper = "first weights", "10^-2, distribution not stated; biases 0"
    if training["init"] == "paper":
        return OPEN, what, paper, "N(0, 0.01^2), biases 0", "the customary reading of 10^-2"
    if training["init"] == "scaled":
        deviation = 0.01 / model["width"] ** 0.5
        here = f"N(0, {deviation:.3g}^2), biases 0"
        why = "below paper size the constant 0.01 never leaves chance"
        return (DEPARTURE if model["width"] != 1 else OPEN), what, paper, here, why
    why = "He et al. 2015; scales with the fan-in"
    return DEPARTURE, what, paper, "N(0, 2 / fan-in), biases 0", why


def _decay_why(training: Section) -> str:
    return "Krizhevsky's was 0.0005" if training["weight_decay"] else "none is stated, none is used"
