"""Kinds of weight files that belong elsewhere, told by the names of their tensors."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ForeignFile:
    """A kind of file that was chosen in the wrong place.

    Args:
        what: The kind, with an article.
        remedy: Where such a file belongs, or what to choose instead.
        pattern: A regular expression found in the names of its tensors, one name a line.
    """

    what: str
    remedy: str
    pattern: str = ""


_MOTION_INSTEAD = (
    "choose an AnimateDiff v1, v2 or v3, PIA, AnimateLCM or LivePhoto file for SD 1.5 instead"
)
_CHECKPOINT = "put it in models/checkpoints and use Load Checkpoint"
_CLIP_VISION = "put it in models/clip_vision and use Load CLIP Vision"

SDXL_MOTION = ForeignFile("an AnimateDiff motion model for SDXL", _MOTION_INSTEAD)
SDXL_MOTION_LORA = ForeignFile(
    "a motion LoRA for SDXL", "choose an AnimateDiff motion LoRA for SD 1.5 instead"
)

LORA = r"[._]lora[._]|\.lora_\w+\b|\.(?:hada_w1|lokr_w1|oft_blocks|oft_diag)|^lora_(?:unet|te)"

WITH_MOTION_MODULES = (
    ForeignFile(
        "a SparseCtrl ControlNet",
        "put it in models/controlnet and use a ControlNet node that knows SparseCtrl",
        r"^(module\.)?controlnet_",
    ),
    ForeignFile(
        "an AnimateLCM-I2V model, whose image encoder this pack does not have",
        "choose the AnimateLCM text-to-video file instead",
        r"^(module\.)?img_encoder\.",
    ),
    ForeignFile(
        "a FancyVideo motion model", _MOTION_INSTEAD, r"^(module\.)?(fps|motion)_embedding\."
    ),
)
"""Files that hold motion modules, and more that changes their meaning."""

WITHOUT_MOTION_MODULES = (
    ForeignFile("a HotshotXL motion model for SDXL", _MOTION_INSTEAD, r"temporal_attentions\.\d"),
    ForeignFile(
        "an IP-Adapter",
        "put it in models/ipadapter and use an IP-Adapter node",
        r"^(image_proj|ip_adapter)\.",
    ),
    ForeignFile("a LoRA", "put it in models/loras and use Load LoRA", LORA),
    ForeignFile(
        "a ControlNet",
        "put it in models/controlnet and use Load ControlNet Model",
        r"^control_model\.|^controlnet_|^input_hint_block\.|^zero_convs\.|^(adapter\.)?body\.\d+\.",
    ),
    ForeignFile("a full SDXL checkpoint", _CHECKPOINT, r"^conditioner\.embedders\."),
    ForeignFile("a full SD 2 checkpoint", _CHECKPOINT, r"^cond_stage_model\.model\."),
    ForeignFile("a full SD 1.5 checkpoint", _CHECKPOINT, r"^cond_stage_model\.transformer\."),
    ForeignFile(
        "a diffusion model without motion modules",
        "put it in models/diffusion_models and use Load Diffusion Model, or in models/checkpoints "
        "if it has a VAE and a text encoder",
        r"^model\.diffusion_model\.|^(double_blocks|joint_blocks|input_blocks)\.\d|"
        r"^(down_blocks\.\d|mid_block)\.attentions\.\d+\.transformer_blocks\.",
    ),
    ForeignFile(
        "a VAE",
        "put it in models/vae and use Load VAE",
        r"^(first_stage_model\.)?(encoder|decoder)\.(conv_in|mid|mid_block|down|up)\.|"
        r"^taesd_(en|de)coder\.",
    ),
    ForeignFile(
        "a CLIP image encoder",
        _CLIP_VISION,
        r"^(vision_model|visual)\.|^embeddings\.patch_embedding\.",
    ),
    ForeignFile(
        "a DINO image encoder",
        f"{_CLIP_VISION}, then connect it to Encode Reference",
        r"^(dinov2\.)?embeddings\.patch_embeddings\.|^patch_embed\.proj\.",
    ),
    ForeignFile(
        "a text encoder",
        "put it in models/text_encoders and use Load CLIP",
        r"^(transformer\.|clip_\w\.transformer\.)?text_model\.|^embeddings\.token_embedding\.|"
        r"^encoder\.block\.\d+\.layer\.|^transformer\.resblocks\.",
    ),
    ForeignFile(
        "a textual-inversion embedding",
        "put it in models/embeddings and name it in the prompt",
        r"^(emb_params|clip_[lg])$|^string_to_param\.",
    ),
)
"""All others; the first that matches counts, since a full checkpoint also holds a VAE."""
