"""Refusals: one clear sentence before anything runs, and nothing changed by it."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import comfy.sample
import comfy.samplers
import pytest
import torch
from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete
from comfy_extras.nodes_torch_compile import TorchCompileModel

from livephoto_core.comfyui import compatibility
from livephoto_core.comfyui.apply import apply_livephoto
from livephoto_core.comfyui.compatibility import check_one_gpu
from livephoto_core.models.config import UNetLayout
from tests.comfyui.sampling import sample
from tests.comfyui.sd15_checkpoint import small_model
from tests.comfyui.tiny_models import (
    ANIMATEDIFF_V1,
    FULL,
    LAYOUT,
    random_reference,
    random_text,
    tiny_livephoto,
    tiny_sd15,
)


@pytest.fixture(scope="module")
def model():
    return tiny_sd15()


@pytest.fixture(scope="module")
def livephoto():
    return tiny_livephoto(FULL)


def apply(model, livephoto, level=5.0):
    return apply_livephoto(model, livephoto, random_reference(livephoto.config), level)


@pytest.mark.parametrize(
    ("family", "message"),
    [
        ("SDXL", r"model: .* this is SDXL\. Load an SD-1\.5 checkpoint"),
        ("SD20", "this is Stable Diffusion 2"),
        ("SD3", "this is SD3"),
        ("Flux", "this is Flux"),
        ("SD15 inpaint", "an inpainting model with 9 input channels"),
        ("SD15 v-prediction", "does not predict noise"),
    ],
)
def test_other_kinds_of_models_are_refused_by_name(livephoto, family, message):
    context = {"context_dim": LAYOUT.context_dim} if family.startswith("SD15") else {}
    with pytest.raises(ValueError, match=message):
        apply(small_model(family, **context), livephoto)


def test_model_spread_over_several_gpus_is_refused(model, livephoto):
    applied = apply(model, livephoto)
    applied.set_additional_models("multigpu", [model])
    with pytest.raises(ValueError, match="Remove the MultiGPU node"):
        sample(applied)


def test_model_on_another_device_is_refused_under_dynamic_vram(model, livephoto, monkeypatch):
    moved = model.clone()
    moved.load_device = torch.device("meta")
    check_one_gpu(moved, livephoto)
    monkeypatch.setattr(moved, "is_dynamic", lambda: True)
    with pytest.raises(ValueError, match="runs on meta, .* on cpu. Remove Select Model Device"):
        check_one_gpu(moved, livephoto)


def test_unet_called_around_the_samplers_is_refused(model, livephoto):
    applied = apply(model, livephoto)
    options = {"wrappers": applied.wrappers, "cond_or_uncond": [0]}
    with pytest.raises(RuntimeError, match="goes around ComfyUI's samplers"):
        applied.model.apply_model(
            torch.zeros(2, 4, 8, 8),
            torch.ones(2),
            c_crossattn=random_text()[0][0].expand(2, -1, -1),
            transformer_options=options,
        )


def test_other_widths_are_refused(livephoto):
    wider = tiny_sd15(UNetLayout(block_channels=(64, 64, 64, 64), context_dim=LAYOUT.context_dim))
    with pytest.raises(ValueError, match=r"\(64, 64, 64, 64\) wide"):
        apply(wider, livephoto)


def test_second_application_is_refused(model, livephoto):
    with pytest.raises(ValueError, match=r"already carries tiny\.safetensors"):
        apply(apply(model, livephoto), livephoto)


def test_reference_without_content_tokens_is_refused(model, livephoto):
    reference = dataclasses.replace(random_reference(FULL), patch_tokens=None)
    with pytest.raises(
        ValueError, match="reference: tiny.safetensors needs content tokens of tiny"
    ):
        apply_livephoto(model, livephoto, reference, 5)


def test_vae_of_another_model_is_refused(livephoto):
    with pytest.raises(ValueError, match="vae: it makes latents of 16 channels"):
        compatibility.check_vae(SimpleNamespace(latent_channels=16), livephoto)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (None, "clip_vision: tiny.safetensors was trained with content tokens of tiny"),
        (SimpleNamespace(name="dinov2-base", dim=768), "this is dinov2-base"),
    ],
)
def test_missing_or_wrong_image_encoder_is_refused(livephoto, encoder, message):
    with pytest.raises(ValueError, match=message):
        compatibility.check_content_encoder(encoder, livephoto)


@pytest.mark.parametrize("level", [0.5, 11])
def test_intensity_out_of_range_is_refused(model, livephoto, level):
    with pytest.raises(ValueError, match="motion_intensity goes from 1"):
        apply(model, livephoto, level)


def test_one_frame_is_refused(model, livephoto):
    with pytest.raises(ValueError, match="frames: a video has at least 2 frames"):
        sample(apply(model, livephoto), frames=1)


def test_more_frames_than_positions_name_the_node_to_add(model):
    applied = apply(model, tiny_livephoto(ANIMATEDIFF_V1))
    with pytest.raises(ValueError, match=r"25 is more than the 24 .* Context Windows \(Manual\)"):
        sample(applied, frames=25)


def test_latent_of_another_size_is_refused(model, livephoto):
    with pytest.raises(ValueError, match="latent: it is 128×128 pixels, the reference 64×64"):
        sample(apply(model, livephoto), size=16)


def test_text_of_another_encoder_is_refused(model, livephoto):
    positive = [[torch.zeros(1, 77, 2048), {}]]
    with pytest.raises(ValueError, match="positive: the text was encoded 2048 wide, the model rea"):
        sample(apply(model, livephoto), positive=positive)


def test_model_set_to_predict_v_by_a_node_names_the_node(model, livephoto):
    patched = ModelSamplingDiscrete().patch(model, "v_prediction", False)[0]
    with pytest.raises(ValueError, match="Set the node that changed its sampling to eps"):
        apply(patched, livephoto)


def test_text_for_another_number_of_frames_is_refused(model, livephoto):
    with pytest.raises(ValueError, match="positive: the text is made for 3 frames"):
        sample(apply(model, livephoto), frames=4, positive=random_text(frames=3))


@pytest.mark.parametrize("order", ["before", "after"])
def test_torch_compile_is_refused_in_either_order(model, livephoto, order):
    before = sample(model)
    if order == "before":
        applied = apply(TorchCompileModel.execute(model, "eager")[0], livephoto)
    else:
        applied = TorchCompileModel.execute(apply(model, livephoto), "eager")[0]
    with pytest.raises(ValueError, match="Remove that node"):
        sample(applied)
    assert torch.equal(sample(model), before)


def test_compiled_part_is_refused(model, livephoto):
    applied = apply(model, livephoto)
    block = "diffusion_model.middle_block"
    applied.add_object_patch(block, torch.compile(applied.get_model_object(block)))
    with pytest.raises(ValueError, match="TorchCompileModel"):
        sample(applied)


def test_another_pack_that_runs_the_blocks_itself_is_noticed(model, livephoto):
    """As DeepCache does, from a wrapper around the model's call."""
    applied = apply(model, livephoto)
    applied.set_model_unet_function_wrapper(lambda _, arguments: arguments["input"])
    with pytest.raises(RuntimeError, match="runs the model's blocks by itself"):
        sample(applied)


