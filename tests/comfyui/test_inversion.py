"""Prior inversion through ComfyUI's sampling."""

from __future__ import annotations

import comfy.model_management
import comfy.sample
import pytest
import torch
from comfy.hooks import HookGroup
from comfy.samplers import KSampler, sampler_object
from comfy_extras.nodes_context_windows import ContextWindowsManualNode
from comfy_extras.nodes_custom_sampler import BasicGuider, SamplerCustomAdvanced
from comfy_extras.nodes_easycache import EasyCacheNode, LazyCacheNode
from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete
from diffusers import DDIMInverseScheduler

from livephoto_core.comfyui import inversion
from livephoto_core.comfyui.apply import apply_livephoto, empty_latent
from livephoto_core.comfyui.inversion import PriorNoise, invert_reference
from livephoto_core.comfyui.reference import LivePhotoReference
from livephoto_core.diffusion.prior import prior_coefficients
from tests.comfyui.sd15_checkpoint import small_model
from tests.comfyui.tiny_models import FULL, random_reference, random_text, tiny_livephoto, tiny_sd15


@pytest.fixture(scope="module")
def model():
    return tiny_sd15()


@pytest.fixture
def reference():
    return random_reference(FULL)


def count_calls(model):
    counted, calls = model.clone(), []

    def count(executor, *args, **kwargs):
        calls.append(1)
        return executor(*args, **kwargs)

    counted.add_wrapper_with_key("diffusion_model", "test", count)
    return counted, calls


@pytest.mark.parametrize(
    ("settings", "schedule"),
    [({}, "scaled_linear"), ({"beta_schedule": "sqrt_linear"}, "linear")],
    ids=["sd15", "demo base"],
)
def test_inversion_agrees_with_diffusers_on_the_same_unet(reference, settings, schedule):
    """diffusers' scheduler drives the bare UNet; ours goes through ComfyUI's sampling."""
    model, text = tiny_sd15(), random_text()
    model.model.model_config.sampling_settings = settings
    scheduler = DDIMInverseScheduler(
        beta_schedule=schedule,
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        timestep_spacing="trailing",
    )
    scheduler.set_timesteps(10)
    comfy.model_management.load_model_gpu(model)
    latent = reference.latent * 0.18215
    with torch.inference_mode():
        for timestep in scheduler.timesteps:
            noise = model.model.diffusion_model(
                latent, torch.tensor([float(timestep)]), context=text[0][0], transformer_options={}
            )
            latent = scheduler.step(noise, timestep, latent).prev_sample
    ours = invert_reference(model, reference, num_steps=10, conditioning=text)
    assert ((ours - latent).norm() / latent.norm()).item() < 1e-4


def test_second_seed_and_second_call_do_not_invert_again(model, reference):
    counted, calls = count_calls(model)
    first = invert_reference(counted, reference, num_steps=5)
    second = invert_reference(counted, reference, num_steps=5)
    assert len(calls) == 5 and first is second


def test_other_steps_prompt_or_model_invert_again(model, reference):
    counted, calls = count_calls(model)
    invert_reference(counted, reference, num_steps=2)
    invert_reference(counted, reference, num_steps=3)
    text = random_text()
    for conditioning in (text, text, random_text()):
        invert_reference(counted, reference, num_steps=2, conditioning=conditioning)
    other, other_calls = count_calls(model)
    invert_reference(other, reference, num_steps=2)
    assert (len(calls), len(other_calls)) == (9, 2)


def test_photo_encoded_again_for_another_motion_file_is_not_inverted_again(model, reference):
    counted, calls = count_calls(model)
    first = invert_reference(counted, reference, num_steps=2)
    again = LivePhotoReference(reference.latent.clone(), torch.zeros(1, 16, 48))
    assert invert_reference(counted, again, num_steps=2) is first
    other = LivePhotoReference(reference.latent.flip(-1))
    assert invert_reference(counted, other, num_steps=2) is not first
    assert len(calls) == 4


def test_text_that_keeps_other_models_in_memory_is_not_remembered(model, reference):
    counted, calls = count_calls(model)
    text = random_text()
    text[0][1]["hooks"] = HookGroup()
    for _ in range(2):
        invert_reference(counted, reference, num_steps=2, conditioning=text)
    assert len(calls) == 4 and not inversion._made[counted]


def test_inversions_are_forgotten_with_their_model_and_the_oldest_before(model, reference):
    before = len(inversion._made)
    short_lived = model.clone()
    for num_steps in range(1, 11):
        invert_reference(short_lived, reference, num_steps=num_steps)
    assert [made.num_steps for made in inversion._made[short_lived]] == list(range(3, 11))
    assert len(inversion._made) == before + 1
    del short_lived
    comfy.model_management.cleanup_models_gc()
    assert len(inversion._made) == before


def test_model_that_overflows_is_refused(model, reference):
    broken = model.clone()
    broken.add_wrapper_with_key(
        "diffusion_model", "test", lambda executor, *args, **kwargs: executor(*args, **kwargs) / 0
    )
    with pytest.raises(ValueError, match="model: its prediction .* holds NaN .* --fp32-unet"):
        invert_reference(broken, reference, num_steps=2)


