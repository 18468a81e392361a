"""The noise schedule of a motion checkpoint beside the base's own, also under dynamic VRAM."""

from __future__ import annotations

import comfy.model_management
import comfy.model_patcher
import comfy.utils
import comfy_aimdo.host_buffer
import pytest
import torch
from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete

from livephoto_core.comfyui.apply import apply_livephoto
from livephoto_core.comfyui.noise_schedule import ModelSampling
from tests.comfyui.tiny_models import FULL, PIA, random_reference, tiny_livephoto, tiny_sd15

SIGMA_MAX = {"base": 14.6146, "pia": 25.1461}


class NoHostBuffer:
    """Pinned memory of the GPU's driver, which is not there."""

    size = 0

    def __init__(self, *args):
        pass

    def truncate(self, *args, **kwargs):
        pass


@pytest.fixture
def dynamic_patcher(monkeypatch):
    """ComfyUI's patcher for dynamic VRAM, on the CPU, without what talks to the driver."""
    patcher = comfy.model_patcher.ModelPatcherDynamic
    monkeypatch.setattr(comfy_aimdo.host_buffer, "HostBuffer", NoHostBuffer)
    monkeypatch.setattr(patcher, "__new__", lambda cls, *args, **kwargs: object.__new__(cls))
    monkeypatch.setattr(patcher, "_vbar_get", lambda self, create=False: None)
    monkeypatch.setattr(comfy.model_management, "pinned_hostbuf_size", lambda size: 0)
    return patcher


@pytest.mark.parametrize("order", [["base", "pia", "base", "pia"], ["pia", "base", "pia", "base"]])
def test_schedules_stay_apart_under_dynamic_vram(dynamic_patcher, order):
    plain = tiny_sd15()
    base = dynamic_patcher(plain.model, plain.load_device, plain.offload_device)
    pia = apply_livephoto(base, tiny_livephoto(PIA), random_reference(PIA), 5)
    for name in order:
        loaded = {"base": base, "pia": pia}[name]
        loaded.partially_load(loaded.load_device)
        assert loaded.model.model_sampling.sigmas[-1].item() == pytest.approx(SIGMA_MAX[name], 1e-4)
    assert pia.get_model_object("model_sampling").sigmas[-1].item() == pytest.approx(25.1461, 1e-4)


def test_timesteps_are_looked_up_where_sigma_is():
    sampling = ModelSampling("linear")
    assert sampling.timestep(sampling.sigmas[[0, 500, 999]]).tolist() == [0, 500, 999]
    assert sampling.timestep(torch.ones(2, device="meta")).device.type == "meta"
    assert sampling.log_sigmas.device.type == "meta"


def test_written_back_buffers_are_ignored():
    sampling = ModelSampling("linear")
    comfy.utils.set_attr_buffer(sampling, "sigmas", torch.zeros(1000))
    assert sampling.sigmas[-1].item() == pytest.approx(25.1461, 1e-4)
    assert not list(sampling.buffers())


def test_stable_diffusions_own_schedule_needs_no_patch():
    applied = apply_livephoto(tiny_sd15(), tiny_livephoto(FULL), random_reference(FULL), 5)
    assert "model_sampling" not in applied.object_patches


def test_schedule_set_by_the_artist_stays():
    model = ModelSamplingDiscrete().patch(tiny_sd15(), "lcm", False)[0]
    wanted = model.object_patches["model_sampling"]
    applied = apply_livephoto(model, tiny_livephoto(PIA), random_reference(PIA), 5)
    assert applied.object_patches["model_sampling"] is wanted


def test_v_prediction_set_by_a_node_is_refused():
    model = ModelSamplingDiscrete().patch(tiny_sd15(), "v_prediction", False)[0]
    with pytest.raises(ValueError, match="does not predict noise"):
        apply_livephoto(model, tiny_livephoto(PIA), random_reference(PIA), 5)
