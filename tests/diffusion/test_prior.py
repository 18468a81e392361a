import math

import pytest
import torch

from livephoto_core.diffusion.prior import mix_prior, prior_coefficients


@pytest.fixture
def inverted():
    return torch.randn(1, 4, 8, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def noise():
    return torch.randn(16, 4, 8, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("num_frames", [2, 16, 48])
def test_coefficients_fall_linearly_between_the_papers_values(num_frames):
    expected = [0.033 + (0.016 - 0.033) * n / (num_frames - 1) for n in range(num_frames)]

    torch.testing.assert_close(prior_coefficients(num_frames), torch.tensor(expected))


def test_single_frame_takes_the_first_coefficient():
    assert prior_coefficients(1, 0.5, 0.25).tolist() == [0.5]


def test_mix_equals_equation_3_frame_by_frame(inverted, noise):
    mixed = mix_prior(inverted, noise)

    for n in range(16):
        alpha = 0.033 + (0.016 - 0.033) * n / 15
        torch.testing.assert_close(mixed[n], alpha * inverted[0] + (1 - alpha) * noise[n])


def test_ends_of_the_range_give_the_parts_bit_for_bit(inverted, noise):
    assert torch.equal(mix_prior(inverted, noise, alpha_first=0, alpha_last=0), noise)
    assert torch.equal(
        mix_prior(inverted, noise, alpha_first=1, alpha_last=1), inverted.expand_as(noise)
    )


def test_mix_keeps_the_dtype_of_the_noise(inverted, noise):
    mixed = mix_prior(inverted, noise.half())

    assert mixed.dtype == torch.float16
    torch.testing.assert_close(mixed.float(), mix_prior(inverted, noise), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, math.nan])
@pytest.mark.parametrize("name", ["alpha_first", "alpha_last"])
def test_share_outside_its_range_is_refused_by_name(inverted, noise, name, alpha):
    with pytest.raises(ValueError, match=f"{name} must be from 0"):
        mix_prior(inverted, noise, **{name: alpha})


def test_reference_of_another_size_is_refused(inverted, noise):
    with pytest.raises(ValueError, match=r"noise must be .*\(4, 8, 6\), got \(16, 4, 8, 8\)"):
        mix_prior(inverted, torch.zeros(16, 4, 8, 8))
    with pytest.raises(ValueError, match="inverted must be one latent"):
        mix_prior(noise, noise)


def test_nan_in_the_inversion_is_refused(inverted, noise):
    with pytest.raises(ValueError, match="inverted holds NaN"):
        mix_prior(inverted * math.nan, noise)


def test_no_frames_are_refused():
    with pytest.raises(ValueError, match="num_frames must be at least 1, got 0"):
        prior_coefficients(0)
