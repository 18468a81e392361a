"""Fitting and encoding the photo."""

from __future__ import annotations

import comfy.clip_vision
import pytest
import torch
from safetensors.torch import save_file
from skimage import data
from transformers import Dinov2Config, Dinov2Model

from livephoto_core.comfyui.content_encoder import as_content_encoder, load_content_encoder
from livephoto_core.comfyui.reference import encode_reference, fit_image
from tests.comfyui.tiny_models import ANIMATEDIFF_V1, FULL, tiny_livephoto


@pytest.fixture(scope="module")
def photo():
    """A real photo, wide: (1 300 512 3)."""
    return torch.from_numpy(data.astronaut()[:300]).float()[None] / 255


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(128, 128), (256, 64), (64, 192)])
def test_fitted_photo_has_the_size_asked_for(photo, fit, size):
    width, height = size
    fitted = fit_image(photo, width=width, height=height, fit=fit)
    assert fitted.shape == (1, height, width, 3)
    assert fitted.min() >= 0 and fitted.max() <= 1


def test_size_of_the_photo_leaves_it_almost_as_it_is(photo):
    same = fit_image(photo[:, :296], width=512, height=296, fit="crop")
    torch.testing.assert_close(same, photo[:, :296], rtol=0, atol=1 / 255)


def test_crop_keeps_the_middle(photo):
    cropped = fit_image(photo, width=296, height=296, fit="crop")
    middle = photo[:, 2:298, 108:404]
    assert (cropped - middle).abs().mean() < 0.05


def test_pad_keeps_everything_and_continues_the_edge(photo):
    padded = fit_image(photo, width=256, height=256, fit="pad")
    inner = fit_image(photo, width=256, height=152, fit="stretch")
    top = (256 - 150) // 2
    assert torch.equal(padded[:, 0], padded[:, top - 1])
    assert (padded[:, top : top + 150].mean() - inner.mean()).abs() < 0.01


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        ((300, 512), (392, 672)),
        ((512, 300), (672, 392)),
        ((640, 480), (592, 440)),
        ((100, 100), (512, 512)),
    ],
)
def test_proportions_are_the_photos_at_the_number_of_pixels_asked_for(photo, size, fitted):
    rows, columns = (
        torch.linspace(0, end - 1, count).long()
        for end, count in zip(photo.shape[1:3], size, strict=True)
    )
    image = photo[:, rows][:, :, columns]
    result = fit_image(image, width=512, height=512, fit="proportions")
    assert result.shape == (1, *fitted, 3)
    stretched = fit_image(image, width=fitted[1], height=fitted[0], fit="stretch")
    assert (result - stretched).abs().mean() < 0.03


def test_proportions_of_a_strip_are_as_narrow_as_a_video_can_be(photo):
    fitted = fit_image(photo[:, :2], width=512, height=512, fit="proportions")
    assert fitted.shape == (1, 64, 8192, 3)


def test_alpha_channel_is_dropped(photo):
    with_alpha = torch.cat([photo, torch.ones_like(photo[..., :1])], dim=-1)
    fitted = fit_image(with_alpha, width=64, height=64, fit="crop")
    assert torch.equal(fitted, fit_image(photo, width=64, height=64, fit="crop"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 100}, "width must be a multiple of 8"),
        ({"height": 32}, "height must be a multiple of 8 and at least 64"),
        ({"fit": "cover"}, "fit must be one of crop, pad, stretch, proportions, not 'cover'"),
    ],
)
def test_bad_arguments_are_named(photo, options, message):
    with pytest.raises(ValueError, match=message):
        fit_image(photo, **{"width": 64, "height": 64, "fit": "crop", **options})


def test_several_photos_are_refused(photo):
    with pytest.raises(ValueError, match="one picture, but 2 came"):
        fit_image(photo.expand(2, -1, -1, -1), width=64, height=64, fit="crop")


class EightfoldVAE:
    """As much of a VAE as encoding uses; the real one runs in the workflow tests."""

    latent_channels = 4

    def encode(self, image):
        small = torch.nn.functional.avg_pool2d(image.movedim(-1, 1), 8)
        return torch.cat([small, small[:, :1]], dim=1)


@pytest.fixture(scope="module")
def dinov2():
    config = Dinov2Config(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=2, image_size=224
    )
    return Dinov2Model(config).eval()


@pytest.fixture
def encoder(dinov2, tmp_path):
    save_file(dinov2.state_dict(), tmp_path / "dinov2.safetensors")
    return load_content_encoder(tmp_path / "dinov2.safetensors")


def test_reference_carries_latent_and_tokens(photo, encoder, dinov2):
    livephoto = tiny_livephoto(FULL)
    fitted = fit_image(photo, width=128, height=64, fit="crop")
    reference = encode_reference(livephoto, EightfoldVAE(), fitted, encoder)
    assert reference.latent.shape == (1, 4, 8, 16) and reference.size_px == (128, 64)
    assert reference.patch_tokens.shape == (1, 256, 48)
    assert torch.equal(reference.patch_tokens, encoder.encode(fitted))


def test_encoder_is_not_needed_by_files_without_content_tokens(photo):
    fitted = fit_image(photo, width=64, height=64, fit="crop")
    reference = encode_reference(tiny_livephoto(ANIMATEDIFF_V1), EightfoldVAE(), fitted)
    assert reference.patch_tokens is None


def test_encoder_that_is_not_needed_is_not_looked_at(photo):
    fitted = fit_image(photo, width=64, height=64, fit="crop")
    clip_vision = object()  # such as a CLIP left connected from another file
    tiny = tiny_livephoto(ANIMATEDIFF_V1)
    assert encode_reference(tiny, EightfoldVAE(), fitted, clip_vision).patch_tokens is None


def test_file_of_another_encoder_is_refused_by_name(tmp_path):
    path = tmp_path / "clip_vision.safetensors"
    weights = {
        "vision_model.embeddings.position_ids": torch.arange(5)[None],
        "vision_model.embeddings.class_embedding": torch.zeros(8),
    }
    save_file(weights, path)
    with pytest.raises(ValueError, match="must be a DINOv2, got a CLIP vision encoder"):
        load_content_encoder(path)


def test_file_with_weights_of_another_dtype_names_it(dinov2, tmp_path):
    path = tmp_path / "dinov2_fp8.safetensors"
    save_file({k: v.to(torch.float8_e4m3fn) for k, v in dinov2.state_dict().items()}, path)
    with pytest.raises(ValueError, match=r"dinov2_fp8.safetensors: .* is stored as F8_E4M3"):
        load_content_encoder(path)


class CoreDINOv2:
    """What CLIPVisionLoader's object has of interest, its weights.

    Core builds only Large and Giant, which are too large for this test.
    """

    def __init__(self, model):
        self.get_sd = model.state_dict


def test_encoder_of_cores_loader_gives_the_same_tokens(dinov2, encoder, photo):
    fitted = fit_image(photo, width=64, height=64, fit="crop")
    core = CoreDINOv2(dinov2)
    from_core = as_content_encoder(core)
    torch.testing.assert_close(from_core.encode(fitted), encoder.encode(fitted))
    assert as_content_encoder(core) is from_core
    assert as_content_encoder(encoder) is encoder


def test_clip_vision_in_place_of_dinov2_is_refused_by_name():
    config = {
        "model_type": "clip_vision_model",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
        "num_channels": 3,
        "projection_dim": 16,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
    }
    with pytest.raises(ValueError, match="CLIP"):
        as_content_encoder(comfy.clip_vision.ClipVisionModel(config))
