"""Motion intensity (LivePhoto, section 3.4): how much a clip moves, as SSIM and as a level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

WINDOW_PX = 11
"""Side of SSIM's gaussian window, whose standard deviation is 1.5 px (Wang et al., 2004)."""

LUMA = (0.299, 0.587, 0.114)
"""Rec. 601 weights. Our choice, as the paper names none: SSIM was defined on this luma."""

NUM_LEVELS = 10
DEFAULT_LEVEL = 5

DEFAULT_EDGES = (0.99, 0.97, 0.95, 0.89, 0.81, 0.72, 0.60, 0.50, 0.42)
"""Edges for files that store none. Our choice: the SSIM at which a camera that pans over a 256 px
photo reaches ¼ px per frame, and √2 times the speed at each further edge, up to 4 px per frame.
Mean over three photos (scikit-image's astronaut, coffee and cat), rounded to two digits."""

# One 256 × 256 pair at a time: on CPU, larger chunks fall out of the cache and take twice as long.
_CHUNK_PX = 2**16
# Resampling may overshoot 0..1 a little; pixels in −1..1 or 0..255 must not pass for images.
_OVERSHOOT = 0.25


def frame_pair_ssim(images: Tensor) -> Tensor:
    """SSIM of each frame and the next, on luma.

    Mean of kornia's SSIM map without its outer five pixels, where the window hangs over the border:
    what scikit-image returns for `gaussian_weights=True, sigma=1.5, use_sample_covariance=False`.
    Works through the pairs in chunks, so memory does not grow with the number of frames.

    Args:
        images: Frames, (f h w 3), 0 to 1, at least two frames of 11 × 11 px.
    Returns:
        One SSIM per pair, (f−1,), float32 on the CPU, −1 to 1; 1 for equal frames.
    Raises:
        ValueError: If the shape is another, or values are NaN, infinite or far outside 0 to 1.
    """
    _check_frames(images)
    num_frames, height, width, _ = images.shape
    chunk = max(1, _CHUNK_PX // (height * width))
    starts = range(0, num_frames - 1, chunk)
    ssim = torch.cat([_adjacent_ssim(_luma(images[i : i + chunk + 1])) for i in starts])
    return ssim.to("cpu", torch.float32)


def mean_ssim(images: Tensor) -> float:
    """A clip's motion as one number: the mean SSIM of adjacent frames.

    I = 1/(n−1) · Σ SSIM(xⁱ, xⁱ⁺¹)   (LivePhoto eq. 4)

    Our choice: the mean over the n−1 pairs. The paper divides by n; deciles of clips with equal n
    do not notice, and still clips of any length have 1 this way.

    Args:
        images: As for `frame_pair_ssim`.
    """
    return frame_pair_ssim(images).mean().item()


def motion_level(ssim: float, edges: Sequence[float] = DEFAULT_EDGES) -> int:
    """The level of a clip: 1 for stillest, 10 for wildest.

    Args:
        ssim: Mean SSIM of the clip's adjacent frames.
        edges: Nine SSIM values, falling. A clip exactly on an edge counts as the stiller one.
    Raises:
        ValueError: If `ssim` is not within −1 to 1, or `edges` are not nine falling values.
    """
    if not -1 <= ssim <= 1 + 1e-6:
        raise ValueError(f"ssim must be from -1 to 1, got {ssim}.")
    return 1 + sum(ssim < edge for edge in check_edges(edges))


def level_edges(ssim_values: Sequence[float] | Tensor) -> tuple[float, ...]:
    """The edges that put a tenth of the clips into each level.

    Args:
        ssim_values: Mean SSIM of every training clip, at least ten.
    Returns:
        The nine deciles, from the highest SSIM (stillest) to the lowest.
    Raises:
        ValueError: If there are fewer than ten values, or some are NaN or outside −1 to 1.
    """
    values = torch.as_tensor(ssim_values, dtype=torch.float64).flatten()
    if len(values) < NUM_LEVELS:
        raise ValueError(
            f"ssim_values must hold at least {NUM_LEVELS} clips for {NUM_LEVELS} levels, "
            f"got {len(values)}. Add clips, or store no edges and use the default ones."
        )
    if not (values.abs() <= 1 + 1e-6).all():
        raise ValueError("ssim_values must be numbers from -1 to 1, got NaN or values beyond.")
    quantiles = torch.arange(NUM_LEVELS - 1, 0, -1, dtype=torch.float64) / NUM_LEVELS
    return tuple(torch.quantile(values, quantiles).tolist())


def are_edges(edges: Sequence[float]) -> bool:
    """Whether they are nine finite values that never rise; equal neighbours are allowed."""
    is_falling = all(high >= low for high, low in pairwise(edges))
    return len(edges) == NUM_LEVELS - 1 and is_falling and all(map(math.isfinite, edges))


def check_edges(edges: Sequence[float]) -> tuple[float, ...]:
    """The edges, if they are nine finite values that never rise.

    Equal neighbours are allowed: a training set with many still clips has them.

    Raises:
        ValueError: Otherwise.
    """
    if not are_edges(edges):
        raise ValueError(
            f"edges must be {NUM_LEVELS - 1} SSIM values from the highest to the lowest, "
            f"got {tuple(edges)}."
        )
    return tuple(edges)


def _check_frames(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(f"images must be frames (f h w 3), got {tuple(images.shape)}.")
    num_frames, height, width, _ = images.shape
    if num_frames < 2:
        raise ValueError(f"images must hold at least two frames to compare, got {num_frames}.")
    if min(height, width) < WINDOW_PX:
        raise ValueError(
            f"images must be at least {WINDOW_PX} px on each side, the window of SSIM, "
            f"got {width}×{height}."
        )


def _luma(images: Tensor) -> Tensor:
    low, high = images.aminmax()
    # A NaN makes both bounds NaN, and every comparison with them false.
    if not (low >= -_OVERSHOOT and high <= 1 + _OVERSHOOT):
        raise ValueError(
            f"images must hold values from 0 to 1, got {low.item():.4g} to {high.item():.4g}."
        )
    # SSIM subtracts squared means: on bright, flat frames fp32 leaves errors of 1e-4.
    has_fp64 = images.device.type in ("cpu", "cuda")
    images = images.to(images.device if has_fp64 else "cpu").to(torch.float64)
    return (images @ images.new_tensor(LUMA)).unsqueeze(1)


def _adjacent_ssim(luma: Tensor) -> Tensor:
    # Imported here: kornia costs a fifth of a second, which every start of ComfyUI would pay.
    from kornia.metrics import ssim

    # kornia's default eps lowers the SSIM of equal black frames; the constants c₁, c₂ already keep
    # the denominator above zero.
    ssim_map = ssim(luma[:-1], luma[1:], WINDOW_PX, eps=0.0, padding="valid")
    return ssim_map.mean(dim=(1, 2, 3))
