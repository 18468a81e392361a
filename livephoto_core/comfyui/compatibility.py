"""Refusals before anything runs: wrong base model, VAE, image encoder, size or frame count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import comfy.model_sampling
import comfy.supported_models
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

from ..checkpoints.description import encoder_source, is_public_encoder
from ..models.config import LivePhotoConfig, UNetLayout

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from torch import Tensor

    from .content_encoder import ContentEncoder
    from .livephoto_model import LivePhotoModel
    from .reference import LivePhotoReference

ATTACHMENT = "livephoto"
"""Key under which an applied MODEL carries its LivePhotoModel (ModelPatcher.attachments)."""

_FAMILIES = {
    "SD15": "SD-1.5",
    "SD15_instructpix2pix": "SD-1.5 InstructPix2Pix",
    "SD20": "Stable Diffusion 2",
    "SD21UnclipL": "Stable Diffusion 2.1 unCLIP",
    "SD21UnclipH": "Stable Diffusion 2.1 unCLIP",
    "SDXL": "SDXL",
    "SDXLRefiner": "SDXL Refiner",
    "SDXL_instructpix2pix": "SDXL InstructPix2Pix",
    "SSD1B": "SSD-1B (SDXL)",
    "Segmind_Vega": "Segmind Vega (SDXL)",
    "SVD_img2vid": "Stable Video Diffusion",
    "SD3": "SD3",
    "Flux": "Flux",
    "FluxSchnell": "Flux Schnell",
}
_LOAD_SD15 = "Load an SD-1.5 checkpoint (the text-to-image one) with Load Checkpoint."


def check_base_model(model: ModelPatcher) -> None:
    """Raises ValueError unless `model` is an SD-1.5 text-to-image model that predicts noise."""
    base = model.model
    family = type(base.model_config).__name__
    name = _FAMILIES.get(family, family)
    is_sd15 = isinstance(base.model_config, comfy.supported_models.SD15)
    if not is_sd15 or not isinstance(getattr(base, "diffusion_model", None), UNetModel):
        raise ValueError(f"model: LivePhoto animates SD-1.5 models, this is {name}. {_LOAD_SD15}")
    in_channels = base.model_config.unet_config["in_channels"]
    if in_channels != base.latent_format.latent_channels:
        kind = "an inpainting model" if in_channels == 9 else name
        raise ValueError(
            f"model: this is {kind} with {in_channels} input channels; LivePhoto needs one with "
            f"{base.latent_format.latent_channels}. {_LOAD_SD15}"
        )
    check_prediction(model)


def check_prediction(model: ModelPatcher) -> None:
    """Raises ValueError unless `model` predicts noise, whichever node said so last."""
    sampling = model.get_model_object("model_sampling")
    # ComfyUI derives other predictions from EPS.
    others = comfy.model_sampling.V_PREDICTION, comfy.model_sampling.X0
    if not isinstance(sampling, comfy.model_sampling.EPS) or isinstance(sampling, others):
        remedy = _LOAD_SD15
        if "model_sampling" in model.object_patches:
            remedy = "Set the node that changed its sampling to eps, or remove it."
        family = type(model.model.model_config).__name__
        name = _FAMILIES.get(family, family)
        raise ValueError(
            f"model: this {name} model does not predict noise (EPS) but, for example, v; the "
            f"motion weights were trained with one that does. {remedy}"
        )


def check_cache_in_windows(model_options: dict[str, Any]) -> None:
    """Raises ValueError for EasyCache.

    It keeps one input and one output for each conditioning, and would compare a window with the one
    before it.
    """
    cache = model_options["transformer_options"].get("easycache")
    if getattr(cache, "name", None) == "EasyCache":
        raise ValueError(
            "model: EasyCache does not go with Context Windows: it takes all windows for one. Take "
            "LazyCache, which looks at the whole video, or remove one of the two."
        )


def check_model(model: ModelPatcher, config: LivePhotoConfig) -> None:
    """Raises ValueError unless `model` is the kind of UNet the checkpoint was made for."""
    check_base_model(model)
    layout = unet_layout(model.model.model_config.unet_config)
    if layout != config.layout:
        raise ValueError(
            f"model: its blocks are {layout.block_channels} wide, its text {layout.context_dim}; "
            f"the motion weights are for {config.layout.block_channels} and "
            f"{config.layout.context_dim}: they belong to another base model. Use weights made for "
            "it, or an SD-1.5 checkpoint with weights for SD-1.5."
        )
    if ATTACHMENT in model.attachments:
        raise ValueError(
            f"model: it already carries {model.attachments[ATTACHMENT].name}. Connect the model "
            "from before the first Apply LivePhoto; LivePhoto Sampler applies it by itself."
        )


def check_one_gpu(model: ModelPatcher, livephoto: LivePhotoModel) -> None:
    """Raises ValueError if ComfyUI was told to run the model on several GPUs, or on another one.

    Without dynamic VRAM the checkpoint's weights follow the model, layer by layer; under it they
    belong to the memory of the device they were made for.
    """
    if model.get_additional_models_with_key("multigpu"):
        raise ValueError(
            "model: it is spread over several GPUs, LivePhoto runs on one. Remove the MultiGPU "
            "node."
        )
    device = livephoto.patcher.load_device
    if model.is_dynamic() and model.load_device != device:
        raise ValueError(
            f"model: it runs on {model.load_device}, {livephoto.name} on {device}. Remove Select "
            "Model Device."
        )


def unet_layout(unet_config: dict[str, Any]) -> UNetLayout:
    """Layout of an ldm UNet, read from ComfyUI's description of it."""
    depths = unet_config["num_res_blocks"]
    multipliers = unet_config.get("channel_mult", (1, 2, 4, 8))
    if isinstance(depths, int):
        depths = [depths] * len(multipliers)
    transformers = list(unet_config.get("transformer_depth", ()))
    attention_levels = []
    for level, depth in enumerate(depths):
        if any(transformers[:depth]):
            attention_levels.append(level)
        transformers = transformers[depth:]
    return UNetLayout(
        block_channels=tuple(unet_config["model_channels"] * m for m in multipliers),
        layers_per_block=depths[0],
        attention_levels=tuple(attention_levels),
        context_dim=unet_config.get("context_dim") or 0,
        num_heads=unet_config.get("num_heads", -1),
        latent_channels=4,
    )


