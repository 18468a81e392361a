"""LivePhoto together with the nodes artists combine it with, each ComfyUI's own code."""

from __future__ import annotations

import dataclasses
from functools import partial

import comfy.cldm.cldm
import comfy.context_windows
import comfy.controlnet
import comfy.hooks
import comfy.sample
import comfy.sampler_helpers
import comfy.samplers
import comfy.sd
import pytest
import torch
from comfy.samplers import KSampler, sampler_object
from comfy_extras.nodes_advanced_samplers import SamplerLCMUpscale
from comfy_extras.nodes_context_windows import ContextWindowsManualNode
from comfy_extras.nodes_custom_sampler import DualModelGuider
from comfy_extras.nodes_easycache import EasyCacheNode, LazyCacheNode
from comfy_extras.nodes_freelunch import FreeU_V2
from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete
from comfy_extras.nodes_perpneg import PerpNeg, PerpNegGuider

from livephoto_core.comfyui.apply import apply_livephoto
from livephoto_core.comfyui.inversion import invert_reference
from livephoto_core.comfyui.sampling import sample_livephoto
from tests.comfyui.sampling import sample
from tests.comfyui.tiny_models import (
    ANIMATEDIFF_V1,
    CONFIGS,
    FULL,
    random_reference,
    random_text,
    tiny_livephoto,
    tiny_sd15,
)
from tests.models.random_weights import randomise


@pytest.fixture(scope="module")
def model():
    return tiny_sd15()


def apply(model, config=FULL, level=5.0):
    return apply_livephoto(model, tiny_livephoto(config), random_reference(config), level)


def with_windows(model, length, **options):
    settings = {
        "context_length": length,
        "context_overlap": 2,
        "context_schedule": "standard_static",
        "context_stride": 1,
        "closed_loop": False,
        "fuse_method": "pyramid",
        "dim": 0,
        "freenoise": False,
        **options,
    }
    return ContextWindowsManualNode.execute(model, **settings)[0]


def lora_for(model, key="input_blocks.1.1.transformer_blocks.0.attn1.to_q"):
    width = model.model.diffusion_model.get_submodule(key).weight.shape
    generator = torch.Generator().manual_seed(9)
    return {
        f"diffusion_model.{key}.lora_up.weight": torch.randn(width[0], 4, generator=generator),
        f"diffusion_model.{key}.lora_down.weight": torch.randn(4, width[1], generator=generator),
        f"diffusion_model.{key}.alpha": torch.tensor(4.0),
    }


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("causal", [True, False])
def test_context_windows_make_longer_clips(model, name, causal):
    video = sample(
        with_windows(apply(model, CONFIGS[name]), 6, causal_window_fix=causal), frames=12
    )
    assert video.shape[0] == 12 and torch.isfinite(video).all()


def test_windows_see_the_absolute_frame_number(model):
    """Two windows of equal noise and text differ only through the frame channel."""
    applied = with_windows(apply(model), 6, causal_window_fix=False, context_overlap=0)
    seen = []

    def keep(executor, *args, **kwargs):
        seen.append(kwargs["livephoto_channels"][:6, 5, 0, 0].clone())
        return executor(*args, **kwargs)

    outer = applied.clone()
    wrappers = outer.wrappers["diffusion_model"]
    outer.wrappers["diffusion_model"] = {"test": [keep], **wrappers}
    sample(outer, frames=12, steps=1)
    windows = torch.stack(seen)
    torch.testing.assert_close(windows[0], torch.linspace(0, 1, 12)[:6])
    torch.testing.assert_close(windows[-1], torch.linspace(0, 1, 12)[6:])


