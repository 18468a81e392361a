"""How the background moves: each frame registered to the first by Gauss-Newton (Lucas-Kanade)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .silhouettes import pixel_grid

_MAX_STEPS = 8
_ENOUGH = 2e-4
_RESIDUAL_SCALE = 0.05
_STIFFNESS = 1e-2
_LIMITS = (0.8, 0.8, 1.2, 1.0)


def register_background(images: Tensor, foreground: Tensor) -> tuple[Tensor, Tensor]:
    """Shift and zoom of the background against the first frame.

    Each frame starts from the result of the one before, so nothing drifts and no step has to be
    larger than one frame's. A constant per frame takes up changes of light, and weights that fall
    with the residual take up what was not there before.

    Args:
        images: Brightness, (f h w), 0 to 1, h = w.
        foreground: True where something else than background is seen, (f h w).
    Returns:
        Shift (f, 2) as (x, y), fractions of the frame, and natural logarithm of the zoom about the
        frame's centre, (f,); 0 for the first frame.
    """
    images, size_px = smooth(images), images.shape[-1]
    x, y = pixel_grid(size_px) - 0.5
    slope_y, slope_x = torch.gradient(images, spacing=1 / size_px, dim=(1, 2))
    maps = torch.stack([images, slope_x, slope_y, (~foreground).to(images.dtype)], dim=1)
    estimates = [torch.zeros(4)]
    for frame in maps[1:]:
        estimates.append(_register(maps[0], frame, x=x, y=y, start=estimates[-1]))
    tracks = torch.stack(estimates)
    return tracks[:, :2], tracks[:, 2]


def _register(first: Tensor, frame: Tensor, *, x: Tensor, y: Tensor, start: Tensor) -> Tensor:
    """Shift x, shift y and log zoom that lay the first frame's points onto this frame, and light.

    The last is how much brighter the first frame is.
    """
    limits, estimate = torch.tensor(_LIMITS), start
    for _ in range(_MAX_STEPS):
        step = _gauss_newton_step(first, frame, x=x, y=y, estimate=estimate)
        estimate = (estimate + step).clamp(-limits, limits)
        if step.abs().max() < _ENOUGH:
            break
    return estimate


def _gauss_newton_step(
    first: Tensor, frame: Tensor, *, x: Tensor, y: Tensor, estimate: Tensor
) -> Tensor:
    shift_x, shift_y, log_zoom, light = estimate
    zoomed_x, zoomed_y = x * log_zoom.exp(), y * log_zoom.exp()
    points = torch.stack([zoomed_x + shift_x, zoomed_y + shift_y], dim=-1)
    seen = F.grid_sample(frame[None], 2 * points[None], align_corners=False)[0]
    brightness, slope_x, slope_y, is_background = seen
    residual = first[0] - brightness - light
    # A border pixel that is mixed with the zeros beyond is not background either.
    valid = first[3] * (is_background > 0.99)
    weight = (valid / (1 + (residual / _RESIDUAL_SCALE) ** 2)).flatten()
    columns = [slope_x, slope_y, slope_x * zoomed_x + slope_y * zoomed_y, torch.ones_like(x)]
    jacobian = torch.stack([column.flatten() for column in columns])
    weighted = jacobian * weight
    # The small diagonal keeps a featureless background where it is.
    normal = weighted @ jacobian.T + _STIFFNESS * torch.eye(len(jacobian))
    return torch.linalg.solve(normal, weighted @ residual.flatten())


def smooth(images: Tensor) -> Tensor:
    """Single-channel images, (f h w), under a binomial blur of 1 px standard deviation."""
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    padded = F.pad(images[:, None], (2, 2, 2, 2), mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, 5)), kernel.view(1, 1, 5, 1))[:, 0]
