"""Devices that no test machine has: what a GPU would refuse, and what ComfyUI is told for one.

On a fake GPU tensors have shapes, dtypes and devices, but no values. An operation that mixes
devices raises, and so does one that needs values.
"""

from __future__ import annotations

import gc
from contextlib import nullcontext
from types import SimpleNamespace

import comfy.model_management
import comfy.model_patcher
import pytest
import torch
from comfy.ldm.modules.attention import attention_basic
from comfy.patcher_extension import WrappersMP
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.nn import functional as F

from livephoto_core.comfyui.apply import CHANNELS, RUN, apply_livephoto
from livephoto_core.comfyui.content_encoder import wrap_dinov2
from livephoto_core.comfyui.demo_model import load_demo_model
from livephoto_core.comfyui.inversion import PriorNoise, invert_reference
from livephoto_core.comfyui.livephoto_model import SD15_UNET_PARAMETERS, livephoto_from_weights
from livephoto_core.comfyui.run import Run
from livephoto_core.comfyui.sampling import sample_livephoto
from livephoto_core.models.config import SD15, LivePhotoConfig, MotionConfig
from livephoto_core.models.livephoto import LivePhoto
from livephoto_core.shapes.base_model import BASE_MODEL_PATH
from tests.comfyui.tiny_models import (
    CONFIGS,
    CONTEXT_DIM,
    FULL,
    random_reference,
    random_text,
    tiny_livephoto,
    tiny_sd15,
)

FRAMES = 4
GIB = 2**30


def matmul_attention(query, key, value):
    """Scaled-dot-product attention has kernels per device, which a fake GPU has not."""
    return (query * query.shape[-1] ** -0.5 @ key.mT).softmax(dim=-1) @ value


def put(module, *, device, dtype):
    """Moves weights and buffers; on a fake GPU they are new ones, without values."""
    for part in module.modules():
        for tensors in (part._parameters, part._buffers):
            for name, tensor in tensors.items():
                if tensor is None:
                    continue
                moved = torch.zeros(tensor.shape, device=device, dtype=dtype)
                is_weight = tensors is part._parameters
                tensors[name] = torch.nn.Parameter(moved, False) if is_weight else moved


def call_unet(patched, livephoto, reference, *, device, dtype):
    """One call of the UNet as a sampling makes it, for two rows of guidance."""
    config = livephoto.config

    def zeros(*shape, dtype=dtype):
        return torch.zeros(*shape, dtype=dtype, device=device)

    tokens = reference.patch_tokens
    run = Run(
        parts=livephoto.parts,
        patch_tokens=None if tokens is None else torch.zeros(tokens.shape),
        num_frames=FRAMES,
    )
    options = {
        **patched.model_options["transformer_options"],
        "wrappers": {WrappersMP.DIFFUSION_MODEL: patched.wrappers[WrappersMP.DIFFUSION_MODEL]},
        "optimized_attention_override": lambda _, *args, **kwargs: attention_basic(*args, **kwargs),
        RUN: run,
    }
    channels = {}
    if config.input_conditioning is not None:
        width = livephoto.parts.input_conditioning.conv.in_channels
        channels[CHANNELS] = zeros(2 * FRAMES, width, 8, 8)
    out = patched.model.diffusion_model(
        zeros(2 * FRAMES, 4, 8, 8),
        zeros(2 * FRAMES, dtype=torch.float32),
        context=zeros(2 * FRAMES, 77, CONTEXT_DIM),
        transformer_options=options,
        **channels,
    )
    run.check_calls()
    return out