def test_model_is_itself_as_soon_as_the_inversion_ends(model, reference):
    schedule = model.model.model_sampling
    invert_reference(model, reference, num_steps=1)
    assert model.model.model_sampling is schedule


def test_cancel_stops_within_a_step(model, reference):
    counted, calls = count_calls(model)

    def cancel(executor, *args, **kwargs):
        comfy.model_management.interrupt_current_processing()
        return executor(*args, **kwargs)

    counted.add_wrapper_with_key("diffusion_model", "cancel", cancel)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        invert_reference(counted, reference, num_steps=50)
    comfy.model_management.interrupt_current_processing(False)
    assert len(calls) == 1 and not inversion._made[counted]


def test_model_with_livephoto_applied_is_refused(model, reference):
    applied = apply_livephoto(model, tiny_livephoto(FULL), reference, 5)
    with pytest.raises(ValueError, match="from before Apply LivePhoto"):
        invert_reference(applied, reference, num_steps=2)


@pytest.mark.parametrize("family", ["SDXL", "SD20", "SD3", "Flux", "SD15 inpaint"])
def test_other_kinds_of_models_are_refused(reference, family):
    with pytest.raises(ValueError, match=r"^model: "):
        invert_reference(small_model(family), reference, num_steps=2)


def test_inversion_ignores_the_sampling_set_for_the_video(model, reference):
    """LCM's denoised latents are not those that DDIM needs."""
    lcm = ModelSamplingDiscrete().patch(model, "lcm", False)[0]
    plain = invert_reference(model, reference, num_steps=3)
    assert torch.equal(invert_reference(lcm, reference, num_steps=3), plain)


def test_inversion_ignores_the_guidance_set_for_the_video(model, reference):
    """Such as PAG's and SAG's, which look for a negative prompt that is not there."""

    def fail(*_):
        raise AssertionError("an inversion has no guidance")

    guided = model.clone()
    guided.set_model_sampler_cfg_function(fail)
    guided.set_model_sampler_pre_cfg_function(fail)
    guided.set_model_sampler_post_cfg_function(fail)
    guided.set_model_sampler_calc_cond_batch_function(fail)
    options = dict(guided.model_options)
    plain = invert_reference(model, reference, num_steps=3)
    assert torch.equal(invert_reference(guided, reference, num_steps=3), plain)
    assert guided.model_options == options


@pytest.mark.parametrize("node", [EasyCacheNode, LazyCacheNode])
def test_inversion_leaves_out_no_step(model, reference, node):
    cached = node.execute(model, 3.0, 0.0, 1.0, False)[0]
    wrappers = {kind: set(keys) for kind, keys in cached.wrappers.items()}
    plain = invert_reference(model, reference, num_steps=8)
    assert torch.equal(invert_reference(cached, reference, num_steps=8), plain)
    assert {kind: set(keys) for kind, keys in cached.wrappers.items()} == wrappers


def test_inversion_works_beside_freenoise(model, reference):
    windows = ContextWindowsManualNode.execute(
        model, 16, 4, "standard_static", 1, False, "pyramid", dim=0, freenoise=True
    )[0]
    plain = invert_reference(model, reference, num_steps=3)
    assert torch.equal(invert_reference(windows, reference, num_steps=3), plain)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 77, 2048), "conditioning: the text was encoded 2048 wide"),
        ((16, 77, 64), "conditioning: its text differs from frame to frame"),
    ],
)
def test_text_of_another_encoder_or_of_a_video_is_refused(model, reference, shape, message):
    with pytest.raises(ValueError, match=message):
        invert_reference(model, reference, num_steps=2, conditioning=[[torch.zeros(shape), {}]])


def test_noise_is_the_mix_of_equation_3(reference):
    inverted = torch.randn(1, 4, 8, 8)
    latent = empty_latent(reference, 5)
    noise = PriorNoise(inverted, alpha_first=0.4, alpha_last=0.2, seed=7).generate_noise(latent)
    gaussian = comfy.sample.prepare_noise(latent["samples"], 7)
    alpha = prior_coefficients(5, 0.4, 0.2).view(-1, 1, 1, 1)
    torch.testing.assert_close(noise, alpha * inverted + (1 - alpha) * gaussian)


def test_noise_for_another_size_is_refused(reference):
    noise = PriorNoise(torch.randn(1, 4, 8, 16), alpha_first=0.1, alpha_last=0.1, seed=0)
    with pytest.raises(ValueError, match="inverted at 128×64 pixels, the video is 64×64"):
        noise.generate_noise(empty_latent(reference, 4))


def test_noise_works_in_sampler_custom_advanced(model, reference):
    applied = apply_livephoto(model, tiny_livephoto(FULL), reference, 5)
    inverted = invert_reference(model, reference, num_steps=2)
    noise = PriorNoise(inverted, alpha_first=0.033, alpha_last=0.016, seed=1)
    guider = BasicGuider.execute(applied, random_text())[0]
    sigmas = KSampler(applied, 2, "cpu", "euler", "normal").sigmas
    out = SamplerCustomAdvanced.execute(
        noise, guider, sampler_object("euler"), sigmas, empty_latent(reference, 4)
    )[0]["samples"]
    assert out.shape == (4, 4, 8, 8) and torch.isfinite(out).all()
