"""Public motion files at full size: AnimateDiff v1 to v3, PIA, AnimateLCM, diffusers' adapters."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_animatediff_checkpoint_to_diffusers
from diffusers.models.embeddings import SinusoidalPositionalEmbedding
from diffusers.models.unets.unet_motion_model import MotionAdapter

from livephoto_core.checkpoints import Checkpoint, CheckpointError, describe, read_checkpoint
from livephoto_core.checkpoints.safetensors_header import read_header
from livephoto_core.models.config import (
    DEFAULT_POSITION_LENGTH,
    SD15,
    LivePhotoConfig,
    MotionConfig,
)
from livephoto_core.models.livephoto import LivePhoto
from tests.checkpoints.weight_files import (
    PIA_INPUT,
    animatediff_shapes,
    markers,
    write_archive,
    write_sparse,
)

V1 = animatediff_shapes(24)
V2 = animatediff_shapes(32, has_middle=True)
V3 = animatediff_shapes(32)
PIA = {**V3, **PIA_INPUT}
ANIMATE_LCM = animatediff_shapes(None, has_middle=True)

V1_TO_V3_PARAMETERS, V2_PARAMETERS = 417_137_600, 453_209_280
PIA_INPUT_PARAMETERS = 320 * 5 * 9
ABSENT = "reference latent: no; content tokens: no; text weights: no"


@dataclasses.dataclass(frozen=True)
class Expected:
    shapes: Mapping[str, tuple[int, ...]]
    motion: MotionConfig
    parameters: int
    schedule: str = "linear"
    across_frames: bool = False


KNOWN = {
    "v1": Expected(
        V1,
        MotionConfig("AnimateDiff v1", position_length=24, has_middle=False),
        V1_TO_V3_PARAMETERS,
        across_frames=True,
    ),
    "v2": Expected(V2, MotionConfig("AnimateDiff v2"), V2_PARAMETERS),
    "v3": Expected(V3, MotionConfig("AnimateDiff v3", has_middle=False), V1_TO_V3_PARAMETERS),
    "PIA": Expected(
        PIA,
        MotionConfig("PIA", has_middle=False),
        V1_TO_V3_PARAMETERS + PIA_INPUT_PARAMETERS,
        across_frames=True,
    ),
    "AnimateLCM": Expected(
        ANIMATE_LCM,
        MotionConfig("AnimateLCM", position_length=None),
        V2_PARAMETERS,
    ),
}


@pytest.fixture(params=KNOWN, scope="module")
def known(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Expected, Checkpoint]:
    expected = KNOWN[request.param]
    path = write_archive(tmp_path_factory.mktemp("known") / "file.ckpt", expected.shapes)
    return expected, read_checkpoint(path)


def test_public_file_is_described_and_complete(known: tuple[Expected, Checkpoint]) -> None:
    expected, checkpoint = known
    assert checkpoint.config.motion == expected.motion
    assert checkpoint.config.layout == SD15
    assert checkpoint.config.noise_schedule == expected.schedule
    assert checkpoint.config.cross_frame_group_norm is expected.across_frames
    assert expected.parameters == sum(
        tensor.numel() for name, tensor in checkpoint.state_dict.items() if not name.endswith(".pe")
    )
    module = LivePhoto(checkpoint.config, device="meta")
    module.load_state_dict(checkpoint.state_dict, strict=True, assign=True)


def test_public_weights_keep_their_names(known: tuple[Expected, Checkpoint]) -> None:
    expected, checkpoint = known
    for name, number in markers(expected.shapes).items():
        if not name.startswith("conv_in."):
            assert checkpoint.state_dict[f"motion.{name}"].flatten()[0] == number


def test_description_names_the_parts(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "v3.ckpt", V3)
    assert describe(read_checkpoint(path).config) == f"motion: AnimateDiff v3; {ABSENT}"


def test_pia_input_becomes_added_channels(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(write_archive(tmp_path / "pia.ckpt", PIA))
    added = checkpoint.state_dict["input_conditioning.conv.weight"]
    first = int(markers(PIA)["conv_in.weight"])
    conv = (first + torch.arange(320 * 9 * 9)).view(320, 9, 3, 3) % 2048
    assert torch.equal(added, conv[:, 4:].half())
    assert checkpoint.config.input_conditioning is not None
    assert checkpoint.config.input_conditioning.channels == ("affinity", "reference")


def _write_in_place(path: Path, name: str, tensor: torch.Tensor) -> None:
    with path.open("r+b") as file:
        file.seek(read_header(path).offsets[name][0])
        file.write(tensor.numpy().tobytes())


def test_animatelcm_gets_sinusoids_as_diffusers_makes_them(tmp_path: Path) -> None:
    state_dict = read_checkpoint(write_archive(tmp_path / "x.ckpt", ANIMATE_LCM)).state_dict
    made = {name: tensor for name, tensor in state_dict.items() if name.endswith(".pe")}
    assert len(made) == 2 * 21
    for tensor in made.values():
        reference = SinusoidalPositionalEmbedding(tensor.shape[-1], DEFAULT_POSITION_LENGTH).pe
        torch.testing.assert_close(tensor, reference, atol=1e-5, rtol=0)


def test_safetensors_file_is_read_like_ckpt(tmp_path: Path) -> None:
    sparse = read_checkpoint(write_sparse(tmp_path / "mm.safetensors", V1))
    archive = read_checkpoint(write_archive(tmp_path / "mm.ckpt", V1, wrapper="state_dict"))
    assert sparse.config == archive.config
    assert sparse.state_dict.keys() == archive.state_dict.keys()
    for name, tensor in archive.state_dict.items():
        assert sparse.state_dict[name].flatten()[0] == tensor.flatten()[0]


def test_prefix_of_distributed_training_is_dropped(tmp_path: Path) -> None:
    shapes = {f"module.{name}": shape for name, shape in PIA.items()}
    checkpoint = read_checkpoint(write_archive(tmp_path / "x.ckpt", shapes))
    assert describe(checkpoint.config).startswith("motion: PIA; reference latent: yes; ")


def test_frozen_unet_next_to_the_motion_modules_is_left_out(tmp_path: Path) -> None:
    frozen = {
        "conv_in.weight": (320, 4, 3, 3),
        "conv_in.bias": (320,),
        "time_embedding.linear_1.bias": (1280,),
        "down_blocks.0.resnets.0.norm1.bias": (320,),
        "mid_block.attentions.0.proj_in.bias": (1280,),
        "up_blocks.0.upsamplers.0.conv.bias": (1280,),
        "conv_norm_out.bias": (320,),
    }
    checkpoint = read_checkpoint(write_archive(tmp_path / "x.ckpt", {**V3, **frozen}))
    assert checkpoint.config.motion == KNOWN["v3"].motion
    assert all(name.startswith("motion.") for name in checkpoint.state_dict)


def adapter_shapes(**options: object) -> dict[str, tuple[int, ...]]:
    """Names and shapes of diffusers' own adapter."""
    with torch.device("meta"):
        adapter = MotionAdapter(**options)  # type: ignore[arg-type]
    return {name: tuple(tensor.shape) for name, tensor in adapter.state_dict().items()}


