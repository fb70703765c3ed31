"""One mechanism for the gradient family: a rule on how rectifiers pass gradients.

A rectifier y = max(x, 0) sits on the way down with two possible masks: the *forward mask*
1[x > 0], and the *gradient mask* 1[g > 0]. The four combinations:

| rule         | forward mask | gradient mask | known as                                    |
|--------------|--------------|---------------|---------------------------------------------|
| `"plain"`    | yes          | no            | the gradient (Simonyan et al. 2014)         |
| `"deconvnet"`| no           | yes           | deconvnet (Zeiler & Fergus 2014)            |
| `"guided"`   | yes          | yes           | guided backprop (Springenberg et al. 2015)  |
| `"linear"`   | no           | no            | the net with its rectifiers taken out       |

The rectifiers are found where they are *called*, not where they are declared: a
`TorchFunctionMode` sees every call made in Python, so modules and functions, in place or not, used
once or many times are treated alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from zfnet.errors import UserError
from zfnet.methods._forward import UnsupportedModel, refuse_compiled, undisturbed
from zfnet.models.hooks import Before, hooked

Rule = Literal["plain", "deconvnet", "guided", "linear"]
Lrn = Literal["identity", "jacobian"]
Unsupported = Literal["error", "plain"]

# rule → (forward mask, gradient mask)
MASKS: dict[str, tuple[bool, bool]] = {
    "plain": (True, False),
    "deconvnet": (False, True),
    "guided": (True, True),
    "linear": (False, False),
}

# Autograd nodes through which the way down is well defined: linear maps, moves of data, and
# selections (max pools, whose backward pass is the switch). Names without "Backward<digit>".
_LINEAR_NODES = frozenset(
    """
    AccumulateGrad CopySlices
    Convolution ConvolutionOverrideable MkldnnConvolution CudnnConvolution ThnnConv2D SlowConv2D
    SlowConvDilated2D ConvDepthwise2D ConvolutionBackward ConvTbc
    Addmm Mm Bmm Baddbmm Addbmm Mv Addmv Dot Linear MkldnnLinear
    NativeBatchNorm CudnnBatchNorm MiopenBatchNorm BatchNormImplIndex
    AvgPool2D AvgPool3D AdaptiveAvgPool1D AdaptiveAvgPool2D AdaptiveAvgPool3D
    MkldnnAdaptiveAvgPool2D
    MaxPool2DWithIndices MaxPool3DWithIndices MaxPool1DWithIndices MaxPool2D MkldnnMaxPool2D
    AdaptiveMaxPool2D AdaptiveMaxPool3D FractionalMaxPool2D MaxUnpool2D
    Max Min Amax Amin Topk Sort Maximum
    Add Addcmul Sub Rsub Neg Mul Div Lerp Sum Mean Cumsum
    Cat Stack Split SplitWithSizes SafeSplit Chunk Unbind Narrow Slice Select Index IndexSelect
    Gather Take MaskedSelect MaskedFill Diagonal
    View UnsafeView ViewAs Alias ReshapeAlias AsStrided Expand Repeat Permute Transpose T Mt
    Squeeze Unsqueeze Unfold Im2Col Col2Im Flip Roll Rot90 Movedim
    Clone ToCopy Contiguous Copy Detach ToDense LiftFresh
    ConstantPadNd ReflectionPad1D ReflectionPad2D ReplicationPad1D ReplicationPad2D
    PixelShuffle PixelUnshuffle ChannelShuffle NativeChannelShuffle
    UpsampleNearest1D UpsampleNearest2D UpsampleNearestExact2D UpsampleBilinear2D
    UpsampleBilinear2DAa UpsampleBicubic2D UpsampleBicubic2DAa GridSampler2D
    _Rectify _Normalise
    """.split()  # noqa: SIM905 (a list of these would fill a screen)
)

# Nodes that are linear only while one factor is a constant: with both depending on the image they
# are a gate. The value says which edges of the node are factors.
_PRODUCTS: dict[str, tuple[int, int]] = {
    **dict.fromkeys(("Mul", "Div", "Mm", "Bmm", "Mv", "Dot", "Convolution"), (0, 1)),
    **dict.fromkeys(("Addmm", "Baddbmm", "Addbmm", "Addmv", "Addcmul"), (1, 2)),
}


class _Rectify(torch.autograd.Function):
    """max(x, 0), or min(max(x, 0), upper), with the masks of a rule on the way down."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, upper: float | None, masks: tuple[bool, bool], inplace: bool
    ) -> Tensor:
        ctx.forward_mask, ctx.gradient_mask = masks
        if ctx.forward_mask:
            passed = x > 0 if upper is None else (x > 0) & (x < upper)
            ctx.save_for_backward(passed)
        if inplace:
            # Autograd's own bookkeeping of a changed tensor: whoever reads x afterwards, through
            # any alias, reads the rectified value and is a child of this node.
            ctx.mark_dirty(x)
            return x.relu_() if upper is None else x.clamp_(0, upper)
        return x.relu() if upper is None else x.clamp(0, upper)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradient_mask:
            grad = grad.relu()
        if ctx.forward_mask:
            (passed,) = ctx.saved_tensors
            grad = torch.where(passed, grad, 0.0)
        return grad, None, None, None


