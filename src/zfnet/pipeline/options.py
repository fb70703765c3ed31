"""Options, each typed once: name, type, range or choices, default and why. Needs no torch.

Hydra's groups are made from these declarations, and the whole composed configuration is checked
against them before any work begins. A section is strict: "1" is no number, true is no number, NaN
and infinity are no values.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from zfnet.errors import UserError

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Side = Annotated[int, Field(ge=1, le=16384)]  # px of a square
Layer = Annotated[int, Field(ge=1, le=7)]  # the paper's number
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
SEED_LIMIT = 2**32  # numpy's and torch's generators take no larger one
Seed = Annotated[int, Field(ge=0, lt=SEED_LIMIT)]
T = TypeVar("T", bound="Section")


def each_once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """A check: no value twice."""
    if len(set(values)) < len(values):
        raise ValueError(f"{list(values)}: name each once")
    return values


def rising(values: tuple[float, ...]) -> tuple[float, ...]:
    """A check: each larger than the one before it."""
    if any(after <= before for before, after in pairwise(values)):
        raise ValueError(f"{list(values)}: each must be larger than the one before it")
    return values


class Section(BaseModel):
    """A part of the configuration; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# The same for every study that names them: the stage then declares and receives that key.
SHARED = ("seed", "device", "targets", "training", "data")


class StudyOptions(Section):
    """A study's section, and of the shared keys (SHARED) those that the study declares."""


def defaults(kind: type[Section]) -> dict[str, Any]:
    """The section's own defaults as plain values, without shared keys: Hydra's node."""
    found: dict[str, Any] = _with_lists(kind().model_dump(exclude=set(shared(kind))))
    return found


def _with_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_lists(each) for key, each in value.items()}
    return [_with_lists(each) for each in value] if isinstance(value, tuple) else value


def shared(kind: type[Section]) -> tuple[str, ...]:
    """The shared keys that a study's options declare."""
    if not issubclass(kind, StudyOptions):
        return ()
    return tuple(key for key in SHARED if key in kind.model_fields)


def checked(kind: type[T], section: Mapping[str, Any], where: str) -> T:
    """`section` as options of `kind`. Raises UserError naming the key, its value and what fits."""
    try:
        text = json.dumps(section)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {error}") from error
    try:
        return kind.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise UserError(fault(error, kind, where)) from error


def fault(error: ValidationError, kind: type[Section], where: str) -> str:
    """The first fault in one line: "study.features.top_k=0: must be at least 1"."""
    first = error.errors()[0]
    parts = [part for part in first["loc"] if part != "[key]"]
    key = where + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    key = key.strip(".")
    if first["type"] == "extra_forbidden":
        before, _, last = key.rpartition(".")
        close = difflib.get_close_matches(last, _fields_at(kind, parts[:-1]), n=1, cutoff=0.5)
        hint = f" (did you mean '{f'{before}.{close[0]}'.strip('.')}'?)" if close else ""
        return f"unknown key '{key}'{hint}"
    if first["type"] == "missing":
        return f"{key} is missing"
    if first["type"] == "value_error":
        return f"{key}: {first['ctx']['error']}"
    value = first["input"]
    shown = value if isinstance(value, str) else json.dumps(value)
    return f"{key}={shown:.80}: {_expected(first)}{_hint(first, value)}"


