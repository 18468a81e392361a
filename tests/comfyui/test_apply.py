"""What applying a checkpoint does to a MODEL, and what it leaves alone."""

from __future__ import annotations

import comfy.model_management
import pytest
import torch
from comfy.patcher_extension import WrappersMP

from livephoto_core.comfyui.apply import apply_livephoto, empty_latent
from livephoto_core.models.unet_blocks import attention_locations
from tests.comfyui.sampling import sample
from tests.comfyui.tiny_models import (
    ADAPTED,
    CONFIGS,
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


@pytest.fixture(scope="module", params=CONFIGS, ids=str)
def applied(request, model):
    config = CONFIGS[request.param]
    livephoto = tiny_livephoto(config)
    return apply_livephoto(model, livephoto, random_reference(config), 5)


def test_output_changes_and_frames_differ(model, applied):
    bare, video = sample(model), sample(applied)
    assert (bare - video).abs().max() > 1e-2
    assert torch.isfinite(video).all()


def test_base_model_is_bit_identical_before_between_and_after(model, applied):
    before = sample(model)
    first = sample(applied)
    between = sample(model)
    second = sample(applied)
    after = sample(model)
    assert torch.equal(before, between) and torch.equal(before, after)
    assert torch.equal(first, second)


def test_layers_of_the_base_are_the_same_objects_once_it_is_loaded_again(model, applied):
    layers = dict(model.model.diffusion_model.named_modules())
    sample(applied)
    sample(model)
    assert dict(model.model.diffusion_model.named_modules()) == layers


def test_keys_of_the_unet_are_the_same_while_applied(model, applied):
    """LoRAs and ComfyUI's memory management find the layers by them."""
    keys = list(model.model.diffusion_model.state_dict())
    sample(applied)
    assert list(model.model.diffusion_model.state_dict()) == keys


class Injected(Exception):
    """Raised in the middle of a run by the tests."""


@pytest.mark.parametrize("failing_call", [0, 1, 2])
@pytest.mark.parametrize("error", [Injected, comfy.model_management.InterruptProcessingException])
def test_base_model_is_bit_identical_after_a_run_that_failed(model, applied, failing_call, error):
    before = sample(model)
    broken = applied.clone()
    calls = iter(range(100))

    def fail(executor, *args, **kwargs):
        if next(calls) == failing_call:
            raise error
        return executor(*args, **kwargs)

    broken.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", fail)
    with pytest.raises(error):
        sample(broken, steps=3)
    assert torch.equal(sample(model), before)


def test_zero_initialised_parts_leave_the_base_output_bit_identical(model):
    livephoto = tiny_livephoto(FULL)
    livephoto.parts.motion.initialise_weights()
    livephoto.parts.content.initialise_weights()
    livephoto.parts.input_conditioning.initialise_weights()
    applied = apply_livephoto(model, livephoto, random_reference(FULL), 5)
    assert torch.equal(sample(applied), sample(model))


def test_cfg_1_runs_without_the_negative(applied):
    assert torch.isfinite(sample(applied, cfg=1.0)).all()


def test_one_call_for_both_branches_equals_one_call_each(model):
    livephoto = tiny_livephoto(FULL)
    applied = apply_livephoto(model, livephoto, random_reference(FULL), 5)
    together = sample(applied)
    alone = sample(applied, negative=[[random_text(seed=5)[0][0].repeat(1, 5, 1), {}]])
    torch.testing.assert_close(alone, together, rtol=1e-3, atol=1e-3)


def test_intensity_changes_the_output(model):
    livephoto, reference = tiny_livephoto(FULL), random_reference(FULL)
    calm = sample(apply_livephoto(model, livephoto, reference, 1))
    wild = sample(apply_livephoto(model, livephoto, reference, 10))
    assert (calm - wild).abs().max() > 1e-3


def test_keys_and_values_of_the_content_are_computed_once_per_run(model, monkeypatch):
    livephoto = tiny_livephoto(FULL)
    calls = []
    original = livephoto.parts.content.keys_values
    monkeypatch.setattr(
        livephoto.parts.content, "keys_values", lambda t: calls.append(1) or original(t)
    )
    sample(apply_livephoto(model, livephoto, random_reference(FULL), 5), steps=3)
    assert len(calls) == 1


@pytest.mark.parametrize("sampler", ["euler_ancestral", "heun", "dpmpp_2m_sde", "uni_pc", "lcm"])
def test_samplers_run(applied, sampler):
    assert torch.isfinite(sample(applied, sampler=sampler, scheduler="karras")).all()


def test_conditionings_of_different_lengths_and_regions_run(applied):
    left = [[random_text(77, seed=6)[0][0], {"area": (8, 4, 0, 0), "strength": 1.0}]]
    right = [[random_text(154, seed=7)[0][0], {"area": (8, 4, 0, 4), "strength": 1.0}]]
    assert torch.isfinite(sample(applied, positive=[*left, *right, *random_text(231)])).all()


def test_text_weighted_per_frame_runs_and_matters(applied):
    per_frame = random_text(frames=4)
    assert not torch.equal(sample(applied, positive=per_frame), sample(applied))


def test_weights_are_loaded_with_the_model(applied):
    [parts] = applied.get_additional_models()
    sample(applied)
    assert parts.model in [m.model for m in comfy.model_management.loaded_models()]


def test_empty_latent_has_the_size_of_the_reference():
    latent = empty_latent(random_reference(FULL, height=6, width=10), 16)["samples"]
    assert latent.shape == (16, 4, 6, 10) and not latent.any()


def test_text_adapters_act_as_adapted_keys_and_values_of_the_base(model):
    """W·(c + A·c) = (W + W·A)·c: against the same change made to the base's own weights."""
    livephoto, reference = tiny_livephoto(ADAPTED), random_reference(ADAPTED)
    adapted = sample(apply_livephoto(model, livephoto, reference, 5))
    plain = tiny_livephoto(FULL)
    shared = livephoto.parts.state_dict().items()
    plain.parts.load_state_dict(
        {name: tensor for name, tensor in shared if not name.startswith("text_adapters")}
    )
    changed = model.clone()
    changed.add_patches(key_value_patches(model, livephoto.parts.text_adapters))
    expected = sample(apply_livephoto(changed, plain, reference, 5))
    bare = sample(apply_livephoto(model, plain, reference, 5))
    assert (adapted - bare).norm() / bare.norm() > 1e-2
    torch.testing.assert_close(adapted, expected, rtol=1e-3, atol=1e-3)


def key_value_patches(model, adapters) -> dict:
    """ComfyUI weight patches that add W·A to every `to_k` and `to_v` of the text."""
    weights = model.model.state_dict()
    patches = {}
    for location, _ in attention_locations(LAYOUT):
        adapter = adapters.at(location)
        kind, number = location
        block = "middle_block" if kind == "middle" else f"{kind}_blocks.{number}"
        attention = f"diffusion_model.{block}.1.transformer_blocks.0.attn2"
        for name, matrix in (("to_k", adapter.for_keys), ("to_v", adapter.for_values)):
            key = f"{attention}.{name}.weight"
            patches[key] = ("diff", (weights[key] @ matrix.weight,))
    return patches