ADAPTERS = {
    "v1": {"motion_max_seq_length": 24, "use_motion_mid_block": False},
    "v2": {},
    "v3": {"use_motion_mid_block": False},
    "PIA": {"use_motion_mid_block": False, "conv_in_channels": 9},
}


@pytest.mark.parametrize("version", ADAPTERS)
def test_diffusers_adapter_is_read_under_animatediff_names(tmp_path: Path, version: str) -> None:
    shapes = adapter_shapes(**ADAPTERS[version])
    checkpoint = read_checkpoint(write_archive(tmp_path / "adapter.bin", shapes))
    assert checkpoint.config.motion == KNOWN[version].motion
    assert checkpoint.config.cross_frame_group_norm is KNOWN[version].across_frames
    stored = markers(shapes)
    original = KNOWN[version].shapes
    for theirs, ours in convert_animatediff_checkpoint_to_diffusers(
        {k: k for k in original}
    ).items():
        if not theirs.startswith("conv_in."):
            assert checkpoint.state_dict[f"motion.{ours}"].flatten()[0] == stored[theirs]
    for name in original:
        if name.endswith(".pe"):
            block = name.split(".attention_blocks.")[0].replace(".temporal_transformer", "")
            expected = stored[f"{block}.pos_embed.pe"]
            assert checkpoint.state_dict[f"motion.{name}"].flatten()[0] == expected


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        read_checkpoint(path)
    return str(error.value)


