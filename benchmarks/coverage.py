"""Every method on every torchvision classifier: which work, and why the others refuse.

    python benchmarks/coverage.py [--only NAME …] [--out docs/coverage.md] [--keep rows.jsonl]

Random weights, one noise image, one layer of middle depth. Each model runs in a process of its own,
so that memory stays below 3 GiB; the two largest run in bfloat16 for the same reason. A result that
is not finite or has the wrong shape, and any error that is not a `UserError`, is a "fault". The
smallest models come first, and --keep lets a run that was cut off go on where it was.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zfnet.errors import UserError
from zfnet.models.torchvision_names import TORCHVISION_NAMES

if TYPE_CHECKING:
    from torch import Tensor, nn

    from zfnet.models.net import Net

PX = 128  # enough for every convolutional net, and a third of the work of 224
OWN_SIZE = ("vit_", "maxvit_")  # these take one size only
FALLBACK_PX = 224
HALF = ("regnet_y_128gf", "vit_h_14")  # about 640 million parameters each
METHODS = ("deconvnet", "guided", "gradient", "field", "top", "occlusion")
COMMAND = "python benchmarks/coverage.py"


class Wrong(Exception):  # noqa: N818 (not an error of this program)
    """A method returned, but not what it should."""


@dataclass
class Row:
    """One model: its family, and for every method "" where it works, else why it does not."""

    name: str
    family: str = ""
    px: int = 0
    layer: str = ""
    rectifiers: int | None = None
    outcome: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)
    seconds: float = 0.0
    peak_mib: int = 0


def condense(error: UserError) -> str:
    """The reason in a few words."""
    text = str(error)
    if found := re.search(r"not defined through (.+) of \w+; unsupported", text):
        return operations(re.sub(r" \(in [^)]*\)", "", found[1]).split("; "))
    if "found no rectifier" in text:
        return "no rectifier"
    if found := re.search(r"receptive field: what '(\w+)' makes", text):
        return f"`{found[1]}`"
    if found := re.search(r"gives a tensor of shape (\([^)]*\))", text):
        return f"layer is {found[1]}, no maps"
    if "does not keep rows and columns" in text:
        return "layer is (N, H, W, C)"
    return text if len(text) <= 70 else text[:69].rstrip() + "…"


def operations(names: list[str]) -> str:
    """Names of operations, the ones that a reader knows first."""
    known = {"Silu": "SiLU", "Gelu": "GELU", "Mul of two activations": "gate"}
    known |= {"NativeLayerNorm": "layer norm", "attention": "attention"}
    known |= {"Bmm of two activations": "product of activations"}
    names = [re.sub("^ScaledDotProduct.*", "attention", name) for name in names]
    plain = list(dict.fromkeys(known.get(name, name) for name in names))
    plain.sort(key=lambda name: (name not in known.values(), name))
    more = f" and {len(plain) - 3} more" if len(plain) > 3 else ""
    return ", ".join(plain[:3]) + more


def load(row: Row) -> Net:
    """The bundle with random weights, at the size that the row will name."""
    from zfnet.data.sample import ClassInfo
    from zfnet.models.foreign import torchvision_net

    classes = [ClassInfo(i, f"class{i}", f"class {i}") for i in range(10)]
    if not row.name.startswith(OWN_SIZE):
        return torchvision_net(row.name, "random", classes, input_px=PX)
    try:
        return torchvision_net(row.name, "random", classes)
    except Exception as error:
        if not isinstance(error, UserError):
            row.traces.append(traceback.format_exc())
        kind = condense(error) if isinstance(error, UserError) else f"fault: {told(error)}"
        row.notes.append(f"loading at its weights' own size: {kind}")
    return torchvision_net(row.name, "random", classes, input_px=FALLBACK_PX)


def middle_layer(net: Net) -> str:
    """Layer 3 by the automatic taps; without taps the middle of the longest sequence of blocks."""
    from torch import nn

    if "3.relu" in net.taps:
        return net.tap(3)
    sequences = [(p, m) for p, m in net.model.named_modules() if isinstance(m, nn.Sequential)]
    path, longest = max(sequences, key=lambda each: len(each[1]))
    names = [name for name, _ in longest.named_children()]
    return f"{path}.{names[len(names) // 2]}"


def check(condition: bool, what: str) -> None:
    if not condition:
        raise Wrong(what)


def channels_last(model: nn.Module, layer: str, image: Tensor) -> bool:
    """Whether the layer gives (N, H, W, C), where the methods take (N, C, H, W) for granted."""
    import torch

    shapes: list[tuple[int, ...]] = []
    watched = model.get_submodule(layer)
    handle = watched.register_forward_hook(lambda m, i, output: shapes.append(output.shape))
    with torch.no_grad():
        model(image)
    handle.remove()
    shape = shapes[0]
    return len(shape) == 4 and shape[1] == shape[2] != shape[3]


def attempts(net: Net, layer: str, image: Tensor) -> dict[str, Callable[[], None]]:
    """Method → a call that runs it once and checks what comes out."""
    import torch

    from zfnet import methods

    model = net.model

    def projection(method: Callable[..., Tensor]) -> Callable[[], None]:
        def run() -> None:
            down = method(model, image, layer, strongest())
            check(down.shape == image.shape, f"shape {tuple(down.shape)}")
            check(bool(down.isfinite().all()), "not finite")
            check(bool(down.any()), "all zero")

        return run

    def strongest() -> int:
        """The map with the largest value; 0 where the layer has no maps (the method tells)."""
        try:
            return int(ranked().values[:, 0].argmax())
        except UserError:
            return 0

    def ranked() -> methods.TopActivations:
        return methods.top_activations(model, [(image, torch.arange(1))], [layer], k=1)[layer]

    def top() -> None:
        best = ranked()
        check(bool(best.values.isfinite().all()), "not finite")
        check(best.places.shape == (*best.values.shape, 2), "places do not fit")

    def receptive() -> None:
        found = methods.receptive_field(model, layer, net.input_px)
        y, x = found.places[0] // 2, found.places[1] // 2
        y0, x0, y1, x1 = found.box(y, x)
        place = torch.tensor([[y, x]])
        down = methods.gradient(model, image, layer, strongest(), places=place)
        down[:, :, y0:y1, x0:x1] = 0
        check(not down.any(), "the gradient leaves the field")

    def occlude(layer: str | None) -> None:
        half = net.input_px // 2
        maps = methods.occlude(
            model, image, classes=3, size=half, stride=half, layer=layer, progress=False
        )
        check(maps.probability.shape == (1, 2, 2), f"shape {tuple(maps.probability.shape)}")
        check(bool(maps.probability.isfinite().all()), "not finite")
        if layer is not None:
            check(maps.activity is not None and maps.activity.shape == (1, 2, 2), "no activity")

    return {
        "deconvnet": projection(methods.deconvnet),
        "guided": projection(methods.guided_backprop),
        "gradient": projection(methods.gradient),
        "field": receptive,
        "top": top,
        "occlusion": lambda: occlude(layer),
        "occlusion of the class alone": lambda: occlude(None),
    }


def examine(row: Row) -> None:
    """Fill in the row."""
    import torch
    import torchvision

    from zfnet.methods import rectifier_rule

    if row.name in HALF:
        torch.set_default_dtype(torch.bfloat16)
        row.notes.append("in bfloat16")
    family = torchvision.models.get_model_builder(row.name).__module__
    row.family = family.rpartition(".")[2]
    net = load(row)
    row.px, row.layer = net.input_px, middle_layer(net)
    image = torch.randn(1, 3, row.px, row.px, generator=torch.Generator().manual_seed(0))
    with rectifier_rule(net.model, "deconvnet", unsupported="plain") as found:
        net.model(image.clone().requires_grad_())
    row.rectifiers = len(found.rectifiers)
    swapped = channels_last(net.model, row.layer, image)
    tries = attempts(net, row.layer, image)
    for method in METHODS:
        row.outcome[method] = outcome(row, tries[method])
        if swapped and not row.outcome[method]:
            row.outcome[method] = "fault: takes the rows of (N, H, W, C) for channels"
    if row.outcome["occlusion"]:
        alone = "occlusion of the class alone"
        row.notes.append(f"{alone}: {outcome(row, tries[alone]) or 'yes'}")
    if not row.outcome["deconvnet"] and found.unsupported:
        row.notes.append(f"behind the layer: {operations(list(found.unsupported))}")


def outcome(row: Row, attempt: Callable[[], None]) -> str:
    """Nothing where the attempt worked, else the refusal or the fault in a few words."""
    try:
        attempt()
    except UserError as error:
        return condense(error)
    except Wrong as error:
        return f"fault: {error}"
    except Exception as error:
        row.traces.append(traceback.format_exc())
        return f"fault: {told(error)}"
    return ""


def told(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:80]}"


def work(name: str, pipe: Connection) -> None:
    """In the model's own process."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    row = Row(name)
    started = time.perf_counter()
    try:
        examine(row)
    except Exception as error:
        row.traces.append(traceback.format_exc())
        row.notes.append(f"fault: {told(error)}")
    row.seconds = time.perf_counter() - started
    row.peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    pipe.send(row)


