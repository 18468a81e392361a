"""Hooking a checkpoint's parts into a MODEL, on a clone and through ComfyUI's own mechanisms.

| part | mechanism |
|---|---|
| motion modules, cross-frame GroupNorm | twins of layers (`unet_twins`), as object patches |
| input channels | `model_conds` of every conditioning; added after input block 0 |
| content tokens | the query side in `attn2_patch`, the sum in `attn2_output_patch` |
| text adapters | `attn2_patch` |
| weights in VRAM | the checkpoint's own ModelPatcher, in `set_additional_models` |
| noise schedule | `model_sampling` as an object patch |

As `model_conds` the input channels are cropped for regional conditionings, sliced for context
windows and stacked for guidance by ComfyUI itself.

Sampling opens a `Run`, every call of the UNet a `Call` (`run`); hooks do nothing outside of one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import comfy.conds
import torch
from comfy.context_windows import IndexListContextHandler
from comfy.patcher_extension import CallbacksMP, WrappersMP
from torch import Tensor

from ..models.input_conditioning import assemble_channels, check_intensity
from .compatibility import (
    ATTACHMENT,
    check_cache_in_windows,
    check_frame_count,
    check_latent_size,
    check_model,
    check_no_control_per_frame,
    check_not_compiled,
    check_one_gpu,
    check_prediction,
    check_reference,
    check_text_frames,
    check_text_width,
)
from .noise_schedule import set_noise_schedule
from .run import Run
from .unet_twins import (
    WithCrossFrameNorm,
    WithMotion,
    cross_frame_norm_paths,
    current_call,
    motion_layer_paths,
    twin,
)

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

    from .livephoto_model import LivePhotoModel
    from .reference import LivePhotoReference

CHANNELS = "livephoto_channels"
RUN = "livephoto_run"
HIDDEN = "livephoto_hidden"


def apply_livephoto(
    model: ModelPatcher,
    livephoto: LivePhotoModel,
    reference: LivePhotoReference,
    motion_intensity: float,
) -> ModelPatcher:
    """A clone of `model` that makes videos of the reference; `model` itself is left as it is.

    Args:
        model: SD-1.5 MODEL, with any LoRAs and other patches.
        livephoto: The checkpoint.
        reference: The photo, encoded by `encode_reference` for the same checkpoint.
        motion_intensity: 1 (still) to 10 (wild).
    Raises:
        ValueError: If model, reference or intensity do not fit the checkpoint.
    """
    config = livephoto.config
    check_model(model, config)
    check_reference(reference, livephoto)
    check_intensity(motion_intensity)
    patched = model.clone()
    patched.set_attachments(ATTACHMENT, livephoto)
    patched.set_additional_models(ATTACHMENT, [livephoto.patcher])
    set_noise_schedule(patched, config.noise_schedule)
    _add_twins(patched, livephoto)
    patched.add_callback_with_key(CallbacksMP.ON_CLONE, ATTACHMENT, _renew_twins)
    if config.input_conditioning is not None:
        patched.set_model_input_block_patch(_add_input_channels)
    if config.text_adapters:
        patched.set_model_attn2_patch(_adapt_text)
    if config.content is not None:
        patched.set_model_attn2_patch(_keep_hidden)
        # In front of nodes that repeat the query for each region, which undo that afterwards.
        patches = patched.model_options["transformer_options"]["patches"]["attn2_patch"]
        patches.insert(0, patches.pop())
        patched.set_model_attn2_output_patch(_add_content)
    patched.add_wrapper_with_key(
        WrappersMP.OUTER_SAMPLE, ATTACHMENT, _run_opener(livephoto, reference, motion_intensity)
    )
    patched.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, ATTACHMENT, _call_unet)
    return patched


def empty_latent(reference: LivePhotoReference, num_frames: int) -> dict[str, Tensor]:
    """LATENT of an empty video as large as the reference, (f c h w)."""
    _, channels, height, width = reference.latent.shape
    return {"samples": torch.zeros(num_frames, channels, height, width)}


def _add_twins(model: ModelPatcher, livephoto: LivePhotoModel) -> None:
    layout = livephoto.config.layout
    if livephoto.parts.motion is not None:
        locations = list(livephoto.parts.motion.by_location)
        for location, path in motion_layer_paths(layout, locations).items():
            _add_twin(model, WithMotion, path, livephoto_location=location)
    if livephoto.config.cross_frame_group_norm:
        for path in cross_frame_norm_paths(layout):
            _add_twin(model, WithCrossFrameNorm, path)


def _add_twin(model: ModelPatcher, behaviour: type, path: str, **attributes: Any) -> None:
    path = f"diffusion_model.{path}"
    model.add_object_patch(path, twin(behaviour, model.get_model_object(path), **attributes))


def _renew_twins(model: ModelPatcher, clone: ModelPatcher) -> None:
    """Makes the twins again for a clone onto other weights.

    ComfyUI clones so for LoRA hooks under dynamic VRAM; twins share the parameters of the layers
    they were made from.
    """
    if clone.model is model.model:
        return
    livephoto = clone.attachments[ATTACHMENT]
    for path in [path for path in clone.object_patches if path.startswith("diffusion_model.")]:
        if isinstance(clone.object_patches[path], WithMotion | WithCrossFrameNorm):
            del clone.object_patches[path]
    _add_twins(clone, livephoto)


def _run_opener(
    livephoto: LivePhotoModel, reference: LivePhotoReference, motion_intensity: float
) -> Callable[..., Tensor]:
    """An OUTER_SAMPLE wrapper: checks the whole job, then opens a run for it."""
    config = livephoto.config

    def open_run(
        executor: Any,
        noise: Tensor,
        latent_image: Tensor,
        sampler: Any,
        sigmas: Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        guider = executor.class_obj
        model, num_frames = guider.model_patcher, noise.shape[0]
        check_prediction(model)
        check_one_gpu(model, livephoto)
        check_not_compiled(model, guider.model_options)
        windows = guider.model_options.get("context_handler")
        if windows is None or num_frames < 2:
            check_frame_count(config, num_frames, in_window=False)
        check_latent_size(tuple(noise.shape), reference, config)
        is_index_list = isinstance(windows, IndexListContextHandler)
        in_windows = is_index_list and num_frames > windows.context_length
        if in_windows:
            check_cache_in_windows(guider.model_options)
        for name, entries in guider.conds.items():
            check_text_width(name, entries, config.layout.context_dim)
            check_text_frames(name, entries, num_frames)
            if in_windows:
                check_no_control_per_frame(name, entries)
        run = Run(parts=livephoto.parts, patch_tokens=reference.patch_tokens, num_frames=num_frames)
        if config.input_conditioning is not None:
            channels = assemble_channels(
                config.input_conditioning,
                reference=model.model.process_latent_in(reference.latent),
                level=motion_intensity,
                num_frames=num_frames,
            )
            run.channels = channels.to(model.load_device)
            guider.conds = _with_channels(guider.conds, run.channels)
        guider.model_options["transformer_options"][RUN] = run
        try:
            out = executor(noise, latent_image, sampler, sigmas, *args, **kwargs)
        finally:
            # Or the checkpoint's noise schedule would stay in the user's model until it is loaded
            # again, and EasyCache, for one, reads it before.
            model.unpatch_model(unpatch_weights=False)
        if len(sigmas) > 1:
            run.check_calls()
        return out

    return open_run


def _with_channels(
    conds: dict[str, list[dict[str, Any]]], channels: Tensor
) -> dict[str, list[dict[str, Any]]]:
    cond = comfy.conds.CONDNoiseShape(channels)
    return {
        name: [
            {**entry, "model_conds": {**entry.get("model_conds", {}), CHANNELS: cond}}
            for entry in entries
        ]
        for name, entries in conds.items()
    }


def _call_unet(
    executor: Any,
    x: Tensor,
    timesteps: Tensor,
    context: Tensor,
    y: Tensor | None,
    control: Any,
    transformer_options: dict[str, Any],
    **kwargs: Any,
) -> Tensor:
    """A DIFFUSION_MODEL wrapper: opens a call, in which the hooks do their work."""
    run: Run | None = transformer_options.get(RUN)
    if run is None:
        raise RuntimeError(
            "LivePhoto is applied to this model, but the node that samples it goes around "
            "ComfyUI's samplers. Use KSampler, SamplerCustomAdvanced or LivePhoto Sampler."
        )
    frames = _frames_of_call(transformer_options)
    call = run.begin_call(x, frames=frames, channels=kwargs.pop(CHANNELS, None))
    options = {**transformer_options, "ad_params": _ad_params(run, frames)}
    token = current_call.set(call)
    try:
        out = executor(x, timesteps, context, y, control, options, **kwargs)
    finally:
        current_call.reset(token)
    run.check_hooks(call, executor.class_obj)
    return out


def _frames_of_call(transformer_options: dict[str, Any]) -> list[int] | None:
    """Which frames of the clip are in this call; `None` without a window over frames."""
    window = transformer_options.get("context_window")
    if window is None or window.dim != 0:
        return None
    anchor = getattr(window, "causal_anchor_index", None)
    frames = list(window.index_list)
    if anchor is not None and anchor >= 0:
        frames.insert(0, anchor)
    return frames


def _ad_params(run: Run, frames: list[int] | None) -> dict[str, Any]:
    """The frames of a call in the form that IPAdapter_plus looks for.

    AnimateDiff-Evolved established the key; without it an IPAdapter with one image per frame would
    give every context window the first images.
    """
    return {"sub_idxs": frames, "full_length": None if frames is None else run.num_frames}


def _add_input_channels(x: Tensor, transformer_options: dict[str, Any]) -> Tensor:
    call = current_call.get()
    if call is None or transformer_options["block"] != ("input", 0):
        return x
    return call.add_input_channels(x)


def _adapt_text(
    hidden: Tensor, context: Tensor, value: Tensor, extra_options: dict[str, Any]
) -> tuple[Tensor, Tensor, Tensor]:
    call = current_call.get()
    if call is None:
        return hidden, context, value
    return hidden, *call.adapt_text(extra_options["block"], context, value)


def _keep_hidden(
    hidden: Tensor, context: Tensor, value: Tensor, extra_options: dict[str, Any]
) -> tuple[Tensor, Tensor, Tensor]:
    if current_call.get() is not None:
        extra_options[HIDDEN] = hidden
    return hidden, context, value


def _add_content(x: Tensor, extra_options: dict[str, Any]) -> Tensor:
    call = current_call.get()
    if call is None:
        return x
    # Taken out, or it would stay in memory over the feed-forward, where a block needs most.
    hidden = extra_options.pop(HIDDEN)
    if len(x) != len(hidden):
        raise ValueError(
            "model: another node repeats the text attention for its regions. Put that node before "
            "Apply LivePhoto."
        )
    return call.add_content(extra_options["block"], hidden, x)
