"""Models with random weights: a full-size SD-1.5 checkpoint, and small ones of more families.

The layers are ComfyUI's own; only the numbers in them are made up. ComfyUI is imported inside the
functions: importing this file does not need it.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from harness.environment import home, home_lock

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

Family = Literal["SD15", "SD15 inpaint", "SD15 v-prediction", "SD20", "SDXL", "SD3", "Flux"]

SEED = 20231205

# Below 1: the residual streams of some 60 blocks then stay far inside fp16's range.
GAIN = 0.7

UNET_CONFIG: dict[str, Any] = {
    "image_size": 32,
    "use_spatial_transformer": True,
    "legacy": False,
    "use_checkpoint": False,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "use_linear_in_transformer": False,
    "context_dim": 768,
    "adm_in_channels": None,
    "use_temporal_attention": False,
    "use_temporal_resblock": False,
}
VAE_CONFIG: dict[str, Any] = {
    "double_z": True,
    "z_channels": 4,
    "resolution": 256,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 128,
    "ch_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "attn_resolutions": [],
    "dropout": 0.0,
}


def sd15_checkpoint() -> Path:
    """Return an SD-1.5 checkpoint with random weights (fp16, 2.1 GB), written on the first call.

    It has the UNet, VAE and CLIP text encoder of the real thing under their usual key names, so
    CheckpointLoaderSimple takes it for SD-1.5. The file stays in the harness's folder, under a
    name that depends on how it was made.
    """
    recipe = json.dumps([UNET_CONFIG, VAE_CONFIG, GAIN, SEED]) + inspect.getsource(_random_values)
    recipe += inspect.getsource(_checkpoint_modules) + inspect.getsource(random_state_dict)
    digest = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    path = home() / "checkpoints" / f"sd15-random-{digest}.safetensors"
    with home_lock():
        if not path.is_file():
            _write(path)
    return path


def _write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    for outdated in path.parent.glob("sd15-random-*"):
        outdated.unlink()
    weights: dict[str, Tensor] = {}
    for prefix, module in _checkpoint_modules():
        weights |= random_state_dict(module, prefix=prefix, dtype=torch.float16)
    scratch = path.with_suffix(".partial")
    save_file(weights, scratch)
    scratch.rename(path)


def _checkpoint_modules() -> Iterator[tuple[str, nn.Module]]:
    """Key prefix and module of each part of an SD-1.5 checkpoint, without memory for weights."""
    import comfy.ops
    from comfy.clip_model import CLIPTextModel
    from comfy.ldm.models.autoencoder import AutoencoderKL
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    clip_config = Path(inspect.getfile(CLIPTextModel)).with_name("sd1_clip_config.json")
    layers = comfy.ops.disable_weight_init
    with torch.device("meta"):
        unet = UNetModel(**UNET_CONFIG, num_heads=8, num_head_channels=-1, operations=layers)
        vae = AutoencoderKL(ddconfig=VAE_CONFIG, embed_dim=4)
        clip = CLIPTextModel(json.loads(clip_config.read_text()), None, "meta", layers)
    yield "model.diffusion_model.", unet
    yield "first_stage_model.", vae
    # SD-1.5 checkpoints hold no text_projection.
    yield "cond_stage_model.transformer.text_model.", clip.text_model


def random_state_dict(
    module: nn.Module, *, prefix: str = "", dtype: torch.dtype = torch.float32, seed: int = SEED
) -> dict[str, Tensor]:
    """Return random weights for a module, under its own key names.

    Args:
        module: Gives names and shapes; may lie on the meta device.
        prefix: Put before each key.
        dtype: Of the weights.
        seed: Of the random numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    return {
        f"{prefix}{name}.{kind}" if name else f"{prefix}{kind}": _random_values(
            owner, kind, parameter.shape, generator
        ).to(dtype)
        for name, owner in module.named_modules()
        for kind, parameter in owner.named_parameters(recurse=False)
    }