@pytest.mark.parametrize("causal", [True, False])
def test_windows_tell_ip_adapters_which_frames_they_hold(model, causal):
    applied = with_windows(apply(model), 6, causal_window_fix=causal, context_overlap=0)
    seen = []

    def keep(hidden, context, value, extra_options):
        seen.append((extra_options["ad_params"], len(hidden) // 2))
        return hidden, context, value

    applied.set_model_attn2_patch(keep)
    sample(applied, frames=12, steps=1)
    first, last = seen[0], seen[-1]
    assert first == ({"sub_idxs": [0, 1, 2, 3, 4, 5], "full_length": 12}, 6)
    expected = [*([5] if causal else []), 6, 7, 8, 9, 10, 11]
    assert last == ({"sub_idxs": expected, "full_length": 12}, len(expected))


def test_text_weighted_per_frame_is_sliced_by_windows(model):
    applied = with_windows(apply(model), 6)
    text = random_text(frames=12)
    assert torch.isfinite(sample(applied, frames=12, positive=text)).all()


def test_windows_of_a_clip_that_fits_change_nothing(model):
    applied = apply(model)
    assert torch.equal(sample(with_windows(applied, 16), frames=8), sample(applied, frames=8))


def test_window_longer_than_the_positions_is_refused(model):
    applied = with_windows(apply(model, ANIMATEDIFF_V1), 24)
    with pytest.raises(ValueError, match="Set context_length to 23 or less"):
        sample(applied, frames=40, steps=1)


def by_tiles(apply_model, arguments, *, together):
    """Left and right half of the latents, as tiled samplers call the model."""
    x, timestep, conds = (arguments[name] for name in ("input", "timestep", "c"))
    halves = [slice(0, x.shape[3] // 2), slice(x.shape[3] // 2, None)]
    tiles = [
        (
            x[..., half],
            timestep,
            {
                key: c[..., half] if torch.is_tensor(c) and c.ndim == 4 else c
                for key, c in conds.items()
            },
        )
        for half in halves
    ]
    if not together:
        return torch.cat([apply_model(x, t, **c) for x, t, c in tiles], dim=3)
    stacked = {
        key: torch.cat([c[key] for _, _, c in tiles]) if torch.is_tensor(value) else value
        for key, value in conds.items()
    }
    out = apply_model(
        torch.cat([x for x, _, _ in tiles]), torch.cat([t for _, t, _ in tiles]), **stacked
    )
    return torch.cat(out.chunk(2), dim=3)


@pytest.mark.parametrize("name", CONFIGS)
def test_tiles_in_one_call_are_not_taken_for_more_frames(model, name):
    videos = []
    for together in (False, True):
        applied = apply(model, CONFIGS[name])
        applied.set_model_unet_function_wrapper(partial(by_tiles, together=together))
        videos.append(sample(applied, steps=2))
    torch.testing.assert_close(*videos, rtol=1e-2, atol=1e-2)


def repeat_queries(hidden, context, value, extra_options):
    """As nodes with a prompt for each region do, here with one prompt for two regions."""
    return hidden.repeat(2, 1, 1), context.repeat(2, 1, 1), value.repeat(2, 1, 1)


def average(x, extra_options):
    return (x[: len(x) // 2] + x[len(x) // 2 :]) / 2


def test_attention_of_regions_in_front_changes_only_what_it_should(model):
    regional = model.clone()
    regional.set_model_attn2_patch(repeat_queries)
    regional.set_model_attn2_output_patch(average)
    torch.testing.assert_close(sample(apply(regional)), sample(apply(model)), rtol=1e-4, atol=1e-4)


def test_attention_of_regions_behind_is_refused(model):
    applied = apply(model)
    applied.set_model_attn2_patch(repeat_queries)
    applied.set_model_attn2_output_patch(average)
    with pytest.raises(ValueError, match="Put that node before Apply LivePhoto"):
        sample(applied)


def test_easycache_skips_steps_and_keeps_the_video_finite(model):
    applied = apply(model)
    cached = EasyCacheNode.execute(applied, 0.9, 0.1, 0.95, False)[0]
    assert torch.isfinite(sample(cached, steps=12)).all()
    assert not torch.equal(sample(cached, steps=12), sample(applied, steps=12))


def test_easycache_that_would_take_all_windows_for_one_is_refused(model):
    """It ended in the middle of the clip, in torch's words; LazyCache looks at the whole clip."""
    applied = with_windows(apply(model), 6)
    cached = EasyCacheNode.execute(applied, 0.9, 0.1, 0.95, False)[0]
    with pytest.raises(ValueError, match="EasyCache does not go with Context Windows.*LazyCache"):
        sample(cached, frames=12, steps=4)
    lazy = LazyCacheNode.execute(applied, 0.9, 0.1, 0.95, False)[0]
    assert torch.isfinite(sample(lazy, frames=12, steps=4)).all()
    assert torch.isfinite(sample(cached, frames=6, steps=4)).all(), "one window is no window"


@pytest.mark.parametrize("kind", ["v_prediction", "x0", "img_to_img"])
def test_prediction_of_another_kind_set_behind_is_refused(model, kind):
    behind = ModelSamplingDiscrete().patch(apply(model), kind, False)[0]
    with pytest.raises(ValueError, match="does not predict noise.*Set the node"):
        sample(behind)


def test_sampler_that_enlarges_the_picture_is_refused(model):
    sampler = SamplerLCMUpscale.execute(2.0, 2, "nearest-exact")[0]
    applied, text = apply(model), random_text()
    noise, empty = torch.randn(4, 4, 8, 8), torch.zeros(4, 4, 8, 8)
    sigmas = torch.tensor([10.0, 5.0, 1.0, 0.0])
    with pytest.raises(RuntimeError, match="enlarges it while sampling"):
        comfy.sample.sample_custom(applied, noise, 1.0, sampler, sigmas, text, text, empty)


def test_freeu_gives_the_same_before_and_after(model):
    """At 16 latent pixels, since FreeU divides by zero where the coarsest level is one pixel."""
    livephoto, reference = tiny_livephoto(FULL), random_reference(FULL, height=16, width=16)
    first = FreeU_V2.execute(model, 1.3, 1.4, 0.9, 0.2)[0]
    first = sample(apply_livephoto(first, livephoto, reference, 5), size=16)
    last = apply_livephoto(model, livephoto, reference, 5)
    without = sample(last, size=16)
    last = sample(FreeU_V2.execute(last, 1.3, 1.4, 0.9, 0.2)[0], size=16)
    torch.testing.assert_close(first, last)
    assert (first - without).abs().max() > 1e-3


@pytest.mark.parametrize("order", ["before", "after"])
def test_lora_acts_in_either_order_and_leaves_the_base_alone(model, order):
    before = sample(model)
    lora = lora_for(model)
    if order == "before":
        applied = apply(comfy.sd.load_lora_for_models(model, None, lora, 1.0, 0)[0])
    else:
        applied = comfy.sd.load_lora_for_models(apply(model), None, lora, 1.0, 0)[0]
    with_lora, without = sample(applied), sample(apply(model))
    assert (with_lora - without).abs().max() > 1e-3
    assert torch.equal(sample(model), before)


def test_lora_on_a_layer_with_a_twin_is_undone(model):
    """The ResBlocks of the coarsest level are replaced by twins that share their weights."""
    before = sample(model)
    lora = lora_for(model, "output_blocks.0.0.emb_layers.1")
    applied = comfy.sd.load_lora_for_models(apply(model), None, lora, 1.0, 0)[0]
    assert (sample(applied) - sample(apply(model))).abs().max() > 1e-4
    assert torch.equal(sample(model), before)


def test_lora_hooks_on_a_conditioning(model):
    applied = apply(model)
    hooks = comfy.hooks.create_hook_lora(lora_for(model), 1.0, 0.0)
    positive = [[random_text()[0][0], {"hooks": hooks}]]
    with_hook = sample(applied, positive=positive)
    assert (with_hook - sample(applied)).abs().max() > 1e-3
    assert torch.equal(sample(applied), sample(apply(model)))


def test_lora_hooks_under_dynamic_vram_read_the_checkpoint_once(model, monkeypatch):
    """ComfyUI then samples with a copy without dynamic VRAM, and keeps it at the MODEL asked."""
    livephoto = tiny_livephoto(FULL)
    hooks = comfy.hooks.create_hook_lora(lora_for(model), 1.0, 0.0)
    positive = [[random_text()[0][0], {"hooks": hooks}]]
    given, asked = model.clone(), []
    monkeypatch.setattr(given, "is_dynamic", lambda: True)
    delegate = "get_non_dynamic_delegate"  # which patchers without dynamic VRAM do not have
    monkeypatch.setattr(given, delegate, lambda: asked.append(1) or model, raising=False)
    options = {
        "motion_intensity": 5,
        "num_frames": 4,
        "negative": random_text(),
        "seed": 0,
        "num_steps": 1,
        "cfg": 2.0,
        "sampler_name": "euler",
        "scheduler": "normal",
    }
    reference = random_reference(FULL)
    video = sample_livephoto(given, livephoto, reference, positive=positive, **options)
    assert asked == [1]
    expected = sample_livephoto(model, livephoto, reference, positive=positive, **options)
    assert torch.equal(video["samples"], expected["samples"])
    sample_livephoto(given, livephoto, reference, positive=random_text(), **options)
    assert asked == [1]
    prior = invert_reference(given, reference, num_steps=1, conditioning=positive)
    assert asked == [1, 1]
    wanted = invert_reference(model, reference, num_steps=1, conditioning=positive)
    assert torch.equal(prior, wanted)


def test_controlnet_of_a_clip(model):
    config = dict(model.model.model_config.unet_config)
    for unused in ("out_channels", "transformer_depth_output"):
        config.pop(unused)
    control_model = randomise(comfy.cldm.cldm.ControlNet(**config, hint_channels=3, device="cpu"))
    control = comfy.controlnet.ControlNet(
        control_model, load_device=torch.device("cpu"), manual_cast_dtype=None
    )
    control.set_cond_hint(torch.rand(4, 3, 64, 64), strength=1.0)
    applied = apply(model)
    text = [[random_text()[0][0], {"control": control, "control_apply_to_uncond": True}]]
    guided = sample(applied, positive=text)
    assert torch.isfinite(guided).all()
    assert (guided - sample(applied)).abs().max() > 1e-3
    # Context windows would all be given the first pictures.
    windowed = with_windows(applied, 3)
    with pytest.raises(ValueError, match=r"positive: its ControlNet has 4 pictures"):
        sample(windowed, positive=text)
    assert torch.equal(sample(with_windows(applied, 4), positive=text), guided)
    control.set_cond_hint(torch.rand(1, 3, 64, 64), strength=1.0)
    assert torch.isfinite(sample(windowed, positive=text)).all()


def test_second_model_without_livephoto_is_refused(model):
    """Dual Model CFG Guider runs the negative prompt on another model, within the same sampling."""
    other = tiny_sd15()
    applied, text = apply(model), random_text()

    def guided(model_negative):
        guider = DualModelGuider.execute(applied, text, 3.0, model_negative, text)[0]
        latent = torch.zeros(4, 4, 8, 8)
        sigmas = KSampler(applied, 2, "cpu", "euler", "normal").sigmas
        noise = comfy.sample.prepare_noise(latent, 0)
        return guider.sample(noise, latent, sampler_object("euler"), sigmas, seed=0)

    with pytest.raises(RuntimeError, match="give a second model its own Apply LivePhoto"):
        guided(other)
    assert torch.isfinite(guided(apply(other))).all()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_conditioning_that_a_node_makes_while_sampling_gets_the_photo_too(model, config):
    """Perp-Neg makes one in its cfg function; its guider, which knows it before, says the same."""
    applied, empty = apply(model, config), random_text(seed=6)
    patched = PerpNeg.execute(applied, empty, 1.0)[0]
    guider = PerpNegGuider.execute(applied, random_text(), random_text(seed=5), empty, 3.0, 1.0)[0]
    latent = torch.zeros(4, 4, 8, 8)
    sigmas = KSampler(applied, 2, "cpu", "euler", "normal").sigmas
    noise = comfy.sample.prepare_noise(latent, 0)
    wanted = guider.sample(noise, latent, sampler_object("euler"), sigmas, seed=0)
    torch.testing.assert_close(sample(patched), wanted, rtol=1e-4, atol=1e-4)
    windowed = with_windows(patched, 4)
    assert torch.isfinite(sample(windowed, frames=6)).all()


def test_part_of_the_picture_that_a_node_samples_by_itself_is_refused(model):
    def guided(args):
        x, options, text = args["input"][..., :4, :4], args["model_options"], random_text()
        conds = comfy.sampler_helpers.convert_cond(text)
        conds = comfy.samplers.encode_model_conds(
            args["model"].extra_conds, conds, x, x.device, "positive"
        )
        comfy.samplers.calc_cond_batch(args["model"], [conds], x, args["sigma"], options)
        return args["cond"]

    patched = apply(model).clone()
    patched.set_model_sampler_cfg_function(guided)
    with pytest.raises(RuntimeError, match="a part of the picture"):
        sample(patched)


def test_clone_onto_other_weights_gets_twins_of_its_own(model):
    """ComfyUI does this for LoRA hooks under dynamic VRAM, and for several GPUs."""
    other = tiny_sd15()
    randomise(other.model.diffusion_model, seed=77)
    wanted = sample(apply(other))
    moved = apply(model).clone(model_override=other.get_clone_model_override())
    assert torch.equal(sample(moved), wanted)
    assert not torch.equal(sample(apply(model)), wanted)


def test_v1_changes_group_norm_statistics(model):
    per_frame = dataclasses.replace(ANIMATEDIFF_V1, cross_frame_group_norm=False)
    across, within = sample(apply(model, ANIMATEDIFF_V1)), sample(apply(model, per_frame))
    assert (across - within).abs().max() > 1e-3