def test_sampling_without_a_step_is_no_fault(model, livephoto):
    """As after Split Sigmas at the last step."""
    latent = torch.zeros(4, 4, 8, 8)
    text = random_text()
    result = comfy.sample.sample_custom(
        apply(model, livephoto),
        torch.randn(4, 4, 8, 8),
        3.0,
        comfy.samplers.sampler_object("euler"),
        torch.tensor([0.5]),
        text,
        text,
        latent,
    )
    assert result.isfinite().all()


def test_another_pack_that_splits_the_clip_is_refused(model, livephoto):
    def first_three(apply_model, arguments):
        x, timestep, conds = (arguments[name] for name in ("input", "timestep", "c"))
        few = {key: c[:3] if torch.is_tensor(c) else c for key, c in conds.items()}
        return apply_model(x[:3], timestep[:3], **few).repeat(len(x) // 3 + 1, 1, 1, 1)[: len(x)]

    applied = apply(model, livephoto)
    applied.set_model_unet_function_wrapper(first_three)
    with pytest.raises(RuntimeError, match=r"has 4 frames, but another node hands the model 3"):
        sample(applied)


def test_another_pack_that_replaces_a_layer_stops_the_first_step(model, livephoto):
    before = sample(model)
    applied = apply(model, livephoto)
    path = "diffusion_model.output_blocks.5.1"
    applied.add_object_patch(path, model.get_model_object(path))
    with pytest.raises(RuntimeError, match="motion modules 20 of 21"):
        sample(applied)
    assert torch.equal(sample(model), before)


def test_another_pack_that_replaces_input_blocks_stops_the_first_step(model, livephoto):
    applied = apply(model, livephoto)
    applied.model_options["transformer_options"]["patches"]["input_block_patch"] = []
    with pytest.raises(RuntimeError, match="input channels 0 of 1"):
        sample(applied)