def examined(name: str) -> Row:
    """The row of a model, from a fresh process whose memory goes with it."""
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torchvision", "zfnet.methods"])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(name, theirs))
    process.start()
    theirs.close()
    try:
        row: Row = ours.recv()
    except EOFError:
        row = Row(name, notes=["fault: the process died"])
    process.join()
    return row


def smallest_first(names: Iterable[str]) -> list[str]:
    """By number of parameters, as torchvision tells it."""
    import torchvision

    def size(name: str) -> int:
        return int(torchvision.models.get_model_weights(name).DEFAULT.meta["num_params"])

    return sorted(names, key=size)


def kept(file: Path | None) -> dict[str, Row]:
    """The rows of a former run by model."""
    if file is None or not file.is_file():
        return {}
    rows = [Row(**json.loads(text)) for text in file.read_text(encoding="utf-8").splitlines()]
    return {row.name: row for row in rows}


def natural(text: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


def reasons(row: Row) -> str:
    """Why methods do not work, with methods of the same reason together; then the notes."""
    same: dict[str, list[str]] = {}
    for method, reason in row.outcome.items():
        if reason:
            same.setdefault(reason, []).append(method)
    return "; ".join([*(f"{', '.join(m)}: {why}" for why, m in same.items()), *row.notes])


def line(row: Row, family: str) -> str:
    marks = [
        "–" if method not in row.outcome else "no" if row.outcome[method] else "yes"
        for method in METHODS
    ]
    rectifiers = "–" if row.rectifiers is None else str(row.rectifiers)
    cells = [family, row.name, str(row.px), f"`{row.layer}`", rectifiers, *marks, reasons(row)]
    return "| " + " | ".join(cells) + " |"


def page(rows: list[Row]) -> str:
    """The Markdown page."""
    import torch
    import torchvision

    rows = sorted(rows, key=lambda row: (row.family, natural(row.name)))
    counts = [sum(row.outcome.get(method) == "" for row in rows) for method in METHODS]
    faults = sum("fault" in reasons(row) for row in rows)
    text = f"""# The methods on torchvision's classifiers

Generated by `{COMMAND}` with torch {torch.__version__} and torchvision {torchvision.__version__};
do not edit. Random weights, one noise image of `px` pixels, one layer of middle depth (layer 3 by
the automatic taps, or the middle block of a net that has none).

*yes*: the method ran, and what it gave has the right shape and finite values; projections are not
all zero, and no gradient leaves the receptive field. *no*: refused, for the reason in the last
column, where names are those of the operations that stand in the way, and a *gate* is a product of
two activations; a *fault* there is an error that is not a refusal, or a wrong result.
*Rectifiers*: those that a rule overrides in one whole pass.

Of {len(rows)} models, {faults} with a fault. Working:
{", ".join(f"{method} {n}" for method, n in zip(METHODS, counts, strict=True))}.

"""
    head = ["family", "model", "px", "layer", "rectifiers", *METHODS, "why not, notes"]
    lines = ["| " + " | ".join(head) + " |"]
    kinds = ["---", "---", "--:", "---", "--:", *[":-:"] * len(METHODS), "---"]
    lines.append("|" + "|".join(kinds) + "|")
    missing = [name for name in TORCHVISION_NAMES if name not in {row.name for row in rows}]
    if missing:
        text += f"Not tried in this run: {', '.join(missing)}.\n\n"
    previous = ""
    for row in rows:
        lines.append(line(row, "" if row.family == previous else row.family))
        previous = row.family
    return text + "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=TORCHVISION_NAMES, metavar="NAME",
                        help="these models alone; printed unless --out is given")  # fmt: skip
    parser.add_argument("--out", type=Path, help="default: docs/coverage.md beside this folder")
    parser.add_argument("--keep", type=Path, help="rows are added here, and taken from here")
    options = parser.parse_args()
    out = options.out
    if out is None and not options.only:
        out = Path(__file__).resolve().parents[1] / "docs" / "coverage.md"
    former, rows = kept(options.keep), []
    for name in smallest_first(options.only or TORCHVISION_NAMES):
        row = former.get(name) or examined(name)
        rows.append(row)
        say(row)
        if options.keep is not None and name not in former:
            with options.keep.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(row)) + "\n")
        if out is not None:  # after every model: the whole run takes a while
            out.write_text(page(rows), encoding="utf-8")
    if out is None:
        print(page(rows))


def say(row: Row) -> None:
    """One line on a model, and the tracebacks of its faults."""
    told_so = reasons(row) or "all work"
    print(f"{row.name}: {told_so} ({row.seconds:.0f} s, {row.peak_mib} MiB)", file=sys.stderr)
    for trace in row.traces:
        print(trace, file=sys.stderr)


if __name__ == "__main__":
    main()