def test_diffusers_adapter_without_positions_is_refused(tmp_path: Path) -> None:
    shapes = {name: shape for name, shape in adapter_shapes().items() if "pos_embed" not in name}
    message = refused(write_sparse(tmp_path / "x.safetensors", shapes))
    assert "without positional encodings, so its AnimateDiff version cannot be told" in message


def test_missing_weight_is_named(tmp_path: Path) -> None:
    shapes = dict(V3)
    del shapes["up_blocks.3.motion_modules.2.temporal_transformer.proj_out.bias"]
    message = refused(write_sparse(tmp_path / "x.safetensors", shapes))
    assert message.startswith(
        "x.safetensors lacks 1 of 560 weights, such as motion.up_blocks.3.mot"
    )


def test_unknown_weight_is_named(tmp_path: Path) -> None:
    message = refused(write_sparse(tmp_path / "x.safetensors", {**V3, "camera.weight": (1,)}))
    assert "has 1 weights that do not belong to it, such as camera.weight" in message


def test_weights_of_other_widths_are_refused(tmp_path: Path) -> None:
    shapes = animatediff_shapes(32, widths=(64, 128, 256, 256))
    message = refused(write_sparse(tmp_path / "x.safetensors", shapes))
    assert "x.safetensors has weights of another size: motion." in message
    assert "is 64 where 320 is expected" in message


def test_same_weight_under_two_names_is_refused(tmp_path: Path) -> None:
    name = next(iter(V3))
    message = refused(write_sparse(tmp_path / "x.safetensors", {**V3, f"module.{name}": V3[name]}))
    assert f"holds {name} twice" in message


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F64", "I64"])
def test_other_dtypes_are_refused(tmp_path: Path, dtype: str) -> None:
    message = refused(write_sparse(tmp_path / "x.safetensors", V3, dtype=dtype))
    assert f"as {dtype}: choose a file in fp32, fp16 or bf16." in message


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_broken_weight_is_named(tmp_path: Path, value: float) -> None:
    name = "down_blocks.1.motion_modules.0.temporal_transformer.proj_in.weight"
    path = write_sparse(tmp_path / "x.safetensors", V3)
    tensor = torch.zeros(V3[name], dtype=torch.float16)
    tensor[-1, -1] = value
    _write_in_place(path, name, tensor)
    assert f"broken weights: motion.{name} contains NaN or infinity" in refused(path)


@pytest.mark.parametrize("shape", [(24,), (), (1, 0, 320), (1, 10**5, 320)])
def test_positions_of_a_strange_shape_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    shapes = {name: shape if name.endswith(".pe") else size for name, size in V3.items()}
    assert refused(write_sparse(tmp_path / "x.safetensors", shapes)).startswith("x.safetensors ")


def private_kilobytes() -> int:
    """Memory of this process that is not a view of a file."""
    return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_reading_takes_no_memory_for_the_weights(tmp_path: Path) -> None:
    path = write_sparse(tmp_path / "x.safetensors", V2, dtype="F32")
    before = private_kilobytes()
    state_dict = read_checkpoint(path).state_dict
    assert sum(tensor.nbytes for tensor in state_dict.values()) > 1.8e9
    assert private_kilobytes() - before < 64 * 1024


def test_default_config_describes_nothing() -> None:
    assert describe(LivePhotoConfig()) == f"motion: no; {ABSENT}"