@pytest.mark.parametrize(
    ("devices", "dtypes"),
    [
        (("cpu", "cpu"), (torch.float16, torch.float16)),
        (("cpu", "cpu"), (torch.float16, torch.float32)),
        (("cpu", "cpu"), (torch.bfloat16, torch.float16)),
        (("cuda", "cuda"), (torch.float16, torch.float16)),
        (("cuda", "cpu"), (torch.float16, torch.float16)),
    ],
    ids=["fp16", "parts of fp32", "bf16 with parts of fp16", "fake GPU", "parts offloaded"],
)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_unet_mixes_neither_dtypes_nor_devices(config, devices, dtypes, monkeypatch):
    """A CPU refuses to mix dtypes, a fake GPU to mix devices."""
    monkeypatch.setattr(F, "scaled_dot_product_attention", matmul_attention)
    livephoto, reference = tiny_livephoto(config), random_reference(config)
    patched = apply_livephoto(tiny_sd15(), livephoto, reference, 5)
    patched.patch_model(load_weights=False)
    [device, parts_device], [dtype, parts_dtype] = devices, dtypes
    with torch.inference_mode() if device == "cpu" else FakeTensorMode():
        put(patched.model.diffusion_model, device=device, dtype=dtype)
        put(livephoto.parts, device=parts_device, dtype=parts_dtype)
        out = call_unet(patched, livephoto, reference, device=device, dtype=dtype)
    assert (out.device.type, out.dtype, out.shape) == (device, dtype, (2 * FRAMES, 4, 8, 8))


def test_fake_gpu_refuses_to_mix_devices_and_to_give_values():
    """What the test before relies on."""
    with FakeTensorMode():
        on_gpu = torch.ones(2, 2, device="cuda")
        with pytest.raises(RuntimeError, match="device"):
            on_gpu + torch.ones(2, 2)
        with pytest.raises(DataDependentOutputException):
            on_gpu.sum().item()
    with pytest.raises(RuntimeError, match="dtype"):
        torch.ones(2, 2) @ torch.ones(2, 2).half()


@pytest.fixture
def pretend_gpu(monkeypatch):
    """Lets ComfyUI decide as on an NVIDIA card; nothing is moved there."""

    def pretend(name, *, capability, vram_gib):
        management = comfy.model_management
        properties = SimpleNamespace(name=name, major=capability[0], minor=capability[1])
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: properties)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: capability >= (8, 0))
        monkeypatch.setattr(management, "cpu_state", management.CPUState.GPU)
        monkeypatch.setattr(management, "get_torch_device", lambda: torch.device("cuda", 0))
        monkeypatch.setattr(management, "unet_offload_device", lambda: torch.device("cpu"))
        monkeypatch.setattr(management, "get_total_memory", lambda *_, **__: vram_gib * GIB)

    return pretend


def parts_dtype(config, stored):
    with torch.device("meta"):
        weights = LivePhoto(config).to(stored).state_dict()
    return next(livephoto_from_weights("x", config, weights).parts.parameters()).dtype


ANIMATEDIFF = LivePhotoConfig(layout=SD15, motion=MotionConfig(kind="AnimateDiff v2"))


@pytest.mark.parametrize(
    ("card", "capability", "vram_gib", "expected"),
    [
        ("NVIDIA GeForce RTX 3060", (8, 6), 12, torch.float16),
        # A series that computes in fp32: there is no room for base and parts in it, though there
        # would be for the parts alone.
        ("NVIDIA GeForce GTX 1650", (7, 5), 4, torch.float16),
        ("NVIDIA GeForce GTX 1660", (7, 5), 6, torch.float16),
        # As if of the same series with room.
        ("NVIDIA GeForce GTX 1660", (7, 5), 12, torch.float32),
    ],
)
def test_parts_are_stored_as_comfyui_stores_a_model_of_their_and_the_bases_size(
    card, capability, vram_gib, expected, pretend_gpu
):
    pretend_gpu(card, capability=capability, vram_gib=vram_gib)
    assert parts_dtype(ANIMATEDIFF, torch.float32) == expected


