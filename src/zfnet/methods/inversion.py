"""From a code back to a picture: the inversion of Mahendran & Vedaldi 2015.

Sought is the picture x, in grey levels minus the net's mean, that makes

    code_weight ‖Φ(x) − Φ₀‖² / ‖Φ₀‖² + alpha_weight Σ|x|⁶ / s² + tv_weight TV(x) / S²

least, where Φ₀ is the code of an image at a layer, s² the squared norm of a typical photograph of
the input's size and S² that at the authors' 227 px. The sum of |x|⁶ grows with the number of
pixels; TV does not, as a picture half as wide has slopes twice as steep in a quarter of the pixels.
Divided like this both stay the same when a picture is scaled, and one weight serves every size.

The paper descends with momentum at fixed rates, which suit one net: in a narrow ZFNet they reach a
somewhat lower minimum at layer 3, a higher one at 1 and 7, and diverge at 5. Here each image has
its own L-BFGS with backtracking, which needs no rate. The objective has many minima all the same:
two seeds show how far apart. Layers differ in how many passes they need: `tolerance` ends each
image's descent by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zfnet.errors import UserError
from zfnet.methods._forward import (
    Layer,
    UnsupportedModel,
    check_images,
    layer_path,
    output_of,
    undisturbed,
)

# RMS grey level of a photograph minus the mean: the authors' norm of 27098.1 at 227 x 227 x 3.
SIDE = 227
TYPICAL_RMS = 27098.1 / (3 * SIDE * SIDE) ** 0.5
# Half of the authors' 8e-10 and of their 1, 10, 100 (by depth): their code halves both.
ALPHA_WEIGHT = 4e-10
TV_WEIGHT = 5.0

HISTORY = 6  # steps that L-BFGS remembers
ARMIJO = 1e-4  # share of the fall that the slope promises which a step must bring
FIRST_STEP = 0.1  # of a steepest descent, as a share of the picture's norm
CURVED = 1e-8  # least cosine of a step and its change of gradient that teaches a curvature
SHORTEST = 1e-3  # of the step along an L-BFGS direction before its memory is dropped
FEWEST = 30  # passes before a descent may end: a tenth of fewer may be one step that was refused

Objective = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class InvertedCodes:
    """What N codes gave back.

    images: (N, C, H, W), in units of the net's input. loss: (N, steps + 1), the objective at the
    start and after each pass, the last value repeated once a descent has ended. passes: (N,) int64,
    after which it did. distance: (N,), ‖Φ(x) − Φ₀‖². norm: (N,), ‖Φ₀‖².
    """

    images: Tensor
    loss: Tensor
    passes: Tensor
    distance: Tensor
    norm: Tensor

    @property
    def code_error(self) -> Tensor:
        """(N,): the squared distance by the code's own squared norm, as in the objective.

        The error of the paper's tables is another: the mean of `distance` divided by
        `code_spread`. Only that one compares layers.
        """
        return self.distance / self.norm

    @property
    def late_fall(self) -> Tensor:
        """(N,), 0..1: the share by which the objective still fell in the last tenth of the passes.

        Pictures of different layers compare only where this is equally small.
        """
        tenth = (self.passes // 10).clamp(min=1)
        before = self.loss.gather(1, (self.passes - tenth)[:, None])[:, 0]
        return (before - self.loss[:, -1]) / before.clamp(min=torch.finfo(before.dtype).tiny)


def total_variation(images: Tensor) -> Tensor:
    """Σ (right difference² + lower difference²) over pixels and colours: (N, C, H, W) → (N,).

    V^β of Mahendran & Vedaldi with β = 2; beyond the last row and column the difference is 0.
    """
    across, down = images.diff(dim=3), images.diff(dim=2)
    return across.square().sum(dim=(1, 2, 3)) + down.square().sum(dim=(1, 2, 3))


def alpha_norm(images: Tensor) -> Tensor:
    """Σ |x|⁶ over pixels and colours: (N, C, H, W) → (N,)."""
    return images.pow(6).sum(dim=(1, 2, 3))


def invert(
    model: nn.Module,
    images: Tensor,
    layer: Layer,
    *,
    scale: float | Tensor = 1.0,
    code_weight: float = 1.0,
    alpha_weight: float = ALPHA_WEIGHT,
    tv_weight: float = TV_WEIGHT,
    steps: int = 400,
    tolerance: float = 0.0,
    seed: int = 0,
    batch_size: int = 32,
) -> InvertedCodes:
    """Pictures whose code at `layer` is that of `images`, started from noise.

    images: net input (N, C, H, W), float, whose codes are inverted; nothing else of them is used.
    layer: module path, or the paper's number where the model defines it.
    scale: grey levels in one unit of the net's input, a number or (C,): 1 for pixels minus a mean
    image, 255 std for standardised ones.
    code_weight: 0 leaves the priors alone, the control that shows what they do without a code.
    steps: passes forward and back that every image gets at most, whatever the layer.
    tolerance: an image's descent ends once the last tenth of its passes brought no more than this
    share of the objective; 0: never before `steps`.
    seed: of the noise, which has the norm of a photograph; image i starts from its i-th draw,
    whatever N and `batch_size`.

    Raises `UserError` for a layer that the model lacks and for codes that are all zero or not
    finite; `UnsupportedModel` where a layer's output is not one code per image.
    """
    check_images(images)
    path = layer_path(model, layer)
    if steps < 1:
        raise UserError(f"steps must be at least 1, got {steps}")
    # Out of inference mode: tensors made there cannot take part in a gradient.
    with torch.inference_mode(False), torch.enable_grad(), undisturbed(model):
        grey = _scale(scale, images)
        noise = _noise(images, seed)
        weights = code_weight, alpha_weight, tv_weight
        parts = [
            _invert(model, path, part, start, grey, weights, (steps, tolerance))
            for part, start in zip(images.split(batch_size), noise.split(batch_size), strict=True)
        ]
    found = InvertedCodes(*(torch.cat(each) for each in zip(*parts, strict=True)))
    if not found.loss.isfinite().all():
        raise UserError(
            f"invert: the objective is no number in {images.dtype}; use float32, and finite weights"
        )
    return found


def pixel_error(inverted: Tensor, images: Tensor, scale: float | Tensor = 1.0) -> Tensor:
    """RMS difference in grey levels of pictures (N, C, H, W) in units of the input: (N,).

    As they are: no contrast or mean is fitted. Raises `UserError` where the shapes differ.
    """
    if inverted.shape != images.shape:
        raise UserError(f"{tuple(inverted.shape)} and {tuple(images.shape)} do not pair up")
    difference = (inverted - images) * _scale(scale, images)
    return difference.square().mean(dim=(1, 2, 3)).sqrt()


def mean_distance(values: Tensor) -> float:
    """Mean squared distance ‖a − b‖² over all pairs of different rows of (N, …), in float64.

    Raises `UserError` for fewer than two rows.
    """
    if len(values) < 2:
        raise UserError("a mean distance needs at least two images")
    # Twice the variance, summed over the dimensions, without a look at any pair.
    return 2 * float(values.flatten(1).double().var(dim=0).sum())


@torch.no_grad()
def code_spread(model: nn.Module, images: Tensor, layer: Layer, batch_size: int = 32) -> float:
    """`mean_distance` of the codes of `images` (N, C, H, W) at `layer`: the tables' denominator."""
    check_images(images)
    path = layer_path(model, layer)
    with undisturbed(model):
        codes = [_codes(model, path, part.clone()) for part in images.split(batch_size)]
    return mean_distance(torch.cat(codes))