def _fields_at(kind: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """The keys of the section that lies at `path` below one of `kind`."""
    for part in path:
        field = kind.model_fields.get(str(part))
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        kind = inner
    return list(kind.model_fields)


_BOUNDS = {
    "greater_than_equal": ("ge", "must be at least {}"),
    "greater_than": ("gt", "must be above {}"),
    "less_than_equal": ("le", "must be at most {}"),
    "less_than": ("lt", "must be below {}"),
    "too_short": ("min_length", "must name at least {}"),
    "too_long": ("max_length", "must name at most {}"),
    "literal_error": ("expected", "choose from {}"),
}
_TYPES = {
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "string_type": "must be text: put it in quotes",
    "list_type": "must be a list",
    "tuple_type": "must be a list, e.g. [1,2]",
    "dict_type": "must be a mapping, e.g. {2: 16}",
    "model_type": "must be a section with keys",
}


def _expected(fault: Any) -> str:
    if fault["type"] in _BOUNDS:
        key, words = _BOUNDS[fault["type"]]
        return words.format(str(fault["ctx"][key]).replace("'", ""))
    return _TYPES.get(fault["type"], str(fault["msg"]))


def _hint(fault: Any, value: Any) -> str:
    if fault["type"] != "literal_error" or not isinstance(value, str):
        return ""
    return nearest(
        value, fault["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
    )


def nearest(word: str, known: Iterable[str]) -> str:
    """(did you mean 'x'?), or nothing."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean '{found[0]}'?)" if found else ""


# ------------------------------------------------------------------------------ the run's sections
class DataOptions(Section):
    """Where images come from and how they are stored once (zfnet.data)."""

    source: Literal["synthetic", "folder", "imagenette", "imagenet"] = "synthetic"
    root: str = "${oc.env:ZFNET_DATA,data}"  # machine's data folder; relative: to the checkout
    path: str | None = None  # folder of the source, below <root>/raw or <root>
    download: bool = False  # fetch what torchvision can fetch
    size: Side = 256  # side of the stored square, px
    store: Literal["raw", "jpeg"] = "raw"  # uint8, or JPEG of quality 95, 4:4:4
    max_bad_fraction: Share = 0.001  # more undecodable files than this share is an error
    val_fraction: Annotated[float, Field(gt=0, lt=1)] | None = None  # folder without train/, val/
    split: Literal["folders", "ilsvrc"] = "folders"  # imagenette: by train/ and val/, or val: the
    # photos that were not in ILSVRC's training set, as their names tell
    class_names: str | None = None  # folder: file of "<folder><tab><name>" lines, or JSON
    train_images: Count = 2400  # synthetic
    val_images: Count = 600  # synthetic
    seed: Seed = 0  # synthetic drawing, folder split
    version: Count = 1  # of the synthetic generator


class LRNOptions(Section):
    """Contrast normalisation across maps (Krizhevsky's constants; the paper prints none)."""

    size: Count = 5
    alpha: Annotated[float, Field(ge=0)] = 1e-4
    beta: Annotated[float, Field(ge=0)] = 0.75
    k: Positive = 2.0


class PlateauOptions(Section):
    """Lower the rate when validation error has not improved for `patience` epochs."""

    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1  # new rate = rate x factor
    patience: Natural = 3  # epochs without improvement that pass first
    threshold: Annotated[float, Field(ge=0)] = 0.1  # improvement that counts, points of error


class StepsOptions(Section):
    """Lower the rate at fixed shares of the training length."""

    # shares of `epochs`
    at: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], AfterValidator(rising)] = (
        0.6,
        0.85,
    )
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1


class TrainingOptions(Section):
    """How a net is trained; the defaults are the paper's, or its silence (zfnet.training)."""

    epochs: Count = 70
    batch_size: Count = 128  # images a step, over all processes
    lr: Positive = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 0.0  # the paper states none
    schedule: Literal["plateau", "steps"] = "plateau"
    plateau: PlateauOptions = PlateauOptions()
    steps: StepsOptions = StepsOptions()
    crop: Literal["ten", "random", "centre"] = "ten"  # the paper's sub-crops
    flip: bool = True  # mirrored views
    # paper: N(0, 0.01^2); scaled: N(0, (0.01 / sqrt(width))^2)
    init: Literal["paper", "scaled", "he"] = "paper"
    max_filter_rms: Positive | None = 0.1  # conv filters above are scaled back; null: no limit
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5  # layers 6, 7
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    channels_last: bool = True
    compile: bool = False
    threads: Count | None = None  # of a training on a CPU, others beside it; null: all cores
    devices: Annotated[int, Field(ge=-1)] = 1  # processes here, one GPU each; -1: every GPU
    nodes: Count = 1


class ModelOptions(Section):
    """One net; zfnet.models.spec says what each value changes."""

    arch: str = "zfnet"  # zfnet | alexnet | torchvision/<name>
    width: Positive = 1.0  # multiplies maps and hidden units
    input_px: Side = 224  # side of the square that the net sees
    # layers left out
    without: Annotated[
        tuple[Annotated[int, Field(ge=1, le=7)], ...], AfterValidator(each_once)
    ] = ()
    fc_units: Count = 4096  # units of layers 6 and 7, before `width`
    middle_maps: Annotated[tuple[Count, ...], Field(min_length=3, max_length=3)] | None = None
    grouped: bool = False  # AlexNet: Krizhevsky's groups of two in layers 2, 4, 5
    lrn: LRNOptions = LRNOptions()
    changes: dict[str, Any] = {}  # of layers, e.g. {1: {kernel: 11, stride: 4}}
    weights: str | None = None  # adopt these (file or torchvision's name), train nothing
    layers: dict[str, Any] = {}  # torchvision nets: paper's layer number -> module path
    training: dict[str, Any] = {}  # what this net's recipe changes, e.g. {init: he}
    seeds: Natural = 1  # nets trained: seed, seed + 1, ...; 0: not trained in this experiment
    # further nets that others trained, each with keys of this section: studies measure all of them
    also: tuple[dict[str, Any], ...] = ()


class ScaleOptions(Section):
    """What all declared nets share; `model.width` changes the net under study alone."""

    width: Positive = 1.0
    zfnet_px: Side = 224
    alexnet_px: Side = 227
    seeds: Natural = 1  # trainings of zfnet, zfnet_wide and alexnet: seed, seed + 1, ...
    row_seeds: Natural = 1  # of every other net; 0: not trained


class TargetOptions(Section):
    """One set that the trained net is carried over to (Tables 4-7), and its protocol."""

    run: bool = False
    source: Literal["unseen", "caltech101", "caltech256", "voc", "folder"] = "folder"
    path: str | None = None  # below <data root>/raw
    download: bool = False
    size: Side = 256  # side of the stored square, px
    store: Literal["raw", "jpeg"] = "raw"
    max_bad_fraction: Share = 0.001
    year: Literal[2007, 2012] = 2012  # voc
    background: bool = False  # caltech: keep the background or clutter class
    images: Count = 600  # unseen
    seed: Seed = 0  # unseen
    version: Count = 1  # unseen
    protocol: Literal["per_class", "voc"] = "per_class"  # Tables 4, 5, 7; Table 6
    train_per_class: tuple[Count, ...] = (15, 30)
    curve_per_class: tuple[Count, ...] = ()  # Fig. 9
    test_per_class: Count | None = 50  # images a class at most; null: all that are left
    folds: Count = 5
    scratch_folds: Natural = 5  # of them, at most how many train a net from scratch
    probe_per_class: Count = 30  # Table 7
    paper: Literal["table4", "table5", "table6"] | None = None  # of the paper, beside ours


class TrackingOptions(Section):
    """W&B; `offline` needs no account, `disabled` does not import it."""

    mode: Literal["offline", "online", "disabled"] = "offline"
    project: str = "zfnet"
    entity: str | None = None


Device = Literal["auto", "cpu", "cuda"]
