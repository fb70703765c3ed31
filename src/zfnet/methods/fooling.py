"""Fool a net: FGSM, the smallest perturbation, images from noise; and noise of the same norms.

Everything works on pixels, float (N, 3, H, W) in 0..255, and amounts of change are grey levels of
255. `normalise` maps pixels to the net's input and must be differentiable. All loss gradients are
those of a class's log-odds, m = logsumexp of the other logits − its own logit = log((1 − p) / p):
cross-entropy is log(1 + exp(m)), so the directions are the same, but they do not vanish where the
softmax saturates.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from zfnet.errors import UserError
from zfnet.methods._forward import UnsupportedModel, expanded, indices, undisturbed

Normaliser = Callable[[Tensor], Tensor]
LEAD = 1e-3  # logits by which a target must win, so that it wins in any other batch, too
PENALTIES = 12  # trials of the penalty c for one picture; each changes c at most fourfold
BISECTIONS = 20  # of the way from the clean picture to the perturbed one
GROWTH = [1.02**k for k in range(71)]  # multiples of a change, tried until it survives rounding


@dataclass(frozen=True)
class Perturbations:
    """The smallest perturbed pictures found for N pictures and their target classes.

    pixels: (N, 3, H, W), unrounded, where the target leads by `LEAD`; success: bool (N,), whether
    such a picture was found; where not, pixels are the clean ones.
    grid, grid_success: the same on the 8-bit grid: the change, multiplied by the least of `GROWTH`
    that survives rounding, and whether any of them (up to fourfold) did.
    """

    pixels: Tensor
    success: Tensor
    grid: Tensor
    grid_success: Tensor


@dataclass(frozen=True)
class FoolingImages:
    """Pictures made of noise for K classes: pixels (K, 3, H, W) on the 8-bit grid.

    start: the noise, same shape and grid. probability, start_probability: float64 (K,), the net's
    of the class for pixels and for start. steps: int64 (K,), the steps taken.
    """

    pixels: Tensor
    start: Tensor
    probability: Tensor
    start_probability: Tensor
    steps: Tensor


@dataclass(frozen=True)
class GridPictures:
    """Pictures (N, 3, H, W) of whole grey levels in 0..255, and what that changed, in grey levels.

    rms, largest: (N,), the root mean square and the largest of the differences to what was given.
    """

    pixels: Tensor
    rms: Tensor
    largest: Tensor


def fgsm(
    model: nn.Module,
    pixels: Tensor,
    labels: int | Tensor,
    epsilon: float | Sequence[float],
    *,
    normalise: Normaliser,
    batch_size: int = 32,
) -> Tensor:
    """One step of epsilon grey levels along the sign of the loss gradient (Goodfellow et al. 2015).

    labels: the classes to leave, an int or (N,). epsilon: one, or a sequence of E that share one
    gradient. Returns (N, 3, H, W), or (E, N, 3, H, W) for a sequence, clipped to 0..255; on the
    8-bit grid where pixels and epsilon are whole numbers. Pixels without influence stay.
    Raises `UserError` for what are no pixels, classes or amounts.
    """
    n = _check(pixels)
    steps = torch.as_tensor(epsilon, dtype=pixels.dtype, device=pixels.device)
    if steps.ndim > 1 or not (steps >= 0).all():
        raise UserError(f"epsilon must be grey levels >= 0, a number or several; got {epsilon}")
    classes = expanded(indices(labels, "labels", pixels.device), (n,), "labels")
    with undisturbed(model):
        _, _, slopes = _slopes(model, normalise, pixels, classes, batch_size)
    return (pixels + steps[..., None, None, None, None] * slopes.sign()).clamp(0, 255)


def noise_like(pixels: Tensor, perturbed: Tensor, seed: int = 0) -> Tensor:
    """Noise of the same norms as `perturbed` − `pixels`: the control of a perturbation.

    Every change of the same size gets a random sign. Near 0 and 255, where one of the signs would
    leave the range, the changes trade places with those of pixels of the same value. The sizes are
    therefore the same ones, and with them every norm. Each picture's noise depends on the seed and
    on its own pixels alone. Returns (N, 3, H, W). Raises `UserError` unless the shapes agree.
    """
    _check(pixels)
    if perturbed.shape != pixels.shape:
        raise UserError(f"{tuple(perturbed.shape)} are no perturbed {tuple(pixels.shape)}")
    result = []
    for clean, change in zip(pixels, perturbed - pixels, strict=True):
        value, moved = clean.flatten().cpu().numpy(), change.flatten().cpu().numpy()
        rng = np.random.default_rng([seed, zlib.crc32(value.tobytes())])
        noise = moved * rng.choice(np.array([-1, 1], dtype=moved.dtype), size=moved.size)
        # Judged by the picture's largest change: by its own, an unmoved pixel would never trade.
        most = np.abs(moved).max()
        edge = np.flatnonzero((value < most) | (value > 255 - most))
        mixed = rng.permutation(edge)
        to, origin = (places[np.argsort(value[places], kind="stable")] for places in (edge, mixed))
        noise[to] = moved[origin]
        result.append(torch.from_numpy(noise).view_as(clean))
    return pixels + torch.stack(result).to(pixels)


def smallest_perturbation(
    model: nn.Module,
    pixels: Tensor,
    targets: int | Tensor,
    *,
    normalise: Normaliser,
    iterations: int = 10,
    batch_size: int = 32,
) -> Perturbations:
    """The smallest change that makes the net say the target (Szegedy et al. 2014, section 4.1).

    Minimises c |r|² + cross-entropy(x + r, target) under 0 ≤ x + r ≤ 255 by L-BFGS-B, picture by
    picture, and searches for the largest c that still succeeds; then r is shortened along its line
    to just beyond the border of the class. Exact for a linear net of two classes; otherwise an
    upper bound of the least norm, since cross-entropy pushes down all other classes at once.

    targets: an int or (N,); a picture that the net already gives its target comes back unchanged,
    as a success. iterations: of L-BFGS for each c, at most; c's trials go on from one another, so
    that few suffice.
    Raises `UserError` for what are no pixels or classes.
    """
    n = _check(pixels)
    classes = expanded(indices(targets, "targets", pixels.device), (n,), "targets")

    def succeeds(pictures: Tensor) -> Tensor:
        with torch.no_grad():
            parts = pictures.split(batch_size)
            return _wins(torch.cat([_logits(model, normalise, part) for part in parts]), classes)

    with undisturbed(model):
        changes = [
            _szegedy(model, normalise, pixels[i : i + 1], classes[i : i + 1], iterations)
            for i in range(n)
        ]
        change = torch.cat(changes)
        low, high = (pixels.new_full((n, 1, 1, 1), end) for end in (0, 1))
        success = succeeds(pixels + change)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            beyond = succeeds((pixels + middle * change).clamp(0, 255))[:, None, None, None]
            low, high = torch.where(beyond, low, middle), torch.where(beyond, middle, high)
        change = torch.where(success[:, None, None, None], high * change, 0)
        grid, grid_success = on_grid(pixels + change).pixels, torch.zeros_like(success)
        for factor in GROWTH:
            tried = on_grid(pixels + factor * change).pixels
            first = succeeds(tried) & success & ~grid_success
            grid[first], grid_success = tried[first], grid_success | first
            if torch.equal(grid_success, success):
                break
    return Perturbations((pixels + change).clamp(0, 255), success, grid, grid_success)


def fooling_image(
    model: nn.Module,
    classes: Sequence[int] | Tensor,
    size: tuple[int, int],
    *,
    normalise: Normaliser,
    probability: float = 0.99,
    steps: int = 200,
    rate: float = 1.0,
    seed: int = 0,
    batch_size: int = 32,
) -> FoolingImages:
    """Pictures from noise of which the net is sure (Nguyen et al. 2015, by gradient ascent).

    Starts from pixels drawn evenly from 0..255 and climbs a class's probability until it reaches
    `probability`, by steps of `rate` grey levels (root mean square) along the gradient, `steps` at
    most. Net and gradient see the rounded picture, so that what is returned has the probability
    that is named. The noise of a class depends on the seed and the class alone.

    classes: K outputs; size: height and width in pixels. Raises `UserError` for other than these.
    """
    parameter = next(model.parameters(), torch.zeros(()))
    wanted = indices(classes, "classes", parameter.device)
    if wanted.ndim != 1 or not len(wanted) or not 0 < probability < 1 or not rate > 0 or steps < 0:
        raise UserError(
            "fooling_image needs at least one class (K,), a probability between 0 and 1, "
            "a rate above 0 and steps >= 0"
        )
    rngs = [np.random.default_rng([seed, abs(int(c))]) for c in wanted.tolist()]
    drawn = [rng.integers(0, 256, (3, *size)) for rng in rngs]
    dtype = torch.float64 if parameter.dtype == torch.float64 else torch.float32
    start = torch.from_numpy(np.stack(drawn)).to(parameter.device, dtype)
    x, taken = start.clone(), torch.zeros_like(wanted)
    reached = torch.zeros(len(wanted), dtype=torch.float64, device=start.device)
    first, active = reached, torch.arange(len(wanted), device=start.device)
    with undisturbed(model):
        for step in range(steps + 1):
            _, odds, slopes = _slopes(
                model, normalise, x[active].round(), wanted[active], batch_size
            )
            reached[active], taken[active] = torch.sigmoid(-odds), step
            first = reached.clone() if step == 0 else first
            climbing = reached[active] < probability
            active = active[climbing]
            if step == steps or not len(active):
                break
            down = slopes[climbing]
            length = down.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
            down = down / length.clamp_min(torch.finfo(dtype).tiny)
            x[active] = (x[active] - rate * down).clamp(0, 255)
    return FoolingImages(x.round(), start, reached, first, taken)


def on_grid(
    pixels: Tensor, clean: Tensor | None = None, epsilon: float | None = None
) -> GridPictures:
    """Pictures as 8 bits hold them: the nearest whole grey level in 0..255, ties to the even one.

    With `clean` (whole grey levels) and `epsilon`, the nearest one within epsilon of clean, so that
    the bound holds after rounding, too; the changes are then at most epsilon rounded down.
    pixels: float (N, 3, H, W), any range. Raises `UserError` where clean is off the grid.
    """
    rounded = pixels.round()
    if clean is not None and epsilon is not None:
        if clean.shape != pixels.shape or not torch.equal(clean, clean.round()):
            raise UserError(f"clean must be {tuple(pixels.shape)} of whole grey levels")
        rounded = rounded.clamp((clean - epsilon).ceil(), (clean + epsilon).floor())
    rounded = rounded.clamp(0, 255)
    moved = (rounded - pixels).flatten(1)
    return GridPictures(rounded, moved.square().mean(dim=1).sqrt(), moved.abs().amax(dim=1))


def _szegedy(
    model: nn.Module, normalise: Normaliser, clean: Tensor, target: Tensor, iterations: int
) -> Tensor:
    """The change (1, 3, H, W) at the largest penalty that succeeds; zeros where none does."""
    from scipy.optimize import Bounds, minimize

    logits, odds, slope = _slopes(model, normalise, clean, target, 1)
    steepness = float(slope.double().square().sum())
    if _wins(logits, target) or steepness == 0:
        return torch.zeros_like(clean)
    base = clean.flatten().double().cpu().numpy()

    def picture(r: np.ndarray) -> Tensor:
        return torch.from_numpy(base + r).to(clean).view_as(clean).clamp(0, 255)

    def cost(r: np.ndarray, c: float) -> tuple[float, np.ndarray]:
        # Divided by c, so that tolerances are grey levels whatever the net's slope.
        _, odds, slope = _slopes(model, normalise, picture(r), target, 1)
        loss, share = torch.nn.functional.softplus(odds), torch.sigmoid(odds)
        down = (slope.double() * share).flatten().cpu().numpy()
        return float(r @ r + loss / c), 2 * r + down / c

    # On a straight way to the border p = 1/2 there, where 2 c r = slope / 2: the c to begin with.
    c = steepness / (4 * max(float(odds), 0.1))
    low, high = 0.0, np.inf
    r = best = np.zeros_like(base)
    for _ in range(PENALTIES):
        r = minimize(
            cost, r, args=(c,), jac=True, method="L-BFGS-B", bounds=Bounds(-base, 255 - base),
            options={"maxiter": iterations, "gtol": 1e-5, "ftol": 1e-10},
        ).x  # fmt: skip
        with torch.no_grad():
            said = bool(_wins(_logits(model, normalise, picture(r)), target))
        low, high, best = (c, high, r) if said else (low, c, best)
        if high < 1.2 * low:
            break
        c = c * 4 if high == np.inf else c / 4 if low == 0 else (low * high) ** 0.5
    return torch.from_numpy(best).to(clean).view_as(clean)


def _slopes(
    model: nn.Module, normalise: Normaliser, pixels: Tensor, classes: Tensor, batch_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (N, classes), log-odds against `classes` (N,) and their gradient (N, 3, H, W)."""
    parts = []
    # Out of inference mode: tensors made there cannot take part in a gradient.
    with torch.inference_mode(False), torch.enable_grad():
        for part, own in zip(pixels.split(batch_size), classes.split(batch_size), strict=True):
            leaf, own = part.detach().clone().requires_grad_(), own.clone()
            logits = _logits(model, normalise, leaf)
            last = logits.shape[1] - 1
            if own.is_floating_point() or int(own.min()) < 0 or int(own.max()) > last:
                raise UserError(f"classes must be whole numbers in 0..{last}, the model's outputs")
            if not logits.requires_grad:
                raise UnsupportedModel(
                    "the logits are not connected to the pixels by autograd: the model or "
                    "`normalise` detaches its tensors or turns gradients off"
                )
            odds = _others(logits, own).logsumexp(dim=1) - _own(logits, own)
            (slope,) = torch.autograd.grad(odds.sum(), leaf)
            parts.append((logits.detach(), odds.detach(), slope))
    logits, odds, slope = (torch.cat(each) for each in zip(*parts, strict=True))
    return logits, odds, slope


