"""The content encoder (LivePhoto, section 3.3): patch tokens of a frozen DINOv2.

transformers' own model class, built from the shapes of a local state dict. Weight files come with
three sets of names: transformers' files, the modules of transformers 5 (which split and renamed
them), and Meta's original release. All are brought to the first, then to the installed class's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from transformers import Dinov2Config, Dinov2Model

StateDict = Mapping[str, Tensor]

TOKENS_PER_SIDE = 16
"""Our choice: 224 px for DINOv2's 14 px patches, so 16 × 16 tokens, whatever the patch size."""

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)

HEAD_DIM = 64
"""Width of an attention head in every DINOv2; shapes do not tell it."""

_NAMES = {
    (384, 12): "dinov2-small",
    (768, 12): "dinov2-base",
    (1024, 24): "dinov2-large",
    (1536, 40): "dinov2-giant",
}
_WANTED = "Load a DINOv2 without registers (facebook/dinov2-small, -base, -large or -giant)."

_TO_FILE_NAMES = (
    # Meta's release
    (r"^(cls_token|mask_token)$", r"embeddings.\1"),
    (r"^pos_embed$", "embeddings.position_embeddings"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^norm\.", "layernorm."),
    (r"^blocks\.", "encoder.layer."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.ls([12])\.gamma$", r".layer_scale\1.lambda1"),
    (r"\.mlp\.w12\.", ".mlp.weights_in."),
    (r"\.mlp\.w3\.", ".mlp.weights_out."),
    # modules of transformers 5
    (r"\.attention\.q_proj\.", ".attention.attention.query."),
    (r"\.attention\.k_proj\.", ".attention.attention.key."),
    (r"\.attention\.v_proj\.", ".attention.attention.value."),
    (r"\.attention\.o_proj\.", ".attention.output.dense."),
    (r"\.mlp\.down_proj\.", ".mlp.weights_out."),
)
_TO_MODULE_NAMES = (
    (r"\.attention\.attention\.(q|k|v)(?:uery|ey|alue)\.", r".attention.\1_proj."),
    (r"\.attention\.output\.dense\.", ".attention.o_proj."),
    (r"\.mlp\.weights_out\.", ".mlp.down_proj."),
)


def build_dinov2(state_dict: StateDict) -> tuple[Dinov2Model, str]:
    """A frozen DINOv2 in evaluation mode, with the given weights, and its name.

    Widths, layers, patch and image size come from the weights' shapes; heads are 64 wide (one head
    in models narrower than that). The model is built without memory of its own and takes the
    tensors over, without a copy where names and dtypes allow it.

    Args:
        state_dict: In transformers' names, with or without "dinov2.", or in Meta's original ones.
    Returns:
        The model, in the dtype of its patch projection, and "dinov2-small", "-base", "-large",
        "-giant", or "dinov2-<width>x<layers>" for another size.
    Raises:
        ValueError: If the weights are another encoder's, incomplete, or of inconsistent shapes.
    """
    weights = _file_named(state_dict)
    from transformers import Dinov2Model

    config = _config_from_shapes(weights)
    with torch.device("meta"):
        model = Dinov2Model(config)
    weights = _module_named(weights, model)
    _check_weights(weights, model)
    dtype = weights["embeddings.patch_embeddings.projection.weight"].dtype
    model.load_state_dict({key: value.to(dtype) for key, value in weights.items()}, assign=True)
    model.eval().requires_grad_(False)
    return model, dinov2_name(config.hidden_size, config.num_hidden_layers)


def load_dinov2_weights(model: Dinov2Model, state_dict: StateDict) -> None:
    """Sets all weights of a model, under whichever names they come; see `build_dinov2`."""
    model.load_state_dict(_module_named(_file_named(state_dict), model))


def file_name(key: str) -> str:
    """What transformers' files call a weight, from any release's name of it.

    Not for Meta's joined query, key and value.
    """
    return _rename(key, _TO_FILE_NAMES)


def dinov2_name(hidden_size: int, num_layers: int) -> str:
    """The name by which a checkpoint remembers its encoder, such as "dinov2-large"."""
    return _NAMES.get((hidden_size, num_layers), f"dinov2-{hidden_size}x{num_layers}")


@torch.no_grad()
def encode_patch_tokens(model: Dinov2Model, images: Tensor) -> Tensor:
    """DINOv2's normalised patch tokens of whole images, without CLS.

    Our choice: the whole image is resized to a square of 16 × 16 patches (224 px) without cropping,
    so that the tokens speak of all that the reference latent shows; bicubic with antialiasing.
    transformers interpolates the position embedding to that size.

    Args:
        model: From `build_dinov2`.
        images: (b h w 3), 0 to 1.
    Returns:
        (b 256 d), in row order, dtype and device of the model.
    Raises:
        ValueError: If the images have another shape or hold NaN or infinite values.
    """
    if images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape:
        raise ValueError(f"images must be (b h w 3), got {tuple(images.shape)}.")
    if not images.isfinite().all():
        raise ValueError("images must hold values from 0 to 1, got NaN or infinite ones.")
    projection = model.embeddings.patch_embeddings.projection.weight
    size_px = TOKENS_PER_SIDE * projection.shape[-1]
    pixels = dinov2_pixels(images.to(projection.device), size_px).to(projection.dtype)
    return model(pixels).last_hidden_state[:, 1:]


def dinov2_pixels(images: Tensor, size_px: int) -> Tensor:
    """Images resized to a square and normalised by ImageNet's mean and deviation.

    Args:
        images: (b h w 3), 0 to 1.
        size_px: Side of the square.
    Returns:
        (b 3 size_px size_px), float32.
    """
    pixels = rearrange(images.to(torch.float32), "b h w c -> b c h w")
    pixels = F.interpolate(pixels, (size_px, size_px), mode="bicubic", antialias=True)
    mean = pixels.new_tensor(IMAGE_MEAN).view(3, 1, 1)
    std = pixels.new_tensor(IMAGE_STD).view(3, 1, 1)
    # Bicubic overshoots at edges; an 8-bit resize, as in DINOv2's own pipeline, would cut that off.
    return (pixels.clamp(0, 1) - mean) / std


def _file_named(state_dict: StateDict) -> dict[str, Tensor]:
    weights = {name: state_dict[key] for name, key in check_names(state_dict).items()}
    weights = {_rename(key, _TO_FILE_NAMES): value for key, value in weights.items()}
    # Only pre-training masks patches.
    weights.pop("embeddings.mask_token", None)
    weights = dict(pair for item in weights.items() for pair in _split_qkv(*item))
    return _join_gate(weights)


def check_names(keys: Iterable[str]) -> dict[str, str]:
    """Names of a DINOv2's weights without "dinov2.", and the keys they go by.

    Raises:
        ValueError: If the weights are another encoder's.
    """
    keys = list(keys)
    has_prefix = any(key.startswith("dinov2.") for key in keys)
    weights = {
        key.removeprefix("dinov2."): key
        for key in keys
        if key.startswith("dinov2.") or not has_prefix
    }
    has_registers = {"embeddings.register_tokens", "register_tokens"} & weights.keys()
    has_positions = {"embeddings.position_embeddings", "pos_embed"} & weights.keys()
    if has_registers and has_positions:
        found = "a DINOv2 with registers"
    elif has_registers or "storage_tokens" in weights:
        found = "a DINOv3"
    elif any(key.startswith(("visual.", "vision_model.embeddings.class_emb")) for key in weights):
        found = "a CLIP vision encoder"
    elif any(key.startswith("vision_model.") for key in weights):
        found = "a SigLIP vision encoder"
    elif not has_positions:
        found = f"no image encoder known here (first key: {next(iter(weights), 'none')!r})"
    else:
        return weights
    raise ValueError(f"The content encoder's weights must be a DINOv2, got {found}. {_WANTED}")


def _rename(key: str, patterns: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in patterns:
        key = re.sub(pattern, replacement, key)
    return key


def _split_qkv(key: str, value: Tensor) -> Iterator[tuple[str, Tensor]]:
    if ".attn.qkv." not in key:
        yield key, value
        return
    for name, part in zip(("query", "key", "value"), value.chunk(3), strict=True):
        yield key.replace(".attn.qkv.", f".attention.attention.{name}."), part


def _join_gate(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    for key in [key for key in weights if ".mlp.gate_proj." in key]:
        up_key = key.replace("gate_proj", "up_proj")
        if up_key in weights:
            joined = torch.cat([weights.pop(key), weights.pop(up_key)])
            weights[key.replace("gate_proj", "weights_in")] = joined
    return weights


def _module_named(weights: dict[str, Tensor], model: Dinov2Model) -> dict[str, Tensor]:
    if "encoder.layer.0.attention.q_proj.weight" not in model.state_dict():
        return weights
    renamed = {}
    for key, value in weights.items():
        key = _rename(key, _TO_MODULE_NAMES)
        if ".mlp.weights_in." in key:
            gate, up = value.chunk(2)
            renamed[key.replace("weights_in", "gate_proj")] = gate
            renamed[key.replace("weights_in", "up_proj")] = up
        else:
            renamed[key] = value
    return renamed


def _config_from_shapes(weights: dict[str, Tensor]) -> Dinov2Config:
    from transformers import Dinov2Config

    hidden_size, num_channels, _, patch_size = _shape(
        weights, "embeddings.patch_embeddings.projection.weight", 4
    )
    num_positions = _shape(weights, "embeddings.position_embeddings", 3)[1] - 1
    layers = {match[1] for key in weights if (match := re.match(r"encoder\.layer\.(\d+)\.", key))}
    is_swiglu = "encoder.layer.0.mlp.weights_in.weight" in weights
    # The gated feed-forward is built two thirds as wide, which rounding hides; all have ratio 4.
    expanded = 4 * hidden_size
    if not is_swiglu:
        expanded = _shape(weights, "encoder.layer.0.mlp.fc1.weight", 2)[0]
    num_heads = max(1, hidden_size // HEAD_DIM)
    grid = round(num_positions**0.5)
    if hidden_size % num_heads or grid == 0 or grid**2 != num_positions:
        raise ValueError(
            f"The DINOv2's width must be a multiple of {num_heads} heads and its positions "
            f"a square, got width {hidden_size} and {num_positions} positions. {_WANTED}"
        )
    return Dinov2Config(
        hidden_size=hidden_size,
        num_hidden_layers=len(layers),
        num_attention_heads=num_heads,
        mlp_ratio=expanded // hidden_size,
        image_size=grid * patch_size,
        patch_size=patch_size,
        num_channels=num_channels,
        qkv_bias="encoder.layer.0.attention.attention.query.bias" in weights,
        use_swiglu_ffn=is_swiglu,
        use_mask_token=False,
    )


def _shape(weights: StateDict, key: str, num_axes: int) -> tuple[int, ...]:
    shape = tuple(weights[key].shape) if key in weights else None
    if shape is None or len(shape) != num_axes or 0 in shape:
        found = "nothing" if shape is None else f"shape {shape}"
        raise ValueError(
            f"The DINOv2's {key} must be there with {num_axes} axes, got {found}. {_WANTED}"
        )
    return shape


def _check_weights(weights: dict[str, Tensor], model: Dinov2Model) -> None:
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in weights.items()}
    wrong = sorted(key for key in expected | found if expected.get(key) != found.get(key))
    if wrong:
        details = "; ".join(
            f"{key}: expected {expected.get(key, 'nothing')}, got {found.get(key, 'nothing')}"
            for key in wrong[:3]
        )
        raise ValueError(f"{len(wrong)} weights do not fit a DINOv2 ({details}). {_WANTED}")
