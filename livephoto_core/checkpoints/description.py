"""What a checkpoint carries, in words for the artist."""

from __future__ import annotations

from ..models.config import LivePhotoConfig


def describe(config: LivePhotoConfig) -> str:
    """One line that names every part, present or absent.

    "motion: AnimateDiff v3; reference latent: no; content tokens: no; text weights: no"
    """
    channels = config.input_conditioning.channels if config.input_conditioning else ()
    parts = {
        "motion": config.motion.kind if config.motion else "no",
        "reference latent": "yes" if "reference" in channels else "no",
        "content tokens": f"yes ({config.content.encoder})" if config.content else "no",
        "text weights": "yes" if config.text_reweighting else "no",
    }
    if config.text_adapters:
        parts["text adapters"] = "yes"
    return "; ".join(f"{part}: {value}" for part, value in parts.items())