def check_vae(vae: Any, livephoto: LivePhotoModel) -> None:
    """Raises ValueError for a VAE whose latents the UNet cannot read."""
    wanted = livephoto.config.layout.latent_channels
    channels = getattr(vae, "latent_channels", wanted)
    if channels != wanted or getattr(vae, "latent_dim", 2) != 2:
        raise ValueError(
            f"vae: it makes latents of {channels} channels, SD-1.5 has {wanted}. Use the VAE "
            "output of the SD-1.5 checkpoint, or Load VAE with an SD-1.5 VAE."
        )


def check_content_encoder(encoder: ContentEncoder | None, livephoto: LivePhotoModel) -> None:
    """Raises ValueError if the checkpoint needs another image encoder than came."""
    content = livephoto.config.content
    if content is None:
        return
    if encoder is None:
        advice = f"Connect it: {encoder_source(content)}."
        if not is_public_encoder(content):
            advice += " If you use another checkpoint, choose another file in Load LivePhoto."
        raise ValueError(
            f"clip_vision: {livephoto.name} was trained with content tokens of {content.encoder}. "
            f"{advice}"
        )
    if encoder.dim != content.encoder_dim:
        raise ValueError(
            f"clip_vision: {livephoto.name} was trained with {content.encoder} (tokens "
            f"{content.encoder_dim} wide), this is {encoder.name} ({encoder.dim} wide). Load "
            f"{content.encoder}."
        )


def check_reference(reference: LivePhotoReference, livephoto: LivePhotoModel) -> None:
    """Raises ValueError if the reference was encoded for another checkpoint."""
    content = livephoto.config.content
    if content is None:
        return
    tokens = reference.patch_tokens
    if tokens is None or tokens.shape[-1] != content.encoder_dim:
        came = "none" if tokens is None else f"tokens {tokens.shape[-1]} wide"
        raise ValueError(
            f"reference: {livephoto.name} needs content tokens of {content.encoder}, the reference "
            f"has {came}. Give Encode Reference the same livephoto, and a DINOv2."
        )