def _own(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes[:, None])[:, 0]


def _others(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.scatter(1, classes[:, None], -torch.inf)


def _wins(logits: Tensor, classes: Tensor) -> Tensor:
    """Whether each picture's class leads all others by `LEAD`: bool (N,)."""
    return _own(logits, classes) - _others(logits, classes).amax(dim=1) >= LEAD


def _logits(model: nn.Module, normalise: Normaliser, pixels: Tensor) -> Tensor:
    """Logits (N, classes) in float64; the model gets a copy that it may overwrite."""
    logits = model(normalise(pixels.clone()))
    if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] < 2:
        raise UserError("fooling needs a model that gives logits (N, classes), two classes or more")
    return logits.double()


def _check(pixels: Tensor) -> int:
    """The number of pictures. Raises `UserError` unless `pixels` is (N, 3, H, W) in 0..255."""
    if pixels.ndim != 4 or not pixels.is_floating_point() or not len(pixels):
        raise UserError(
            f"pixels must be a float tensor (N, 3, H, W) of grey levels 0..255; got "
            f"{pixels.dtype} {tuple(pixels.shape)}"
        )
    low, high = float(pixels.min()), float(pixels.max())
    if not 0 <= low <= high <= 255 or 0 < high <= 1:
        raise UserError(
            f"pixels must be grey levels 0..255, not net input or 0..1; they are {low:g}..{high:g}"
        )
    return len(pixels)
