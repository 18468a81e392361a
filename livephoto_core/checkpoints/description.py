"""What a checkpoint carries, in words for the artist."""

from __future__ import annotations

from ..models.config import ContentConfig, LivePhotoConfig

_PUBLIC_ENCODERS = ("dinov2-small", "dinov2-base", "dinov2-large", "dinov2-giant")


def describe(config: LivePhotoConfig) -> str:
    """One line that names every part, present or absent.

    "motion: AnimateDiff v3; reference latent: no; content tokens: no; text weights: no"
    """
    channels = config.input_channels
    parts = {
        "motion": config.motion.kind if config.motion else "no",
        "reference latent": "yes" if "reference" in channels else "no",
        "content tokens": f"yes ({config.content.encoder})" if config.content else "no",
        "text weights": "yes" if config.text_reweighting else "no",
    }
    if config.text_adapters:
        parts["text adapters"] = "yes"
    return "; ".join(f"{part}: {value}" for part, value in parts.items())


def advise(config: LivePhotoConfig) -> list[str]:
    """Which inputs of the nodes matter with a checkpoint, a line for each.

    ["Encode Reference needs Load DINOv2 (dinov2-large).", "Motion intensity: used.",
    "Made for 16 frames of 256×256 pixels, at most 32 at a time."]
    """
    channels = config.input_channels
    lines = []
    if config.content:
        lines.append(f"Encode Reference needs {encoder_source(config.content)}.")
    elif "reference" not in channels:
        lines.append("Knows no photo: connect Prior Inversion.")
    if "intensity" in channels:
        lines.append("Motion intensity: used.")
    elif "affinity" in channels:
        lines.append("Motion intensity: used (1, 5.5, 10: PIA's small, medium, large motion).")
    else:
        lines.append("Motion intensity: ignored.")
    if not config.text_reweighting:
        lines.append("Text Reweight: only overrides count.")
    width, height = config.training_size_px
    limit = f", at most {config.motion.max_frames} at a time" if config.motion else ""
    lines.append(f"Made for {config.num_frames} frames of {width}×{height} pixels{limit}.")
    return lines


def uses_intensity(config: LivePhotoConfig) -> bool:
    """Whether a checkpoint makes anything of the motion intensity."""
    return "intensity" in config.input_channels or "affinity" in config.input_channels


def encoder_source(content: ContentConfig) -> str:
    """Where an artist gets the image encoder that a checkpoint was trained with."""
    if is_public_encoder(content):
        return f"Load DINOv2 ({content.encoder})"
    return "the image encoder it came with (for the demo: clip_vision of Load Demo Model)"


def is_public_encoder(content: ContentConfig) -> bool:
    """Whether an artist can download the image encoder that a checkpoint was trained with."""
    return content.encoder in _PUBLIC_ENCODERS