@pytest.mark.parametrize("option", ["fp8_e4m3fn_unet", "fp8_e5m2_unet"])
def test_fp8_for_the_base_leaves_the_parts_in_the_dtype_that_it_computes_in(
    option, pretend_gpu, monkeypatch
):
    monkeypatch.setattr(comfy.model_management.args, option, True)
    assert parts_dtype(ANIMATEDIFF, torch.float16) == torch.float32  # on a CPU
    demo, *_ = load_demo_model(BASE_MODEL_PATH)
    assert {weight.dtype for weight in demo.model.parameters()} == {torch.float32}
    pretend_gpu("NVIDIA GeForce RTX 3060", capability=(8, 6), vram_gib=4)
    assert parts_dtype(ANIMATEDIFF, torch.float32) == torch.float16


def test_number_of_parameters_of_the_base(comfy_in_process):
    config = {**comfy_in_process.supported_models.SD15.unet_config, "in_channels": 4}
    model = comfy_in_process.supported_models.SD15(
        {
            **config,
            "image_size": 32,
            "out_channels": 4,
            "num_res_blocks": [2, 2, 2, 2],
            "channel_mult": (1, 2, 4, 4),
            "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
            "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
            "transformer_depth_middle": 1,
            "use_spatial_transformer": True,
            "legacy": False,
            "num_heads": 8,
            "num_head_channels": -1,
        }
    )
    unet = model.get_model({}, device="meta").diffusion_model
    assert sum(weight.numel() for weight in unet.parameters()) == SD15_UNET_PARAMETERS


@pytest.mark.parametrize("job", ["sampling", "sampling that fails", "inversion"])
def test_weights_in_pinned_memory_stay_pinned_after_a_run(job, monkeypatch):
    unpinned = []
    monkeypatch.setattr(comfy.model_management, "unpin_memory", unpinned.append)
    model, reference = tiny_sd15(), random_reference(FULL)
    # Once loaded in full, so that loading itself has nothing to unpin.
    comfy.model_management.load_models_gpu([model], force_full_load=True)
    model.pinned.add("diffusion_model.out.2.weight")
    if job == "inversion":
        invert_reference(model, reference, num_steps=1)
    else:
        fails = job == "sampling that fails"
        too_large = PriorNoise(torch.zeros(1, 4, 9, 9), alpha_first=0, alpha_last=0, seed=0)
        with pytest.raises(ValueError, match="noise:") if fails else nullcontext():
            sample_livephoto(
                model,
                tiny_livephoto(FULL),
                reference,
                motion_intensity=5,
                num_frames=FRAMES,
                positive=random_text(),
                negative=random_text(seed=5),
                seed=0,
                num_steps=1,
                cfg=2.0,
                sampler_name="euler",
                scheduler="normal",
                noise=too_large if fails else None,
            )
    gc.collect()
    assert model.pinned == {"diffusion_model.out.2.weight"}
    assert unpinned == []
    del model
    comfy.model_management.unload_all_models()
    gc.collect()
    assert len(unpinned) == 1


def test_image_encoder_too_large_for_the_gpu_runs_on_the_cpu(monkeypatch):
    management = comfy.model_management
    monkeypatch.setattr(management, "text_encoder_device", lambda: torch.device("cuda", 0))
    encoder = torch.nn.Linear(1024, 1024)
    encoder.config = SimpleNamespace(hidden_size=1024)
    for total, device in [(5 * 2**20, "cuda"), (4 * 2**20, "cpu")]:
        monkeypatch.setattr(management, "get_total_memory", lambda _, total=total: total)
        assert wrap_dinov2(encoder, "dinov2").patcher.load_device.type == device


@pytest.mark.parametrize("kind", ["MODEL", "CLIP"])
def test_copy_that_comfyui_makes_of_the_demo_model_has_its_weights(kind):
    model, clip, *_ = load_demo_model(BASE_MODEL_PATH)
    patcher = model if kind == "MODEL" else clip.patcher
    reload, arguments = patcher.cached_patcher_init
    copy = reload(*arguments, disable_dynamic=True)
    assert type(copy) is comfy.model_patcher.ModelPatcher
    assert copy.model is not patcher.model
    weights, copied = patcher.model.state_dict(), copy.model.state_dict()
    assert weights.keys() == copied.keys()
    assert all(torch.equal(weights[key], copied[key]) for key in weights)
