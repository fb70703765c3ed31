"""Nets that others made, in the same bundle as our own: torchvision's classification models.

torchvision is imported inside the functions: it costs seconds.
"""

from __future__ import annotations

import re
import urllib.error
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlparse

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from zfnet.errors import UserError
from zfnet.models.checkpoint import fit_state, read_state
from zfnet.models.hooks import hooked
from zfnet.models.net import Net, Normalise
from zfnet.models.spec import nearest
from zfnet.models.torchvision_names import TORCHVISION_NAMES

PREFIX = "torchvision/"
RANDOM = "random"
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
LAYERS = 5  # the numbers given to feature maps, as in the paper
IMAGENET_CLASSES = 1000

# Classifier outputs of ImageNet-1k for Imagenette's ten folders, which often carry no class names.
IMAGENETTE_OUTPUTS = {
    "n01440764": 0,
    "n02102040": 217,
    "n02979186": 482,
    "n03000684": 491,
    "n03028079": 497,
    "n03394916": 566,
    "n03417042": 569,
    "n03425413": 571,
    "n03445777": 574,
    "n03888257": 701,
}


def torchvision_net(
    name: str,
    weights: str | Path | None,
    data_classes: Sequence[Any],
    *,
    layers: Mapping[Any, str] | None = None,
    input_px: int | None = None,
) -> Net:
    """A torchvision classifier with its own normalisation and input size, in evaluation mode.

    Args:
        name: as in torchvision.models, with or without "torchvision/" before it.
        weights: a file with a state dict; a name such as "DEFAULT" or "IMAGENET1K_V1", which
            torchvision downloads or finds in its cache; or "random" for untrained weights.
        data_classes: the data's classes by label, each with `id` (such as "n01440764") and `name`
            ("tench"). Outputs are matched to them by WordNet id when there are 1000, else by name;
            a file with as many outputs as classes is taken to be fine-tuned on them, in their
            order.
        layers: module paths for layers of the paper, {5: "features.11"}, over the automatic ones.
        input_px: another input side than the weights' own, for nets that accept one.

    Raises:
        UserError: no such model, weights or layer, weights that do not fit, or no way to match.
    """
    name = name.removeprefix(PREFIX)
    if name not in TORCHVISION_NAMES:
        raise UserError(
            f"arch: torchvision has no classifier {name!r}{nearest(name, TORCHVISION_NAMES)} "
            "`zfnet.models.torchvision_names` lists them"
        )
    source = _find_weights(name, weights)
    views = source.entry.transforms()
    px = input_px or int(views.crop_size[0])
    if source.label == RANDOM:
        outputs, class_index = len(data_classes), None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = build_model(name, outputs)
        if not input_px:  # a vision transformer is built for one side, whatever its weights' is
            px = getattr(model, "image_size", px)
    else:
        model, outputs = _loaded(name, source)
        class_index = _class_index(data_classes, outputs, source)
    names = [c.name for c in data_classes] if class_index is None else source.categories
    named = _named_taps(model, layers, name)
    try:
        taps = {**automatic_taps(model, px), **named}
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise UserError(
            f"input_px: {name} does not run on images of {px} px ({reason}); give another input_px"
        ) from error
    return Net(
        model=model.eval(),
        input_px=px,
        normalise=Normalise.standardise(list(views.mean), list(views.std), px),
        classes=list(names),
        name=name,
        arch=f"{PREFIX}{name}",
        taps=taps,
        class_index=class_index,
        rebuild={"kind": "torchvision", "name": name, "num_classes": outputs},
        provenance={"weights": source.label},
    )


def build_model(name: str, num_classes: int, draw: bool = True) -> nn.Module:
    """The model without auxiliary heads, in evaluation mode, with torchvision's random weights.

    draw=False leaves most weights as they lie in memory, for a state dict to fill: drawing those of
    VGG takes seconds.
    """
    import torchvision

    options: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        # The input transform belongs to torchvision's weights for these two; their own initial
        # draw, from a truncated normal, takes minutes.
        options = {"aux_logits": False, "transform_input": True, "init_weights": False}
    with nullcontext() if draw else _Undrawn():
        model = torchvision.models.get_model(name, weights=None, num_classes=num_classes, **options)
    return model.eval()


class _Undrawn(TorchFunctionMode):
    """Random fills become no-ops."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in ("normal_", "uniform_", "kaiming_uniform_"):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@torch.no_grad()
def automatic_taps(model: nn.Module, input_px: int) -> dict[str, str]:
    """Taps for any classifier, from one pass over a noise image.

    "1.relu" to "5.relu": the last rectified map at each of the last five spatial resolutions, in
    the order in which they run; a whole block's map rather than one inside a block. A net with
    fewer resolutions gives more maps of its deepest. Where no output is rectified, any map will do.
    "6.relu", "7.relu": hidden fully connected layers; a net without any has "7.relu" at its pooled
    features. "N.out" is the same place. "1.conv": the first convolution. A net with fewer than
    three resolutions (a transformer) gets no layers 1 to 5.
    """
    calls = _record(model, input_px)
    maps = _pick_maps(calls)
    hidden = _pick_hidden(model, calls)
    taps = {}
    if maps:
        taps["1.conv"] = next(n for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
    for number, path in (*enumerate(maps, start=1), *hidden.items()):
        taps[f"{number}.relu"] = taps[f"{number}.out"] = path
    return taps


@dataclass
class _Output:
    """One module's output in the recording pass; modules that put out one tensor share `group`."""

    path: str
    shape: tuple[int, ...]
    rectified: bool
    works: bool  # a convolution or an activation, not a container
    pools: bool
    sequence: bool  # a mere list of modules
    group: int


