"""Prior inversion (LivePhoto, section 3.3): a trace of the reference in the initial noise."""

from __future__ import annotations

import torch
from torch import Tensor

ALPHA_FIRST = 0.033
ALPHA_LAST = 0.016


def prior_coefficients(
    num_frames: int, alpha_first: float = ALPHA_FIRST, alpha_last: float = ALPHA_LAST
) -> Tensor:
    """αⁿ of eq. 3: how much of the inverted reference each frame's noise takes.

    Args:
        num_frames: Frames of the whole clip, not of one context window.
        alpha_first, alpha_last: Share of the first and the last frame, 0 to 1; linear in between.
    Returns:
        (f,), float32. A single frame gets `alpha_first`.
    Raises:
        ValueError: If there is no frame, or a share is outside 0 to 1.
    """
    if num_frames < 1:
        raise ValueError(f"num_frames must be at least 1, got {num_frames}.")
    for name, alpha in (("alpha_first", alpha_first), ("alpha_last", alpha_last)):
        if not 0 <= alpha <= 1:
            raise ValueError(
                f"{name} must be from 0 (pure noise) to 1 (the inverted reference alone), "
                f"got {alpha}. The paper uses {ALPHA_FIRST} and {ALPHA_LAST}."
            )
    return torch.linspace(alpha_first, alpha_last, num_frames)


def mix_prior(
    inverted: Tensor,
    noise: Tensor,
    *,
    alpha_first: float = ALPHA_FIRST,
    alpha_last: float = ALPHA_LAST,
) -> Tensor:
    """Initial noise that leans towards the reference image, most in the first frame.

    z̃ⁿ_T = αⁿ·Inv(r₀) + (1 − αⁿ)·zⁿ_T   (LivePhoto eq. 3)

    As in the paper the sum is not normalised: its standard deviation is 1 − αⁿ or a little more.

    Args:
        inverted: DDIM-inverted reference latent, (1 c h w), unit variance.
        noise: Gaussian noise, (f c h w).
        alpha_first, alpha_last: See `prior_coefficients`.
    Returns:
        Initial noise, (f c h w), dtype and device of `noise`.
    Raises:
        ValueError: If shapes do not fit, `inverted` is not finite, or a share is outside 0 to 1.
    """
    if inverted.ndim != 4 or inverted.shape[0] != 1:
        raise ValueError(f"inverted must be one latent, (1 c h w), got {tuple(inverted.shape)}.")
    if noise.ndim != 4 or noise.shape[1:] != inverted.shape[1:]:
        raise ValueError(
            f"noise must be (f c h w) with the inverted latent's c h w, "
            f"{tuple(inverted.shape[1:])}, got {tuple(noise.shape)}. "
            "Invert a reference of the video's own size."
        )
    if not inverted.isfinite().all():
        raise ValueError("inverted holds NaN or infinite values: repeat the inversion in float32.")
    coefficients = prior_coefficients(noise.shape[0], alpha_first, alpha_last)
    coefficients = coefficients.to(noise.device).view(-1, 1, 1, 1)
    inverted = inverted.to(noise.device, torch.float32)
    return torch.lerp(noise.to(torch.float32), inverted, coefficients).to(noise.dtype)
