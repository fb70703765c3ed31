"""The architectures as data: one layer list each, and the paper's modifications as values.

Layer numbers are the paper's, and stay so when layers are taken out. Nothing here needs torch.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from zfnet.errors import UserError

SPEC_FORMAT = 2


@dataclass(frozen=True)
class Pool:
    """Max-pooling over `kernel` × `kernel` windows; `ceil` keeps a last, partly filled window."""

    kernel: int = 3
    stride: int = 2
    ceil: bool = False


@dataclass(frozen=True)
class Norm:
    """Contrast normalisation across maps: x / (k + c·Σ x²)^beta, the sum over `size` maps.

    The paper gives no constants and defers to Krizhevsky et al. 2012, whose they are. Their formula
    has c = alpha; torch, and the frameworks most replications used, have c = alpha / size, and so
    has this: `size` times their alpha gives Krizhevsky's formula as printed.
    """

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 2.0


@dataclass(frozen=True)
class Conv:
    """A convolution, its ReLU, and what follows them: pooling, normalisation, both or neither."""

    maps: int
    kernel: int
    stride: int = 1
    pad: int = 0
    groups: int = 1
    pool: Pool | None = None
    norm: bool = False
    norm_before_pool: bool = False


@dataclass(frozen=True)
class Linear:
    """A fully connected layer; a hidden one is followed by ReLU and dropout of its outputs."""

    units: int
    dropout: float = 0.0


Layer = Conv | Linear


@dataclass(frozen=True)
class NetSpec:
    """One net, complete: what `convnet.ConvNet` builds and `net.json` records.

    `layers` holds final sizes (modifications and `width` already applied); `width` is kept because
    the initialisation "scaled" depends on it.
    """

    arch: str
    input_px: int
    layers: tuple[tuple[int, Layer], ...]
    norm: Norm = field(default_factory=Norm)
    width: float = 1.0

    @property
    def num_classes(self) -> int:
        """Number of outputs of the classifier, the last layer."""
        last = self.layers[-1][1]
        assert isinstance(last, Linear)
        return last.units

    @property
    def numbers(self) -> tuple[int, ...]:
        """The paper's numbers of the layers that are there, in order."""
        return tuple(number for number, _ in self.layers)

    def layer(self, number: int) -> Layer:
        """The layer with the paper's `number`; KeyError if it was taken out."""
        return dict(self.layers)[number]

    def to_dict(self) -> dict[str, Any]:
        """As plain types that JSON can hold; `from_dict` is the way back."""
        return {
            "format": SPEC_FORMAT,
            "arch": self.arch,
            "input_px": self.input_px,
            "width": self.width,
            "norm": dataclasses.asdict(self.norm),
            "layers": [
                {
                    "number": number,
                    "type": "conv" if isinstance(layer, Conv) else "linear",
                    **dataclasses.asdict(layer),
                }
                for number, layer in self.layers
            ],
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> NetSpec:
        """From what `to_dict` wrote. Raises UserError for another format or an unknown key."""
        if record.get("format") != SPEC_FORMAT:
            raise UserError(
                f"net spec: format {record.get('format')!r} is not {SPEC_FORMAT}, the one this "
                "version of zfnet reads; train the net again or use the zfnet that wrote it"
            )
        layers = []
        for entry in record["layers"]:
            entry = dict(entry)
            number, kind = entry.pop("number"), entry.pop("type")
            empty: Layer = Conv(1, 1) if kind == "conv" else Linear(1)
            layers.append((number, _altered(empty, entry, f"layer {number}")))
        norm = Norm(**record["norm"])
        return cls(record["arch"], record["input_px"], tuple(layers), norm, record["width"])


# Zeiler & Fergus 2014, Fig. 3. Pad 1 in layer 1 and ceil in the pools are what its sizes 110, 55,
# 26, 13, 6 imply; the text states neither.
ZFNET = NetSpec(
    "zfnet",
    input_px=224,
    layers=(
        (1, Conv(96, kernel=7, stride=2, pad=1, pool=Pool(ceil=True), norm=True)),
        (2, Conv(256, kernel=5, stride=2, pad=0, pool=Pool(ceil=True), norm=True)),
        (3, Conv(384, kernel=3, pad=1)),
        (4, Conv(384, kernel=3, pad=1)),
        (5, Conv(256, kernel=3, pad=1, pool=Pool(ceil=True))),
        (6, Linear(4096, dropout=0.5)),
        (7, Linear(4096, dropout=0.5)),
        (8, Linear(1000)),
    ),
)

# Krizhevsky et al. 2012, sections 3.3 to 3.5: groups of 2 where the two GPUs did not talk,
# normalisation before the pool. Its printed sizes need an input of 227, not the 224 of its text.
ALEXNET = NetSpec(
    "alexnet",
    input_px=227,
    layers=(
        (1, Conv(96, kernel=11, stride=4, pool=Pool(), norm=True, norm_before_pool=True)),
        (2, Conv(256, kernel=5, pad=2, groups=2, pool=Pool(), norm=True, norm_before_pool=True)),
        (3, Conv(384, kernel=3, pad=1)),
        (4, Conv(384, kernel=3, pad=1, groups=2)),
        (5, Conv(256, kernel=3, pad=1, groups=2, pool=Pool())),
        (6, Linear(4096, dropout=0.5)),
        (7, Linear(4096, dropout=0.5)),
        (8, Linear(1000)),
    ),
)

ARCHITECTURES = {"zfnet": ZFNET, "alexnet": ALEXNET}
CLASSIFIER = 8
MIDDLE_LAYERS = (3, 4, 5)


def build_spec(
    arch: str = "zfnet",
    *,
    num_classes: int = 1000,
    input_px: int | None = None,
    width: float = 1.0,
    without: Sequence[int] = (),
    fc_units: int | None = None,
    middle_maps: Sequence[int] | None = None,
    grouped: bool | None = None,
    lrn: Mapping[str, Any] | None = None,
    dropout: float | None = None,
    changes: Mapping[Any, Mapping[str, Any]] | None = None,
) -> NetSpec:
    """The layer list of `arch`, modified; None keeps the published value.

    Values are taken to be of the right kind and range, as the config's options are; `changes`,
    which is free there, is checked here.

    Args:
        arch: "zfnet" or "alexnet".
        num_classes: outputs of layer 8; never scaled by `width`.
        input_px: side of the square input in pixels.
        width: factor on the maps and hidden units, applied last: all else is given at the paper's
            width. Results are multiples of 8, the nearest, halves up, and at least 8, so that
            groups of 2 divide them.
        without: paper numbers of layers to leave out (Table 3), any but 8.
        fc_units: units of layers 6 and 7 (Table 3).
        middle_maps: maps of layers 3, 4 and 5 (Table 3: 512, 1024, 512).
        grouped: False joins AlexNet's groups of 2 in layers 2, 4 and 5.
        lrn: constants of the contrast normalisation that differ from `Norm`'s.
        dropout: probability of dropping an output of layers 6 and 7.
        changes: other alterations, {layer: {field: value}}, fields as in `Conv` and `Linear`.

    Raises:
        UserError: names the key at fault and the nearest right one, or the layer that the input is
            too small for and the smallest input that works.
    """
    if arch not in ARCHITECTURES:
        raise UserError(
            f"arch: there is no architecture {arch!r}{nearest(arch, ARCHITECTURES)} There are "
            f"{', '.join(ARCHITECTURES)}, and torchvision/<name> for a torchvision model"
        )
    base = ARCHITECTURES[arch]
    layers = dict(base.layers)
    if grouped and all(getattr(layer, "groups", 1) == 1 for layer in layers.values()):
        raise UserError(
            f"grouped: {arch} has no groups, only alexnet has; for others use "
            "changes: {2: {groups: 2}}"
        )
    for number in without:
        del layers[number]
    if not any(isinstance(layer, Conv) for layer in layers.values()):
        raise UserError("without: at least one of the convolutional layers 1 to 5 must stay")
    altered = _by_layer(changes or {}, layers)
    for number, layer in layers.items():
        if isinstance(layer, Conv) and grouped is False:
            layer = replace(layer, groups=1)
        if isinstance(layer, Linear) and number != CLASSIFIER:
            given: dict[str, Any] = {"units": fc_units, "dropout": dropout}
            layer = replace(layer, **{key: v for key, v in given.items() if v is not None})
        layers[number] = _altered(layer, altered.get(number, {}), f"changes.{number}")
    if middle_maps is not None:
        for number, maps in zip(MIDDLE_LAYERS, middle_maps, strict=True):
            if "maps" in altered.get(number, {}):
                raise UserError(f"changes.{number}.maps: middle_maps sets the same value; give one")
            if number in layers:
                layers[number] = _altered(layers[number], {"maps": maps}, "middle_maps")
    layers = {number: _scaled(layer, width) for number, layer in layers.items()}
    layers[CLASSIFIER] = Linear(num_classes)
    px = base.input_px if input_px is None else input_px
    spec = NetSpec(arch, px, tuple(layers.items()), Norm(**(lrn or {})), float(width))
    output_shapes(spec)  # raises where the input is too small or the groups do not divide
    return spec


def output_shapes(spec: NetSpec) -> dict[str, tuple[int, ...]]:
    """Shape of each tap for one image: (maps, height, width), or (units,) from layer 6 on.

    Raises UserError if the input is too small, naming the layer and the smallest input that works.
    """
    px = spec.input_px
    failed, shapes = _trace(spec, px)
    if failed:
        smallest = next((n for n in range(px + 1, 4096) if not _trace(spec, n)[0]), None)
        advice = f"the smallest input that works is {smallest} px" if smallest else "none works"
        raise UserError(
            f"input_px: an input of {px} px is too small for {spec.arch}: nothing is left after "
            f"{failed}; {advice}"
        )
    return shapes


def taps(spec: NetSpec) -> dict[str, str]:
    """Places to read a net at, as tap → module path: "1.conv" → "layer1.conv", "1.out" → "layer1".

    "N.out" is what layer N hands on: after pooling and normalisation where it has them, else its
    ReLU's output (dropout, off in evaluation, is not waited for), for the classifier the logits.
    """
    places: dict[str, str] = {}
    for number, layer in spec.layers:
        steps = block_steps(spec, number)
        for step in steps:
            if step not in ("flatten", "dropout"):
                places[f"{number}.{step}"] = f"layer{number}.{step}"
        whole = isinstance(layer, Conv) and steps[-1] != "relu"
        last = next(step for step in reversed(steps) if step != "dropout")
        places[f"{number}.out"] = f"layer{number}" if whole else f"layer{number}.{last}"
    return places


def block_steps(spec: NetSpec, number: int) -> list[str]:
    """Names of layer `number`'s submodules in the order in which they run."""
    layer = spec.layer(number)
    if isinstance(layer, Linear):
        first = next(n for n, each in spec.layers if isinstance(each, Linear))
        steps = ["flatten"] if number == first else []
        return [*steps, "linear"] if number == CLASSIFIER else [*steps, "linear", "relu", "dropout"]
    after = ["pool"] if layer.pool else []
    if layer.norm:
        after = ["norm", *after] if layer.norm_before_pool else [*after, "norm"]
    return ["conv", "relu", *after]


def inputs_of(spec: NetSpec) -> dict[int, int]:
    """Channels, or units, that each layer receives; the first layer gets 3 (RGB)."""
    shapes = output_shapes(spec)
    received, previous = {}, (3,)
    for number, layer in spec.layers:
        flat = isinstance(layer, Linear)
        received[number] = math.prod(previous) if flat else previous[0]
        previous = shapes[f"{number}.out"]  # type: ignore[assignment]
    return received


def nearest(word: object, choices: Iterable[object]) -> str:
    """'; did you mean X?' for the choice closest to a misspelt `word`, or '.' if none is close."""
    close = difflib.get_close_matches(str(word), [str(choice) for choice in choices], n=1)
    return f"; did you mean {close[0]!r}?" if close else "."


def _trace(spec: NetSpec, px: int) -> tuple[str, dict[str, tuple[int, ...]]]:
    """(the step that leaves nothing, or "", sizes up to there), as torch computes them."""
    shapes: dict[str, tuple[int, ...]] = {}
    maps, side = 3, px
    for number, layer in spec.layers:
        if isinstance(layer, Linear):
            for name in ("linear", "relu", "out") if number != CLASSIFIER else ("linear", "out"):
                shapes[f"{number}.{name}"] = (layer.units,)
            continue
        if maps % layer.groups or layer.maps % layer.groups:
            raise UserError(
                f"layer {number}: its {layer.groups} groups do not divide its {maps} input maps "
                f"and {layer.maps} maps"
            )
        for step in block_steps(spec, number):
            if step == "conv":
                side = (side + 2 * layer.pad - layer.kernel) // layer.stride + 1
                maps = layer.maps
            elif step == "pool" and layer.pool:
                side = _pooled(side, layer.pool)
            if side < 1:
                return f"the {'convolution' if step == 'conv' else step} of layer {number}", shapes
            shapes[f"{number}.{step}"] = (maps, side, side)
        shapes[f"{number}.out"] = (maps, side, side)
    return "", shapes


def _pooled(side: int, pool: Pool) -> int:
    span = side - pool.kernel
    out = (-(-span // pool.stride) if pool.ceil else span // pool.stride) + 1
    # torch drops a last window that would start outside the map
    return out - 1 if pool.ceil and (out - 1) * pool.stride >= side else out


def _by_layer(
    changes: Mapping[Any, Mapping[str, Any]], layers: Mapping[int, Layer]
) -> dict[int, Mapping[str, Any]]:
    """The alterations asked for, by the layer's number."""
    for key, values in changes.items():
        if str(key) not in map(str, layers):
            there = ", ".join(map(str, layers))
            raise UserError(f"changes: there is no layer {key!r} to change; there are {there}")
        if not isinstance(values, Mapping):
            raise UserError(f"changes.{key}: expected field: value pairs, found {values!r}")
        if int(key) == CLASSIFIER and "units" in values:
            raise UserError("changes.8.units: the outputs are the data's classes; set num_classes")
    return {int(key): values for key, values in changes.items()}


def _scaled(layer: Layer, width: float) -> Layer:
    if width == 1:
        return layer  # the published number, whatever it is
    if isinstance(layer, Conv):
        return replace(layer, maps=_round8(layer.maps * width))
    return replace(layer, units=_round8(layer.units * width))


def _round8(count: float) -> int:
    return max(8, 8 * math.floor(count / 8 + 0.5))


def _altered(part: Any, values: Mapping[str, Any], where: str) -> Any:
    """`part` with fields replaced; UserError names `where`.field."""
    known = {f.name for f in fields(part)}
    for key in values:
        if key not in known:
            choices = ", ".join(sorted(known))
            hint = nearest(key, known)
            raise UserError(f"{where}.{key}: no such setting{hint} There are {choices}")
    return replace(
        part, **{k: _checked_value(part, k, value, f"{where}.{k}") for k, value in values.items()}
    )


def _checked_value(part: Any, key: str, value: Any, label: str) -> Any:
    kind = {f.name: f.type for f in fields(part)}[key]
    if key == "pool":
        if value is None or isinstance(value, Pool):
            return value
        if not isinstance(value, Mapping):
            raise UserError(f"{label}: expected null or kernel, stride and ceil, found {value!r}")
        return _altered(part.pool or Pool(), value, label)
    if kind == "bool":
        if not isinstance(value, bool):
            raise UserError(f"{label}: expected true or false, found {value!r}")
        return value
    if kind == "int":
        least = 0 if key == "pad" else 1
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise UserError(f"{label}: expected a whole number from {least}, found {value!r}")
        return value
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value < (1 if key == "dropout" else math.inf):
        limit = "from 0 to below 1" if key == "dropout" else "of 0 or more"
        raise UserError(f"{label}: expected a number {limit}, found {value!r}")
    return float(value)