_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.GELU)
_POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


def _record(model: nn.Module, input_px: int) -> list[_Output]:
    """Calls of modules that run exactly once, in the order in which they end."""
    calls: list[_Output] = []
    alive: list[Tensor] = []  # so that no address is used twice

    def watch(path: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                rectified = isinstance(module, _ACTIVATIONS) or bool(output.min() >= 0)
                works = isinstance(module, (nn.Conv2d, *_ACTIVATIONS))
                pools = isinstance(module, _POOLS)
                shape = tuple(output.shape)
                sequence = isinstance(module, nn.Sequential)
                calls.append(_Output(path, shape, rectified, works, pools, sequence, id(output)))
                alive.append(output)

        return hook

    noise = torch.randn(1, 3, input_px, input_px, generator=torch.Generator().manual_seed(0))
    device = next(model.parameters()).device
    was_training = model.training
    try:
        with hooked(after=[(each, watch(path)) for path, each in model.named_modules() if path]):
            model.eval()(noise.to(device))
    finally:
        model.train(was_training)
    times = Counter(call.path for call in calls)
    return [call for call in calls if times[call.path] == 1]


def _pick_maps(calls: list[_Output]) -> list[str]:
    square = [c for c in calls if len(c.shape) == 4 and c.shape[2] == c.shape[3] > 1]
    # a resolution reached by pooling alone has no map of its own
    sides = dict.fromkeys(c.shape[2] for c in square if c.works)
    if len(sides) < 3:
        return []
    names = {
        c.group: [d.path for d in square if d.group == c.group and d.rectified == c.rectified]
        for c in square
    }
    sequences = {c.path for c in square if c.sequence}
    last: list[int] = []
    others: list[int] = []
    for side in sides:
        here = [i for i, c in enumerate(square) if c.shape[2] == side and not c.pools]
        # narrow maps inside a block (a bottleneck, a gate) are not what the block hands on
        widest = max(square[i].shape[1] for i in here)
        wide = [i for i in here if 2 * square[i].shape[1] >= widest]
        wide = [i for i in wide if square[i].rectified] or wide
        best = min(wide, key=lambda i: (_outermost(names[square[i].group]).count("."), -i))
        last.append(best)
        others += [i for i in wide if i != best]
    chosen = sorted(last)[-LAYERS:]
    for index in sorted(others, reverse=True):
        # not another view of a chosen map, nor a part of the block that makes it
        blocks = [c.path for i in chosen for c in square if c.group == square[i].group]
        blocks = [path for path in blocks if path not in sequences]
        path = square[index].path
        taken = any(path == other or path.startswith(other + ".") for other in blocks)
        if len(chosen) < LAYERS and not taken and path not in sequences:
            chosen.append(index)
    return [_outermost(names[square[i].group]) for i in sorted(chosen)]


def _outermost(paths: list[str]) -> str:
    return min(paths, key=lambda path: (path.count("."), len(path)))


def _pick_hidden(model: nn.Module, calls: list[_Output]) -> dict[int, str]:
    """Layers 6 and 7: rectified vectors before the classifier, or its pooled input as 7."""
    vectors = [
        c.path
        for c in calls
        if len(c.shape) == 2 and isinstance(model.get_submodule(c.path), _ACTIVATIONS)
    ]
    if vectors:
        return dict(enumerate(vectors[:2], start=6))
    pooled = [
        c.path
        for c in calls
        if c.shape[2:] == (1, 1)
        and isinstance(model.get_submodule(c.path), nn.AdaptiveAvgPool2d)
        and "." not in c.path
    ]
    return {7: pooled[-1]} if pooled else {}


def _named_taps(model: nn.Module, layers: Mapping[Any, str] | None, name: str) -> dict[str, str]:
    paths = [path for path, _ in model.named_modules() if path]
    taps = {}
    for key, path in (layers or {}).items():
        number = str(key)
        if not re.fullmatch(r"[1-8]", number):
            raise UserError(f"layers: {key!r} is not a layer of the paper, 1 to 8")
        if path not in paths:
            raise UserError(f"layers.{number}: {name} has no module {path!r}{nearest(path, paths)}")
        taps[f"{number}.relu"] = taps[f"{number}.out"] = path
    return taps


@dataclass
class _Weights:
    """Where weights come from; `entry`: torchvision's record of them, or of the usual ones."""

    where: str
    label: str
    entry: Any
    file: Path | None = None

    @property
    def categories(self) -> list[str]:
        """Names of the outputs."""
        return list(self.entry.meta["categories"])

    def state(self) -> Mapping[str, Tensor]:
        """The state dict, from the file or through torchvision's cache."""
        return read_state(self.file) if self.file else _download(self.entry)


def _find_weights(name: str, weights: str | Path | None) -> _Weights:
    import torchvision

    entries = {entry.name: entry for entry in torchvision.models.get_model_weights(name)}
    entries["DEFAULT"] = torchvision.models.get_model_weights(name).DEFAULT
    choices = f"a file with its state dict, one of {', '.join(entries)}, or random"
    if weights is None or not str(weights):
        raise UserError(f"weights: {PREFIX}{name} needs weights; give {choices}")
    asked = str(weights)
    short = asked.rpartition(".")[2] if "_Weights." in asked else asked
    if short == RANDOM:
        return _Weights(RANDOM, RANDOM, entries["DEFAULT"])
    if short in entries:
        return _Weights(_file_name(entries[short]), str(entries[short]), entries[short])
    path = Path(weights).expanduser()
    if not path.is_file():
        looks_like_file = path.suffix or len(path.parts) > 1
        fault = "no such file" if looks_like_file else f"unknown{nearest(asked, entries)}"
        raise UserError(f"weights: {asked}: {fault}; for {PREFIX}{name} give {choices}")
    # the weights' own entry if the file still has its published name, else the model's usual one
    same = [entry for entry in entries.values() if _file_name(entry) == path.name]
    return _Weights(str(path), path.name, same[0] if same else entries["DEFAULT"], path)


def _file_name(entry: Any) -> str:
    return Path(urlparse(entry.url).path).name


def _download(entry: Any) -> Mapping[str, Tensor]:
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    try:
        state = entry.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (urllib.error.URLError, OSError) as error:
        raise UserError(
            f"weights: {entry} could not be fetched ({error}); download {entry.url}, then put "
            f"{_file_name(entry)} into {cache} or give its path as weights"
        ) from error
    except RuntimeError as error:  # torch's name for a checksum that does not match
        raise UserError(
            f"weights: {_file_name(entry)} is damaged ({error}); delete it from {cache}, try again"
        ) from error
    return cast(Mapping[str, Tensor], state)


def _loaded(name: str, source: _Weights) -> tuple[nn.Module, int]:
    """The model with its weights, and its number of classes: that of the file's classifier."""
    state = _modern_keys(name, source.state())
    model = build_model(name, IMAGENET_CLASSES, draw=False)
    wanted = model.state_dict()
    # the classifier is the last layer with that many outputs
    head = [
        k for k in wanted if k.endswith("weight") and wanted[k].shape[:1] == (IMAGENET_CLASSES,)
    ][-1]
    outputs = int(state[head].shape[0]) if head in state else IMAGENET_CLASSES
    if outputs != IMAGENET_CLASSES:
        model = build_model(name, outputs, draw=False)
    fit_state(model, state, Path(source.where))
    return model, outputs


def _modern_keys(name: str, state: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
    """Without auxiliary heads, and with today's names for DenseNet's layers (norm.1 → norm1)."""
    modern: OrderedDict[str, Tensor] = OrderedDict()
    for key, value in state.items():
        if name in ("googlenet", "inception_v3") and key.startswith(_AUXILIARY):
            continue
        if name.startswith("densenet"):
            key = re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", key)
        modern[key] = value
    if hasattr(state, "_metadata"):
        modern._metadata = state._metadata  # type: ignore[attr-defined]
    return modern


def _class_index(data_classes: Sequence[Any], outputs: int, source: _Weights) -> np.ndarray | None:
    """Data label → output, −1 where unknown; None where the outputs are the data's classes."""
    ids = [c.id for c in data_classes]
    wordnet = all(re.fullmatch(r"n\d{8}", each) for each in ids)
    if outputs == IMAGENET_CLASSES and wordnet and len(set(ids)) == IMAGENET_CLASSES:
        rank = {each: place for place, each in enumerate(sorted(ids))}  # ImageNet's own order
        return np.array([rank[each] for each in ids], dtype=np.int64)
    if outputs == len(data_classes) and (source.file or outputs != IMAGENET_CLASSES):
        return None
    if outputs != len(source.categories):
        raise UserError(
            f"{source.where}: {outputs} outputs match neither the data's {len(data_classes)} "
            f"classes nor ImageNet's {len(source.categories)}; give weights trained on either"
        )
    return np.array([_output_of(c, source.categories) for c in data_classes], dtype=np.int64)


def _output_of(data_class: Any, categories: Sequence[str]) -> int:
    if data_class.id in IMAGENETTE_OUTPUTS and len(categories) == IMAGENET_CLASSES:
        return IMAGENETTE_OUTPUTS[data_class.id]
    plain = [_plain(each) for each in categories]
    # ImageNet's files name a class by all its synonyms, torchvision by one of them
    for synonym in (data_class.name, *data_class.name.split(",")):
        if plain.count(_plain(synonym)) == 1:
            return plain.index(_plain(synonym))
    return -1


def _plain(name: str) -> str:
    return " ".join(re.sub(r"[^a-z0-9]+", " ", name.lower()).split())
