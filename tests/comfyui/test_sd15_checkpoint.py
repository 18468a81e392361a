import comfy.sd
import pytest
import torch
from comfy.model_base import ModelType

from tests.comfyui.sd15_checkpoint import small_model

FAMILIES = {
    "SD15": ("SD15", 4, ModelType.EPS),
    "SD15 inpaint": ("SD15", 9, ModelType.EPS),
    "SD15 v-prediction": ("SD15", 4, ModelType.V_PREDICTION),
    "SD20": ("SD20", 4, ModelType.EPS),
    "SDXL": ("SDXL", 4, ModelType.EPS),
    "SD3": ("SD3", 16, ModelType.FLOW),
    "Flux": ("Flux", 16, ModelType.FLUX),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_small_model_is_of_its_family(family, comfy_in_process):
    class_name, in_channels, model_type = FAMILIES[family]
    model = small_model(family).model
    assert type(model.model_config).__name__ == class_name
    assert model.model_config.unet_config["in_channels"] == in_channels
    assert model.model_type == model_type


def test_small_model_output_is_finite_and_depends_on_all_inputs(comfy_in_process):
    model = small_model("SD15").model
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 4, 8, 8, generator=generator)
    context = torch.randn(2, 77, 768, generator=generator)
    sigmas = torch.full((2,), 5.0)
    output = model.apply_model(latents, sigmas, c_crossattn=context)
    assert output.isfinite().all()
    assert output.std() > 0.1
    for other in (
        model.apply_model(latents + 1, sigmas, c_crossattn=context),
        model.apply_model(latents, sigmas / 2, c_crossattn=context),
        model.apply_model(latents, sigmas, c_crossattn=context.roll(1, dims=0)),
    ):
        assert (other - output).abs().max() > 1e-3


def test_same_seed_gives_same_weights(comfy_in_process):
    weights = [small_model(seed=seed).model.diffusion_model.state_dict() for seed in (1, 1, 2)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert not torch.equal(weights[0]["out.2.weight"], weights[2]["out.2.weight"])


@pytest.mark.slow
def test_checkpoint_loads_as_sd15_and_all_parts_give_finite_output(
    comfy_in_process, sd15_checkpoint
):
    model, clip, vae, _ = comfy.sd.load_checkpoint_guess_config(str(sd15_checkpoint))
    assert type(model.model.model_config).__name__ == "SD15"
    tokens = clip.tokenize("a cat waves")
    context = clip.encode_from_tokens(tokens)
    assert context.shape == (1, 77, 768)
    assert context.isfinite().all()
    assert context.std(dim=1).min() > 1e-3
    pixels = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    latents = vae.encode(pixels)
    assert latents.shape == (1, 4, 8, 8)
    images = vae.decode(latents)
    assert images.isfinite().all()
    assert images.std() > 1e-3
    with torch.inference_mode():
        comfy_in_process.model_management.load_models_gpu([model])
        output = model.model.apply_model(latents, torch.tensor([5.0]), c_crossattn=context)
    assert output.isfinite().all()
    assert output.std() > 1e-2