def _random_values(
    owner: nn.Module, kind: str, shape: torch.Size, generator: torch.Generator
) -> Tensor:
    if "Norm" in type(owner).__name__:
        return torch.ones(shape) if kind in ("weight", "scale") else torch.zeros(shape)
    if isinstance(owner, nn.Embedding):
        return torch.randn(shape, generator=generator) * 0.02
    values = torch.randn(shape, generator=generator)
    if len(shape) < 2:
        return values * 0.02
    # Variance-preserving for a layer of (out, in, …) weights, times GAIN.
    return values * (GAIN / math.sqrt(math.prod(shape[1:])))


def small_model(family: Family = "SD15", *, seed: int = SEED, **changes: Any) -> ModelPatcher:
    """Return a MODEL of one family, in fp32 on the CPU, with few channels and random weights.

    The class of its configuration, its noise prediction and its input channels are those of the
    real family; only widths and depths are small. The SD-1.5 ones have 32, 64, 128, 128 channels.

    Args:
        family: What kind of model.
        seed: Of the weights.
        **changes: Entries of the UNet configuration to set otherwise, such as `context_dim=32`.
    """
    import comfy.model_base
    import comfy.model_patcher
    import comfy.supported_models

    class_name, unet_config = _small_configs()[family]
    config = getattr(comfy.supported_models, class_name)(unet_config | changes)
    config.set_inference_dtype(torch.float32, None)
    if family == "SD15 v-prediction":
        v_prediction = comfy.model_base.ModelType.V_PREDICTION
        model = comfy.model_base.BaseModel(config, model_type=v_prediction, device="cpu")
    else:
        model = config.get_model({}, device="cpu")
    weights = random_state_dict(model.diffusion_model, seed=seed)
    model.diffusion_model.load_state_dict(weights, strict=False)
    cpu = torch.device("cpu")
    return comfy.model_patcher.CoreModelPatcher(model, load_device=cpu, offload_device=cpu)


def _small_configs() -> dict[str, tuple[str, dict[str, Any]]]:
    """Family → name of ComfyUI's configuration class, and the configuration."""
    sd15 = UNET_CONFIG | {"model_channels": 32}
    # These families fix the width of a head at 64 channels, which the first level must have.
    sd20 = sd15 | {"model_channels": 64, "context_dim": 1024, "use_linear_in_transformer": True}
    sdxl = sd20 | {
        "context_dim": 2048,
        "num_classes": "sequential",
        "adm_in_channels": 2816,
        "num_res_blocks": [2, 2, 2],
        "channel_mult": [1, 2, 4],
        "transformer_depth": [0, 0, 1, 1, 1, 1],
        "transformer_depth_output": [0, 0, 0, 1, 1, 1, 1, 1, 1],
    }
    sd3 = {
        "in_channels": 16,
        "patch_size": 2,
        "depth": 1,
        "input_size": None,
        "num_patches": 64,
        "pos_embed_max_size": 8,
        "adm_in_channels": 32,
        "context_embedder_config": {
            "target": "torch.nn.Linear",
            "params": {"in_features": 32, "out_features": 64},
        },
    }
    flux = {
        "image_model": "flux",
        "in_channels": 16,
        "out_channels": 16,
        "patch_size": 2,
        "vec_in_dim": 32,
        "context_in_dim": 32,
        "hidden_size": 32,
        "mlp_ratio": 2.0,
        "num_heads": 2,
        "depth": 1,
        "depth_single_blocks": 1,
        "axes_dim": [4, 6, 6],
        "theta": 10000,
        "qkv_bias": True,
        "guidance_embed": True,
        "txt_ids_dims": [],
    }
    return {
        "SD15": ("SD15", sd15),
        "SD15 inpaint": ("SD15", sd15 | {"in_channels": 9}),
        "SD15 v-prediction": ("SD15", sd15),
        "SD20": ("SD20", sd20),
        "SDXL": ("SDXL", sdxl),
        "SD3": ("SD3", sd3),
        "Flux": ("Flux", flux),
    }