def _codes(model: nn.Module, path: str, images: Tensor) -> Tensor:
    output = output_of(model, path, images)
    if output.ndim < 2 or len(output) != len(images):
        raise UnsupportedModel(
            f"layer {path!r} gives {tuple(output.shape)} for {len(images)} images, which is not "
            "one code per image"
        )
    return output.flatten(1)


def _scale(scale: float | Tensor, images: Tensor) -> Tensor:
    """Grey levels per unit of input, to be multiplied with (N, C, H, W)."""
    grey = torch.as_tensor(scale).to(images)
    if grey.ndim > 1 or grey.numel() not in (1, images.shape[1]) or not (grey > 0).all():
        raise UserError(
            f"scale must be a positive number or {images.shape[1]} of them, one per channel; got "
            f"{grey.tolist()}"
        )
    return grey.view(-1, 1, 1)


def _noise(images: Tensor, seed: int) -> Tensor:
    """White noise in grey levels, each picture of it with the norm of a photograph."""
    generator = torch.Generator().manual_seed(seed)
    shape = images.shape[1:]
    draws = torch.stack([torch.randn(shape, generator=generator) for _ in images])
    rms = draws.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return (draws * (TYPICAL_RMS / rms)).to(images)


def _invert(
    model: nn.Module,
    path: str,
    images: Tensor,
    start: Tensor,
    grey: Tensor,
    weights: tuple[float, float, float],
    until: tuple[int, float],
) -> tuple[Tensor, ...]:
    """The fields of `InvertedCodes` of one batch; until: steps and tolerance."""
    code_weight, alpha_weight, tv_weight = weights
    typical = TYPICAL_RMS**2 * start[0].numel()
    alpha, variation = (
        alpha_weight / typical,
        tv_weight / (TYPICAL_RMS**2 * len(start[0]) * SIDE**2),
    )
    with torch.no_grad():
        target = _codes(model, path, images.clone()).clone()
    norm = target.square().sum(dim=1)
    if code_weight and (bad := ~(norm.isfinite() & (norm > 0))).any():
        raise UserError(
            f"layer {path!r}: the codes of {int(bad.sum())} of {len(bad)} images are all zero or "
            "not finite; there is nothing to invert"
        )

    def objective(flat: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        pictures = flat.view(-1, *start.shape[1:])
        with torch.no_grad():
            loss, gradient = _priors(pictures, alpha, variation)
        if code_weight:
            leaf = pictures.detach().requires_grad_()
            code = _codes(model, path, leaf / grey)
            if not code.requires_grad:
                raise UnsupportedModel(
                    f"layer {path!r} is not connected to the image by autograd: the model "
                    "detaches its tensors or turns gradients off before it"
                )
            error = code_weight * (code - target[rows]).square().sum(dim=1) / norm[rows]
            gradient += torch.autograd.grad(error.sum(), leaf)[0]
            loss = loss + error.detach()
        return loss, gradient.flatten(1)

    flat, loss, passes = minimise(objective, start.flatten(1), *until)
    found = flat.view_as(start) / grey
    with torch.no_grad():
        distance = (_codes(model, path, found.clone()) - target).square().sum(dim=1)
    return found, loss, passes, distance, norm


def _priors(images: Tensor, alpha: float, variation: float) -> tuple[Tensor, Tensor]:
    """alpha · `alpha_norm` + variation · `total_variation` (N,), and the gradient (N, C, H, W).

    Written out, as autograd would take longer than the first layers of a net.
    """
    square = images.square()
    fourth = square.square()
    across, down = images.diff(dim=3), images.diff(dim=2)
    values = alpha * _dot(fourth, square) + variation * (_dot(across, across) + _dot(down, down))
    gradient = fourth.mul_(images).mul_(6 * alpha)
    across.mul_(2 * variation)
    down.mul_(2 * variation)
    gradient[..., 1:].add_(across)
    gradient[..., :-1].sub_(across)
    gradient[:, :, 1:].add_(down)
    gradient[:, :, :-1].sub_(down)
    return values, gradient


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Σ a · b of each row: (N, …) → (N,)."""
    return torch.linalg.vecdot(a.flatten(1), b.flatten(1))


@torch.no_grad()
def minimise(
    objective: Objective, start: Tensor, steps: int, tolerance: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Minimise each row of `start` (N, D) by itself with L-BFGS and backtracking.

    objective: points (n, D) and the rows (n,) int64 that they belong to → values (n,) and gradients
    (n, D), each of its row alone; asked steps + 1 times. At every step a row either takes its trial
    point or tries a shorter one next time, so that no row waits for another. The first step is a
    tenth of the row's norm, which must not be 0. A row is asked no more once the last tenth of its
    steps, of FEWEST at least, lowered its value by no more than the share `tolerance`, above 0.

    Returns the rows (N, D); the values (N, steps + 1), which never rise; the steps (N,) made.
    """
    found, rows = start.clone(), torch.arange(len(start), device=start.device)
    x, passes = start, torch.full_like(rows, steps)
    # A slot a step: what the row's taken point taught, or 1 / (move · change) = 0 for nothing.
    moves, changes = x.new_zeros(2, HISTORY, *x.shape)
    rho = x.new_zeros(HISTORY, len(x))
    gamma = x.new_zeros(len(x))  # size of the inverse curvature; 0 where nothing is remembered
    with torch.enable_grad():
        value, gradient = objective(x, rows)
    values = value[:, None].repeat(1, steps + 1)

    def direction(newest: int) -> Tensor:
        """−H g by the two-loop recursion; where nothing is remembered, a first careful step."""
        down, shares = -gradient, rho.new_zeros(rho.shape)
        slots = [(newest - age) % HISTORY for age in range(HISTORY)]
        for slot in slots:
            shares[slot] = rho[slot] * _dot(moves[slot], down)
            down.addcmul_(shares[slot, :, None], changes[slot], value=-1)
        careful = FIRST_STEP * x.norm(dim=1) / gradient.norm(dim=1).clamp(min=1e-30)
        down *= torch.where(gamma > 0, gamma, careful)[:, None]
        for slot in reversed(slots):
            back = shares[slot] - rho[slot] * _dot(changes[slot], down)
            down.addcmul_(back[:, None], moves[slot])
        return down

    along, length = direction(0), torch.ones_like(value)
    for step in range(1, steps + 1):
        trial = x + length[:, None] * along
        with torch.enable_grad():
            new_value, new_gradient = objective(trial, rows)
        slope = length * _dot(along, gradient)
        taken = new_value <= value + ARMIJO * slope
        slot = step % HISTORY
        move, change = trial - x, new_gradient - gradient
        curvature, square = _dot(move, change), _dot(change, change)
        learnt = taken & (curvature > CURVED * square.sqrt() * move.norm(dim=1))
        # Zeros, not the values times 0: a point that is refused may be infinite.
        moves[slot] = torch.where(learnt[:, None], move, 0.0)
        changes[slot] = torch.where(learnt[:, None], change, 0.0)
        rho[slot] = torch.where(learnt, 1 / curvature, 0.0)
        gamma = torch.where(learnt, curvature / square, gamma)
        # The least of the parabola through both values and the slope, within a tenth and a half.
        shorter = -slope / (2 * (new_value - value - slope))
        shorter = shorter.nan_to_num(nan=0.1).clamp(0.1, 0.5) * length
        lost = ~taken & (shorter < SHORTEST)
        rho[:, lost], gamma[lost] = 0.0, 0.0
        x = torch.where(taken[:, None], trial, x)
        gradient = torch.where(taken[:, None], new_gradient, gradient)
        value = torch.where(taken, new_value, value)
        turned = taken | lost
        along = torch.where(turned[:, None], direction(slot), along)
        length = torch.where(turned, 1.0, shorter)
        values[rows, step:] = value[:, None]
        if tolerance and step >= FEWEST:
            before = values[rows, step - step // 10]
            done = taken & (before - value <= tolerance * before)
            if done.any():
                found[rows[done]], passes[rows[done]] = x[done], step
                left = ~done
                rows, x, value, gradient = rows[left], x[left], value[left], gradient[left]
                along, length, gamma, rho = along[left], length[left], gamma[left], rho[:, left]
                moves, changes = moves[:, left], changes[:, left]
                if not len(rows):
                    break
    found[rows] = x
    return found, values, passes
