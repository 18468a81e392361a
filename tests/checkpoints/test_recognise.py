"""Every wrong file gets one sentence: its name, what it is, where it belongs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    Dinov2Config,
    Dinov2Model,
    T5Config,
    T5EncoderModel,
)

from livephoto_core.checkpoints import CheckpointError, read_checkpoint, read_motion_lora
from tests.checkpoints.weight_files import (
    TINY,
    animatediff_shapes,
    random_weights,
    write_archive,
    write_raw,
    write_sparse,
)

SDXL_WIDTHS = (320, 640, 1280)
MOTION_PLACE = "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0"
LDM_BLOCK = "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
FIRST_STAGE = ("first_stage_model.encoder.conv_in.weight", "first_stage_model.post_quant_conv.bias")
SPARSE_CONTROL = "controlnet_cond_embedding.conv_in.weight"


def names_of(model_class: type, *arguments: object) -> list[str]:
    """State-dict names of the real model."""
    with torch.device("meta"):
        return list(model_class(*arguments).state_dict())


FOREIGN = {
    "SDXL motion": (
        animatediff_shapes(32, widths=SDXL_WIDTHS),
        "an AnimateDiff motion model for SDXL",
        "for SD 1.5 instead",
    ),
    "HotshotXL": (
        [
            "down_blocks.0.temporal_attentions.0.transformer_blocks.0.pos_encoder.positional_encoding"
        ],
        "a HotshotXL motion model for SDXL",
        "for SD 1.5 instead",
    ),
    "SparseCtrl": (
        [*animatediff_shapes(32), SPARSE_CONTROL, "controlnet_down_blocks.0.weight"],
        "a SparseCtrl ControlNet",
        "models/controlnet",
    ),
    "AnimateLCM-I2V": (
        [*animatediff_shapes(None), "img_encoder.channels.0.weight"],
        "an AnimateLCM-I2V model",
        "text-to-video file",
    ),
    "FancyVideo": (
        [*animatediff_shapes(32), "conv_in.weight", "fps_embedding.linear.weight"],
        "a FancyVideo motion model",
        "for SD 1.5 instead",
    ),
    "kohya LoRA": (
        ["lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight"],
        "a LoRA",
        "models/loras and use Load LoRA",
    ),
    "text-encoder LoRA": (
        ["lora_te_text_model_encoder_layers_0_mlp_fc1.alpha"],
        "a LoRA",
        "models/loras",
    ),
    "PEFT LoRA": (
        ["unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight"],
        "a LoRA",
        "models/loras",
    ),
    "v3_sd15_adapter": (
        ["down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight"],
        "a LoRA",
        "models/loras",
    ),
    "LyCORIS": (["lora_unet_mid_block_attentions_0_proj_in.hada_w1_a"], "a LoRA", "models/loras"),
    "IP-Adapter": (
        ["image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight"],
        "an IP-Adapter",
        "models/ipadapter",
    ),
    "ControlNet of ldm": (
        ["control_model.input_blocks.0.0.weight", "control_model.zero_convs.0.0.bias"],
        "a ControlNet",
        "models/controlnet and use Load ControlNet Model",
    ),
    "ControlNet of diffusers": (names_of(ControlNetModel), "a ControlNet", "models/controlnet"),
    "T2I-Adapter": (["body.0.block1.weight"], "a ControlNet", "models/controlnet"),
    "SDXL checkpoint": (
        [
            f"model.diffusion_model.{LDM_BLOCK}",
            "conditioner.embedders.0.transformer.text_model.final_layer_norm.bias",
            *FIRST_STAGE,
        ],
        "a full SDXL checkpoint",
        "models/checkpoints and use Load Checkpoint",
    ),
    "SD 1.5 checkpoint": (
        [
            f"model.diffusion_model.{LDM_BLOCK}",
            "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight",
            *FIRST_STAGE,
        ],
        "a full SD 1.5 checkpoint",
        "models/checkpoints",
    ),
    "SD 2 checkpoint": (
        [f"model.diffusion_model.{LDM_BLOCK}", "cond_stage_model.model.ln_final.weight"],
        "a full SD 2 checkpoint",
        "models/checkpoints",
    ),
    "UNet of ldm": ([LDM_BLOCK], "a diffusion model without motion modules", "diffusion_models"),
    "UNet of diffusers": (
        names_of(UNet2DConditionModel),
        "a diffusion model without motion modules",
        "models/diffusion_models and use Load Diffusion Model",
    ),
    "Flux": (["double_blocks.0.img_attn.qkv.weight"], "a diffusion model", "diffusion_models"),
    "VAE of diffusers": (names_of(AutoencoderKL), "a VAE", "models/vae and use Load VAE"),
    "VAE of ldm": (
        ["encoder.down.0.block.0.conv1.weight", "quant_conv.bias"],
        "a VAE",
        "models/vae",
    ),
    "CLIP text": (
        names_of(CLIPTextModel, CLIPTextConfig()),
        "a text encoder",
        "models/text_encoders and use Load CLIP",
    ),
    "T5": (names_of(T5EncoderModel, T5Config()), "a text encoder", "models/text_encoders"),
    "CLIP text of ComfyUI": (
        ["text_model.encoder.layers.0.mlp.fc1.weight", "text_projection.weight"],
        "a text encoder",
        "models/text_encoders",
    ),
    "CLIP vision": (
        names_of(CLIPVisionModelWithProjection, CLIPVisionConfig()),
        "a CLIP image encoder",
        "models/clip_vision and use Load CLIP Vision",
    ),
    "DINOv2": (
        names_of(Dinov2Model, Dinov2Config()),
        "a DINO image encoder",
        "models/clip_vision and use Load CLIP Vision, then connect it to Encode Reference",
    ),
    "DINOv2 of its authors": (
        ["patch_embed.proj.weight", "blocks.0.attn.qkv.weight"],
        "a DINO image encoder",
        "models/clip_vision",
    ),
    "embedding": (["emb_params"], "a textual-inversion embedding", "models/embeddings"),
    "SDXL embedding": (["clip_g", "clip_l"], "a textual-inversion embedding", "models/embeddings"),
}


def file_with(path: Path, names: Iterable[str]) -> Path:
    return write_sparse(path, dict.fromkeys(names, (1,)))


def sentence(read: object, path: Path) -> str:
    assert callable(read)
    with pytest.raises(CheckpointError) as refused:
        read(path)
    message = str(refused.value)
    assert message.startswith(path.name) and message.endswith(".") and "\n" not in message
    return message


@pytest.mark.parametrize(("names", "what", "where"), FOREIGN.values(), ids=FOREIGN.keys())
def test_foreign_file_is_named_and_sent_where_it_belongs(
    tmp_path: Path, names: Iterable[str], what: str, where: str
) -> None:
    path = file_with(tmp_path / "chosen.safetensors", names)
    for read, wanted in ((read_checkpoint, "a motion model"), (read_motion_lora, "a motion LoRA")):
        message = sentence(read, path)
        assert message.startswith(f"chosen.safetensors holds {what}")
        assert f"not {wanted}: " in message and where in message


def test_motion_lora_given_as_model_is_named(tmp_path: Path) -> None:
    path = file_with(
        tmp_path / "pan.ckpt", [f"{MOTION_PLACE}.attention_blocks.0.processor.to_q_lora.up.weight"]
    )
    assert sentence(read_checkpoint, path) == (
        "pan.ckpt holds a motion LoRA, not a motion model: choose it as the motion_lora "
        "of Load LivePhoto, and a motion model as its file."
    )


def test_motion_model_given_as_motion_lora_is_named(tmp_path: Path) -> None:
    path = file_with(tmp_path / "mm.safetensors", animatediff_shapes(24))
    assert sentence(read_motion_lora, path) == (
        "mm.safetensors holds a motion model, not a motion LoRA: choose it as the file "
        "of Load LivePhoto."
    )


def test_motion_lora_for_sdxl_is_refused(tmp_path: Path) -> None:
    names = [
        f"down_blocks.{level}.motion_modules.0.temporal_transformer.transformer_blocks.0."
        "attention_blocks.0.processor.to_q_lora.up.weight"
        for level in range(3)
    ]
    path = file_with(tmp_path / "pan.safetensors", names)
    assert "holds a motion LoRA for SDXL" in sentence(read_motion_lora, path)


def test_nested_foreign_archives_are_named(tmp_path: Path) -> None:
    shapes = {"proj.weight": (2, 2)}
    path = write_archive(tmp_path / "ip-adapter.bin", shapes, wrapper="image_proj")
    assert "holds an IP-Adapter" in sentence(read_checkpoint, path)
    path = write_archive(tmp_path / "style.pt", {"*": (1, 768)}, wrapper="string_to_param")
    assert "holds a textual-inversion embedding" in sentence(read_checkpoint, path)


def test_unknown_weights_are_quoted(tmp_path: Path) -> None:
    path = file_with(tmp_path / "x.safetensors", ["gamma", "delta"])
    assert "no weights this pack knows (such as 'gamma', 'delta')" in sentence(
        read_checkpoint, path
    )


def test_file_without_tensors_is_refused(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "x.safetensors", {"__metadata__": {"format": "pt"}})
    assert sentence(read_checkpoint, path) == (
        "x.safetensors holds no weights: choose another file."
    )


def test_native_file_without_its_metadata_is_explained(tmp_path: Path) -> None:
    path = file_with(tmp_path / "x.safetensors", random_weights(TINY))
    assert "LivePhoto weights without the metadata" in sentence(read_checkpoint, path)


def test_wrong_file_of_a_terabyte_is_named_without_reading_it(tmp_path: Path) -> None:
    name = "lora_unet_mid_block_attentions_0_proj_in.lora_down.weight"
    path = write_sparse(tmp_path / "big.safetensors", {name: (10**12,)}, dtype="F8_E4M3")
    assert path.stat().st_size > 10**12
    assert "holds a LoRA" in sentence(read_checkpoint, path)
