"""The loss: its draws, what enters the network, and how much the text counts."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from livephoto_core.comfyui.training_unet import TrainingUNet
from livephoto_core.diffusion.schedules import schedule_alphas_cumprod
from livephoto_core.models.config import (
    ContentConfig,
    InputConditioningConfig,
    LivePhotoConfig,
    MotionConfig,
    TextReweightingConfig,
)
from livephoto_core.models.input_conditioning import assemble_channels
from livephoto_core.models.livephoto import LivePhoto
from livephoto_core.training.loss import ClipLoss, Draws, NoiseOptions, Rollout, draw
from tests.models.random_weights import randomise
from tests.training.tiny_training import (
    CONTEXT_DIM,
    FRAMES,
    LAYOUT,
    SIZE,
    RandomClips,
    facts,
    tiny_base,
    tiny_dinov2,
)

SHAPE = (FRAMES, 4, SIZE, SIZE)
FULL = LivePhotoConfig(
    layout=LAYOUT,
    motion=MotionConfig(),
    input_conditioning=InputConditioningConfig(),
    content=ContentConfig(encoder="tiny", encoder_dim=32, token_dim=CONTEXT_DIM),
    text_reweighting=TextReweightingConfig(num_frames=FRAMES),
)


def random_parts(config=FULL) -> LivePhoto:
    parts = randomise(LivePhoto(config))
    parts.motion.make_positions()
    return parts


def draws_of(options=NoiseOptions(), *, num=4000, shape=(1,)) -> Draws:  # noqa: B008
    return draw(options, seed=5, numbers=range(num), shape=shape)


def test_draws_of_a_clip_do_not_depend_on_its_batch():
    together = draw(NoiseOptions(), seed=5, numbers=range(6), shape=SHAPE)
    for first in (0, 3):
        part = draw(NoiseOptions(), seed=5, numbers=range(first, first + 3), shape=SHAPE)
        for name in ("noise", "timesteps", "is_dropped"):
            assert torch.equal(getattr(part, name), getattr(together, name)[first : first + 3])


@pytest.mark.parametrize("change", [{"seed": 6}, {"numbers": range(6, 12)}])
def test_draws_differ_between_seeds_and_clips(change):
    given = {"seed": 5, "numbers": range(6), "shape": SHAPE}
    first, second = (draw(NoiseOptions(), **arguments) for arguments in (given, given | change))
    assert not torch.equal(first.noise, second.noise)
    assert not torch.equal(first.timesteps, second.timesteps)


def test_noise_is_normal():
    noise = draws_of(num=4000, shape=(3,)).noise.flatten()
    assert stats.kstest(noise.numpy(), "norm").pvalue > 0.01


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_timesteps_follow_the_power_law_in_their_range(power):
    options = NoiseOptions(timestep_low=300, timestep_high=900, timestep_power=power)
    timesteps = draws_of(options).timesteps
    assert timesteps.dtype == torch.int64
    assert timesteps.min() >= 300 and timesteps.max() <= 899
    # Half a timestep up: the draws are rounded down to integers.
    heights = (timesteps.double().numpy() + 0.5 - 300) / 600
    assert stats.kstest(heights**power, "uniform").pvalue > 0.01


def test_single_timestep_is_always_drawn():
    options = NoiseOptions(timestep_low=999)
    assert (draws_of(options, num=50).timesteps == 999).all()


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_text_is_dropped_as_often_as_asked(share):
    dropped = draws_of(NoiseOptions(text_drop=share)).is_dropped.double().mean().item()
    assert abs(dropped - share) <= 4 * (share * (1 - share) / 4000) ** 0.5


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"timestep_low": -1}, "noise.timestep_low"),
        ({"timestep_low": 500, "timestep_high": 500}, "noise.timestep_high"),
        ({"timestep_high": 1001}, "noise.timestep_high"),
        ({"timestep_power": 0.0}, "noise.timestep_power"),
        ({"text_drop": 1.5}, "noise.text_drop"),
        ({"weight_exponent": 1.01}, "noise.weight_exponent"),
        ({"text_drop": float("nan")}, "noise.text_drop"),
        ({"rollout_share": -0.1}, "noise.rollout_share"),
    ],
)
def test_option_out_of_range_is_refused_by_name(changes, name):
    with pytest.raises(ValueError, match=name):
        NoiseOptions(**changes).check()


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_rollouts_start_above_the_timestep_and_are_as_many_as_asked(share):
    draws = draws_of(NoiseOptions(rollout_share=share))
    rollout, plain = draws.rollout, draws_of()
    assert plain.rollout is None
    for name in ("noise", "timesteps", "is_dropped"):
        assert torch.equal(getattr(draws, name), getattr(plain, name))
    below = draws.timesteps[rollout.clips]
    assert below.min() >= 150 and abs(len(below) / 4000 - 0.85 * share) < 0.03
    gaps = rollout.timesteps - below
    assert rollout.timesteps.max() == 999 and gaps.max() <= 400
    assert gaps[rollout.timesteps < 999].min() >= 40
    assert stats.kstest(rollout.noise.flatten().numpy(), "norm").pvalue > 0.01
    part = draw(NoiseOptions(rollout_share=share), seed=5, numbers=range(2000, 4000), shape=(1,))
    is_later = rollout.clips >= 2000
    assert torch.equal(part.rollout.clips + 2000, rollout.clips[is_later])
    assert torch.equal(part.rollout.noise, rollout.noise[is_later])


class PerfectUNet(torch.nn.Module):
    """Knows the clips, and predicts them with an error of its own."""

    def __init__(self, alphas, latents, error):
        super().__init__()
        self.parts = random_parts()
        self.alphas, self.latents, self.error, self.seen = alphas, latents, error, []

    def forward(self, noisy_latents, timesteps, *_):
        self.seen.append((noisy_latents, timesteps))
        alphas = self.alphas[timesteps].view(-1, 1, 1, 1, 1).float()
        latents = self.latents[-len(timesteps) :] + self.error
        return (noisy_latents - alphas.sqrt() * latents) / (1 - alphas).sqrt()


def test_network_that_finds_the_clip_behind_its_own_prediction_has_no_loss():
    """The last two of three clips are noised from a prediction that errs by a half."""
    clips, alphas = RandomClips(3).load(range(3)), schedule_alphas_cumprod("scaled_linear")
    noise = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(0))
    rollout = Rollout(torch.tensor([1, 2]), noise[3:], torch.tensor([700, 999]))
    draws = Draws(noise[:3], torch.tensor([500, 500, 800]), torch.zeros(3, dtype=bool), rollout)
    unet = PerfectUNet(alphas, clips.latents, error=0.5)
    loss = ClipLoss(unet, encoder=tiny_dinov2()[1], facts=facts())
    losses = loss(clips, draws)
    # An error e of the clip is one of √(ᾱ/(1−ᾱ))·e of the noise.
    expected = 0.25 * alphas[draws.timesteps] / (1 - alphas[draws.timesteps])
    torch.testing.assert_close(losses, expected.float(), rtol=1e-3, atol=1e-5)
    (_, first), (noisy, second) = unet.seen
    assert first.tolist() == [700, 999] and second.tolist() == [500, 500, 800]
    start = clips.latents + torch.tensor([0.0, 0.5, 0.5]).view(-1, 1, 1, 1, 1)
    kept = alphas[draws.timesteps].view(-1, 1, 1, 1, 1).float()
    torch.testing.assert_close(
        noisy, kept.sqrt() * start + (1 - kept).sqrt() * draws.noise, rtol=1e-3, atol=1e-3
    )


class RecordingUNet(torch.nn.Module):
    """Stands where the UNet is, keeps what it is given, and predicts zeros."""

    def __init__(self, config):
        super().__init__()
        self.parts = random_parts(config)

    def forward(self, noisy_latents, timesteps, text, channels=None, patch_tokens=None):
        self.given = noisy_latents, timesteps, text, channels, patch_tokens
        return torch.zeros_like(noisy_latents)


def recorded(config=FULL, *, dropped=(False, False, False), weight_exponent=0.0):
    unet = RecordingUNet(config)
    loss = ClipLoss(unet, encoder=tiny_dinov2()[1], facts=facts(), weight_exponent=weight_exponent)
    clips = RandomClips(3).load(range(3))
    generator = torch.Generator().manual_seed(0)
    draws = Draws(
        noise=torch.randn(3, *SHAPE, generator=generator),
        timesteps=torch.tensor([0, 500, 999]),
        is_dropped=torch.tensor(dropped),
    )
    return clips, draws, loss(clips, draws), unet


def test_loss_of_a_zero_prediction_is_the_power_of_the_noise():
    _, draws, losses, _ = recorded()
    torch.testing.assert_close(losses, draws.noise.square().mean(dim=(1, 2, 3, 4)))


def test_loss_of_exponent_one_is_that_of_the_velocity():
    from diffusers import DDPMScheduler

    clips, draws, losses, unet = recorded(weight_exponent=1.0)
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    velocity = scheduler.get_velocity(clips.latents, draws.noise, draws.timesteps)
    alphas = scheduler.alphas_cumprod[draws.timesteps].view(-1, 1, 1, 1, 1)
    # Of a zero noise: x̂ = x_t / √ᾱ, and v̂ = √ᾱ·0 − √(1−ᾱ)·x̂.
    predicted = -((1 - alphas) / alphas).sqrt() * unet.given[0]
    expected = (predicted - velocity).square().mean(dim=(1, 2, 3, 4))
    torch.testing.assert_close(losses, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("schedule", ["scaled_linear", "linear"])
def test_noise_is_added_as_diffusers_adds_it(schedule):
    from dataclasses import replace

    from diffusers import DDPMScheduler

    clips, draws, _, unet = recorded(replace(FULL, noise_schedule=schedule))
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule=schedule)
    expected = scheduler.add_noise(clips.latents, draws.noise, draws.timesteps)
    torch.testing.assert_close(unet.given[0], expected, rtol=1e-4, atol=1e-5)


def test_channels_are_those_of_sampling_at_the_clips_level():
    clips, _, _, unet = recorded()
    # SSIM 1/6, 1/2 and 5/6 between edges 0.9, 0.8 … 0.1.
    for index, level in enumerate((9, 5, 2)):
        expected = assemble_channels(
            InputConditioningConfig(),
            reference=clips.latents[index, :1],
            level=level,
            num_frames=FRAMES,
        )
        assert torch.equal(unet.given[3][index], expected)


def test_dropped_text_is_the_empty_text_reweighted_like_any_other():
    _, _, _, kept = recorded()
    clips, _, _, unet = recorded(dropped=(True, False, False))
    text = unet.given[2]
    assert text.shape == (3, FRAMES, 77, CONTEXT_DIM)
    # The empty text of these clips is zero, and zero stays zero under any weight.
    assert (text[0] == 0).all()
    assert torch.equal(text[1:], kept.given[2][1:])
    weights = unet.parts.text_reweighting(clips.text, FRAMES)
    torch.testing.assert_close(text[1], weights[1].unsqueeze(-1) * clips.text[1])


def test_content_tokens_come_from_the_first_frames():
    from livephoto_core.models.content_encoder import encode_patch_tokens

    clips, _, _, unet = recorded()
    expected = encode_patch_tokens(tiny_dinov2()[1], clips.references)
    torch.testing.assert_close(unet.given[4], expected)


def test_text_sensitivity_is_zero_only_where_the_text_does_not_matter():
    parts = random_parts()
    loss = ClipLoss(TrainingUNet(tiny_base(), parts), encoder=tiny_dinov2()[1], facts=facts())
    draws = draw(NoiseOptions(), seed=0, numbers=range(2), shape=SHAPE)
    clips = RandomClips().load(range(2))
    measured = loss.text_sensitivity(clips, draws)
    with torch.no_grad():
        predictions = [loss.predict(clips, draws, clips.text[order]) for order in ([0, 1], [1, 0])]
    change = (predictions[1] - predictions[0]).square().mean().sqrt()
    assert measured == pytest.approx((change / predictions[0].square().mean().sqrt()).item())
    assert measured > 1e-3
    for name, parameter in loss.unet.unet.named_parameters():
        if "attn2.to_out" in name:
            parameter.data.zero_()
    assert loss.text_sensitivity(clips, draws) == 0.0


def test_text_sensitivity_of_a_single_clip_compares_with_the_empty_text():
    parts = random_parts()
    loss = ClipLoss(TrainingUNet(tiny_base(), parts), encoder=tiny_dinov2()[1], facts=facts())
    draws = draw(NoiseOptions(), seed=0, numbers=range(1), shape=SHAPE)
    assert loss.text_sensitivity(RandomClips().load([0]), draws) > 1e-3