class _Normalise(torch.autograd.Function):
    """Local response normalisation; on the way down the identity or its Jacobian."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, normalise: Callable[[Tensor], Tensor], identity: bool
    ) -> Tensor:
        ctx.normalise, ctx.identity = normalise, identity
        if not identity:
            ctx.save_for_backward(x)
        return normalise(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        if ctx.identity:
            return grad, None, None
        (x,) = ctx.saved_tensors
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            (down,) = torch.autograd.grad((ctx.normalise(x) * grad).sum(), x)
        return down, None, None


@dataclass
class Overridden:
    """What a rule found while the model ran; filled during the forward pass.

    `rectifiers` names the module in which each call happened, in order of the calls;
    `normalisations` likewise; `unsupported` maps the name of an operation to where it was called.
    """

    rule: Rule
    lrn: Lrn
    rectifiers: list[str] = field(default_factory=list)
    normalisations: list[str] = field(default_factory=list)
    unsupported: dict[str, list[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [f"{self.rule}: overrode {_count(len(self.rectifiers), 'rectifier')}"]
        if self.normalisations:
            parts.append(f"{self.lrn} through {_count(len(self.normalisations), 'normalisation')}")
        if self.unsupported:
            parts.append(f"plain gradient through {_list(self.unsupported)}")
        return "; ".join(parts)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _list(found: dict[str, list[str]]) -> str:
    def one(name: str, places: list[str]) -> str:
        known = list(dict.fromkeys(place for place in places if place))
        if not known:
            return name
        more = f" and {len(known) - 3} more" if len(known) > 3 else ""
        return f"{name} (in {', '.join(known[:3])}{more})"

    return "; ".join(one(name, places) for name, places in found.items())


@contextmanager
def rectifier_rule(
    model: nn.Module,
    rule: Rule,
    *,
    lrn: Lrn | None = None,
    unsupported: Unsupported = "error",
) -> Iterator[Overridden]:
    """Put `rule` on every rectifier that `model` calls inside the `with` block.

    Gradients of anything computed inside follow the rule; taking them may happen inside or after.
    `lrn` says how local response normalisation is passed on the way down: "identity" (default for
    all rules but "plain") or its true "jacobian" (default for "plain"). Inside the block the model
    is in evaluation mode and its parameters are frozen; on leaving, hooks and flags are as before.

    Yields an `Overridden` that lists what was found. Raises `UnsupportedModel` on leaving the block
    if the model ran no rectifier, or one of the operations through which the rule is not defined
    (GELU, SiLU, gates, softmax …), unless `unsupported="plain"` lets those pass as plain gradient.
    For "plain" nothing is unsupported.
    """
    if rule not in MASKS:
        raise UserError(f"unknown rule {rule!r}; choose one of {', '.join(MASKS)}")
    if lrn not in (None, "identity", "jacobian"):
        raise UserError(f"unknown lrn {lrn!r}; choose identity or jacobian")
    if unsupported not in ("error", "plain"):
        raise UserError(f"unknown unsupported {unsupported!r}; choose error or plain")
    refuse_compiled(model)
    found = Overridden(rule, lrn or ("jacobian" if rule == "plain" else "identity"))
    with undisturbed(model), _where(model) as where, _RuleMode(found, where):
        yield found
    if rule != "plain" and unsupported == "error":
        refuse_unsupported(model, found)


def refuse_unsupported(model: nn.Module, found: Overridden) -> None:
    """Raise `UnsupportedModel` if `found` holds no rectifier or an unsupported operation."""
    name = type(model).__name__
    if found.unsupported:
        raise UnsupportedModel(
            f"the {found.rule} rule is not defined through {_list(found.unsupported)} of {name}; "
            "unsupported='plain' passes these as plain gradient"
        )
    if not found.rectifiers:
        raise UnsupportedModel(
            f"the {found.rule} rule found no rectifier in the part of {name} that ran, so it would "
            "be the plain gradient: use gradient()"
        )


@contextmanager
def _where(model: nn.Module) -> Iterator[list[str]]:
    """A stack of the names of the modules that are running."""
    stack: list[str] = []

    def enter(name: str) -> Before:
        def hook(module: nn.Module, args: object) -> None:
            if not name:  # a new pass: a former one may have ended in the middle
                stack.clear()
            stack.append(name)

        return hook

    def leave(module: nn.Module, args: object, output: object) -> None:
        if stack:
            stack.pop()

    modules = list(model.named_modules())
    before = [(module, enter(name)) for name, module in modules]
    with hooked(before, [(module, leave) for _, module in modules]):
        yield stack


class _RuleMode(TorchFunctionMode):
    """Sees every torch call made in Python while active; replaces rectifiers, notes the rest."""

    def __init__(self, found: Overridden, where: list[str]) -> None:
        super().__init__()
        self.found = found
        self.where = where
        self.identity_lrn = found.lrn == "identity"
        self.masks = MASKS[found.rule]

    def _place(self) -> str:
        return self.where[-1] if self.where else ""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        x = args[0] if args else kwargs.get("input")
        tracked = isinstance(x, Tensor) and x.requires_grad and torch.is_grad_enabled()
        plain = self.found.rule == "plain"
        if tracked and not plain and (reader := _RECTIFIERS.get(name.removesuffix("_"))):
            clamp = reader(*args, **kwargs)
            if clamp is not None:
                self.found.rectifiers.append(self._place())
                upper, inplace = clamp
                return _Rectify.apply(x, upper, self.masks, inplace or name.endswith("_"))
        if tracked and name == "local_response_norm":
            self.found.normalisations.append(self._place())
            rest = {key: value for key, value in kwargs.items() if key != "input"}
            return _Normalise.apply(x, lambda t: func(t, *args[1:], **rest), self.identity_lrn)
        result = func(*args, **kwargs)
        if not plain:
            self._note(name, kwargs, result)
        return result

    def _note(self, name: str, kwargs: dict[str, Any], result: Any) -> None:
        """Note a result whose autograd node the rule cannot pass."""
        if isinstance(result, (tuple, list)):
            result = next((item for item in result if isinstance(item, Tensor)), None)
        if not isinstance(result, Tensor) or not result.requires_grad or result.grad_fn is None:
            return
        fault = _fault(result.grad_fn)
        if name == "batch_norm" and kwargs.get("training"):
            fault = "batch_norm over the batch's own statistics"
        if fault is None:
            return
        places = self.found.unsupported.setdefault(fault, [])
        # Reading attributes of the same result again is no second call.
        if name not in ("__get__", "size", "dim"):
            places.append(self._place())


Clamp = tuple[float | None, bool]  # a rectifier's upper limit, if any; whether it works in place
Reader = Callable[..., Clamp | None]


def _reads_clamp(low: float | None, high: float | None) -> Reader:
    """A reader of (x, low, high, inplace) under any of torch's spellings; defaults as given.

    A clamp to [0, high] is a rectifier; any other clamp is not.
    """

    def read(*args: Any, **kwargs: Any) -> Clamp | None:
        given = {"low": low, "high": high, "inplace": False}
        given |= dict(zip(("x", "low", "high", "inplace"), args, strict=False))
        given |= {_SPELLING.get(key, key): value for key, value in kwargs.items()}
        lower, upper = given["low"], given["high"]
        if isinstance(lower, Tensor) or isinstance(upper, Tensor) or lower is None or lower != 0:
            return None
        limit = None if upper is None or upper == float("inf") else float(upper)
        return limit, bool(given["inplace"])

    return read


def _reads_threshold(
    input: Tensor, threshold: float, value: float, inplace: bool = False
) -> Clamp | None:
    return (None, inplace) if threshold == 0 and value == 0 else None


_SPELLING = {"min_val": "low", "max_val": "high", "min": "low", "max": "high"}

# Name of the torch function, without the _ of those that work in place → a reader of its arguments;
# None from it: not a rectifier after all.
_RECTIFIERS: dict[str, Reader] = {
    "relu": lambda input, inplace=False: (None, inplace),
    "relu6": lambda input, inplace=False: (6.0, inplace),
    "hardtanh": _reads_clamp(-1.0, 1.0),
    **dict.fromkeys(("clamp", "clip", "clamp_min"), _reads_clamp(None, None)),
    **dict.fromkeys(("threshold", "_threshold"), _reads_threshold),
}


def _fault(node: Any) -> str | None:
    """Why the way down through this autograd node is not defined; None if it is."""
    kind = re.sub(r"(Backward\d*)+$", "", node.name().split("::")[-1])
    if kind not in _LINEAR_NODES:
        return kind
    edges = [child is not None for child, _ in node.next_functions]
    if kind in _PRODUCTS and all(i < len(edges) and edges[i] for i in _PRODUCTS[kind]):
        return f"{kind} of two activations"
    if kind == "Maximum" and not all(edges):
        return "Maximum with a constant"
    return None


def inspect_graph(output: Tensor, found: Overridden) -> None:
    """Add to `found.unsupported` the nodes behind `output` that no Python call showed.

    A second guard beside the mode: calls made from C++ leave their nodes in the autograd graph.
    """
    seen: set[Any] = set()
    todo: list[Any] = [output.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if (fault := _fault(node)) is not None:
            found.unsupported.setdefault(fault, [])
        todo += [child for child, _ in node.next_functions]
