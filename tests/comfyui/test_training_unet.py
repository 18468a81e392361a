"""The network in training against a sampling step of the same parts, and its gradients."""

from __future__ import annotations

import pytest
import torch
from einops import rearrange

from livephoto_core.comfyui.apply import apply_livephoto
from livephoto_core.comfyui.training_unet import TrainingUNet
from livephoto_core.models.input_conditioning import assemble_channels
from livephoto_core.models.livephoto import LivePhoto
from tests.comfyui.sampling import sample
from tests.comfyui.tiny_models import (
    CONFIGS,
    CONTEXT_DIM,
    FULL,
    random_reference,
    random_text,
    tiny_livephoto,
    tiny_sd15,
)
from tests.models.random_weights import randomise

FRAMES = 4


def training_parts(config) -> LivePhoto:
    parts = randomise(LivePhoto(config), seed=2).requires_grad_(True)
    if parts.motion is not None:
        parts.motion.make_positions()
    return parts


def recorded_step(model, config, *, per_frame_text: bool):
    """Inputs and output of the UNet in the first step of a guided sampling."""
    reference = random_reference(config)
    applied = apply_livephoto(model, tiny_livephoto(config), reference, 7)
    seen = []

    def record(executor, x, timesteps, context, *args, **kwargs):
        out = executor(x, timesteps, context, *args, **kwargs)
        seen.append((x.clone(), timesteps.clone(), context.clone(), out.clone()))
        return out

    applied.add_wrapper_with_key("diffusion_model", "test", record)
    text_frames = FRAMES if per_frame_text else 1
    sample(
        applied,
        frames=FRAMES,
        steps=1,
        positive=random_text(frames=text_frames),
        negative=random_text(seed=5, frames=text_frames),
    )
    return reference, seen[0]


def as_clips(x: torch.Tensor) -> torch.Tensor:
    return rearrange(x, "(b f) ... -> b f ...", f=FRAMES)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("per_frame_text", [False, True])
@pytest.mark.parametrize("kind", CONFIGS)
def test_prediction_is_that_of_a_sampling_step(kind, per_frame_text, recompute):
    model, config = tiny_sd15(), CONFIGS[kind]
    reference, (x, timesteps, context, sampled) = recorded_step(
        model, config, per_frame_text=per_frame_text
    )
    channels = None
    if config.input_conditioning is not None:
        channels = assemble_channels(
            config.input_conditioning,
            reference=reference.latent * 0.18215,
            level=7,
            num_frames=FRAMES,
        )
        channels = channels.expand(2, *channels.shape)
    tokens = reference.patch_tokens
    text = as_clips(context)
    network = TrainingUNet(model, training_parts(config), recompute=recompute)
    predicted = network(
        as_clips(x),
        timesteps[::FRAMES],
        text if per_frame_text else text[:, 0],
        channels,
        None if tokens is None else tokens.repeat(2, 1, 1),
    )
    assert predicted.requires_grad
    error = (predicted.flatten(0, 1) - sampled).norm() / sampled.norm()
    assert error.item() <= 1e-5


def random_inputs(config, *, num_clips: int):
    generator = torch.Generator().manual_seed(8)

    def noise(*shape):
        return torch.randn(num_clips, *shape, generator=generator)

    return (
        noise(FRAMES, 4, 8, 8),
        torch.arange(1, num_clips + 1) * 300,
        noise(77, CONTEXT_DIM),
        noise(FRAMES, 6, 8, 8),
        noise(16, config.content.encoder_dim),
    )


def gradients(network, inputs) -> dict[str, torch.Tensor]:
    network.parts.zero_grad()
    network(*inputs).square().mean().backward()
    return {
        name: parameter.grad.clone()
        for name, parameter in network.parts.named_parameters()
        if parameter.grad is not None
    }


def test_recomputation_gives_the_same_gradients():
    model, parts, inputs = tiny_sd15(), training_parts(FULL), random_inputs(FULL, num_clips=2)
    kept = gradients(TrainingUNet(model, parts), inputs)
    recomputed = gradients(TrainingUNet(model, parts, recompute=True), inputs)
    assert kept.keys() == recomputed.keys()
    # Text re-weighting works on the text before it comes here.
    assert {name.split(".")[0] for name in kept} == {"motion", "input_conditioning", "content"}
    for name, gradient in kept.items():
        torch.testing.assert_close(recomputed[name], gradient, rtol=1e-5, atol=1e-7)


def kept_bytes(network, inputs) -> int:
    sizes = {}

    def keep(tensor):
        sizes[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(*inputs)
    return sum(sizes.values())


def test_recomputation_keeps_less():
    model, parts, inputs = tiny_sd15(), training_parts(FULL), random_inputs(FULL, num_clips=2)
    kept = kept_bytes(TrainingUNet(model, parts), inputs)
    assert kept_bytes(TrainingUNet(model, parts, recompute=True), inputs) < kept / 4


def test_clips_of_a_batch_do_not_see_each_other():
    network = TrainingUNet(tiny_sd15(), training_parts(FULL))
    inputs = random_inputs(FULL, num_clips=3)
    with torch.no_grad():
        together = network(*inputs)
        alone = torch.cat([network(*(x[i : i + 1] for x in inputs)) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_the_model_given_is_left_as_it_was():
    model = tiny_sd15()
    unet = model.model.diffusion_model
    before = {name: (id(m), type(m)) for name, m in unet.named_modules()}
    network = TrainingUNet(model, training_parts(FULL), recompute=True)
    gradients(network, random_inputs(FULL, num_clips=1))
    assert {name: (id(m), type(m)) for name, m in unet.named_modules()} == before
    assert all(parameter.grad is None for parameter in unet.parameters())
    assert not any(parameter.requires_grad for parameter in network.unet.parameters())
    shared = dict(unet.named_parameters())
    for name, parameter in network.unet.named_parameters():
        assert parameter.data_ptr() == shared[name].data_ptr(), "fp32 weights are not copied"
    assert "livephoto" not in model.attachments


def test_base_in_bf16_predicts_as_autocast_would_and_takes_half_the_memory():
    model, parts, inputs = tiny_sd15(), training_parts(FULL), random_inputs(FULL, num_clips=2)
    outcomes, sizes = [], []
    for bf16 in (False, True):
        network = TrainingUNet(model, parts, bf16=bf16)
        parts.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            predicted = network(*inputs)
        predicted.square().mean().backward()
        found = [parameter.grad for parameter in parts.parameters() if parameter.grad is not None]
        outcomes.append([predicted, *found])
        sizes.append(sum(tensor.nbytes for tensor in network.unet.parameters()))
    assert len(outcomes[0]) > 100
    for wide, narrow in zip(*outcomes, strict=True):
        assert torch.equal(wide, narrow)
    assert sizes[1] < 0.51 * sizes[0]


def test_base_of_another_width_is_refused_by_name():
    config = CONFIGS["v1"]
    other = tiny_sd15(type(config.layout)(block_channels=(64, 64, 64, 64), context_dim=64))
    with pytest.raises(ValueError, match="64, 64, 64, 64"):
        TrainingUNet(other, training_parts(config))