def check_frame_count(config: LivePhotoConfig, num_frames: int, *, in_window: bool) -> None:
    """Raises ValueError for one frame, or more than the motion modules can take at once.

    Args:
        num_frames: Frames that pass through the UNet together.
        in_window: Whether context windows are in use, for the advice given.
    """
    if num_frames < 2:
        raise ValueError(
            "frames: a video has at least 2 frames, but the UNet got 1 at a time. Set frames (and, "
            "with context windows, context_length) to 2 or more; 16 is what most files know. If "
            "both are, the last window holds a single frame: use another context_schedule, or "
            "another number of frames."
        )
    if config.motion is None:
        return
    longest = config.motion.max_frames
    if num_frames <= longest:
        return
    if in_window:
        raise ValueError(
            f"context_length: a window holds {num_frames} frames, {config.motion.kind} can take "
            f"{longest} at once. Set context_length to {longest - 1} or less (causal_window_fix "
            "adds a frame to a window)."
        )
    raise ValueError(
        f"frames: {num_frames} is more than the {longest} that {config.motion.kind} can take at "
        f"once. Use fewer frames, or put the node Context Windows (Manual) with context_length "
        f"{min(16, longest - 1)} before the sampler."
    )


def check_latent_size(
    latent_shape: tuple[int, ...], reference: LivePhotoReference, config: LivePhotoConfig
) -> None:
    """Raises ValueError if the video's latent is not as large as the reference latent."""
    if config.input_conditioning is None:
        return
    if tuple(latent_shape[-2:]) != tuple(reference.latent.shape[-2:]):
        width, height = reference.size_px
        raise ValueError(
            f"latent: it is {latent_shape[-1] * 8}×{latent_shape[-2] * 8} pixels, the reference "
            f"{width}×{height}. Use the latent of Apply LivePhoto, or the same size in both nodes."
        )


def check_text_width(name: str, entries: list[dict[str, Any]], width: int) -> None:
    """Raises ValueError for text of another text encoder.

    Args:
        name: The input, for the message.
        entries: Its conditionings, as ComfyUI's guiders hold them.
        width: Of the text tokens that the model reads.
    """
    for entry in entries:
        tokens: Tensor | None = entry.get("cross_attn")
        if tokens is not None and tokens.shape[-1] != width:
            raise ValueError(
                f"{name}: the text was encoded {tokens.shape[-1]} wide, the model reads "
                f"{width}. Encode it with the CLIP of the checkpoint that model comes from."
            )


def check_text_frames(name: str, entries: list[dict[str, Any]], num_frames: int) -> None:
    """Raises ValueError for text that differs over another number of frames."""
    for entry in entries:
        tokens: Tensor | None = entry.get("cross_attn")
        if tokens is not None and tokens.shape[0] not in (1, num_frames):
            raise ValueError(
                f"{name}: the text is made for {tokens.shape[0]} frames, the video has "
                f"{num_frames}. Set frames of Text Reweight to {num_frames}. (Another node that "
                "makes text for each frame has a setting of its own.)"
            )


def check_no_control_per_frame(name: str, entries: list[dict[str, Any]]) -> None:
    """Raises ValueError for a ControlNet with a picture per frame, which windows cannot cut.

    ComfyUI hands the same ControlNet to every window, and it keeps the pictures of the first: the
    others would silently follow those again. Those of other packs may know better.
    """
    for entry in entries:
        control = entry.get("control")
        while control is not None:
            hint: Tensor | None = getattr(control, "cond_hint_original", None)
            is_core = type(control).__module__ == "comfy.controlnet"
            if is_core and hint is not None and hint.shape[0] > 1:
                raise ValueError(
                    f"{name}: its ControlNet has {hint.shape[0]} pictures, of which ComfyUI's "
                    "Context Windows would give every window the first ones. Use one picture for "
                    "the whole video, or as few frames as fit without windows."
                )
            control = control.previous_controlnet


def check_not_compiled(model: ModelPatcher, model_options: dict[str, Any]) -> None:
    """Raises ValueError if the UNet, or a part of it, runs under torch.compile.

    ComfyUI's TorchCompileModel drops every guard on `transformer_options`, through which all
    patches of a model travel: a compiled UNet then silently runs what it ran first (for instance
    without the motion modules). A clear refusal is better than a wrong video.
    """
    wrappers = model_options.get("transformer_options", {}).get("wrappers", {})
    by_wrapper = "torch.compile" in wrappers.get("apply_model", {})
    compiled = any(hasattr(patch, "_orig_mod") for patch in model.object_patches.values())
    compiled = compiled or any(
        hasattr(layer, "_orig_mod") for layer in model.model.diffusion_model.modules()
    )
    if by_wrapper or compiled:
        raise ValueError(
            "model: it is compiled by TorchCompileModel (or a node like it), which would silently "
            "leave LivePhoto's parts out. Remove that node; LoRA, ControlNet and EasyCache work."
        )
