"""Nothing is left behind: not in the base model, not in memory."""

from __future__ import annotations

import gc
import random
import weakref

import comfy.model_management
import pytest
import torch
from comfy.patcher_extension import CallbacksMP

from livephoto_core.comfyui.apply import apply_livephoto
from tests.comfyui.sampling import sample
from tests.comfyui.tiny_models import CONFIGS, FULL, random_reference, tiny_livephoto, tiny_sd15


class Injected(Exception):
    """Raised in the middle of a run."""


def fail_at(model, hook: str, call: int, error: type[BaseException]):
    """A clone whose `hook` raises in its `call`-th call."""
    broken, calls = model.clone(), iter(range(10**6))

    def fail(*args):
        if next(calls) == call:
            raise error
        return args[0] if hook == "input_block_patch" else args[0](*args[1:])

    if hook == "input_block_patch":
        broken.set_model_input_block_patch(lambda h, options: fail(h))
    else:

        def wrapper(executor, *args, **kwargs):
            if next(calls) == call:
                raise error
            return executor(*args, **kwargs)

        broken.add_wrapper_with_key(hook, "test", wrapper)
    return broken


def test_positional_encodings_go_where_the_weights_go():
    patcher = tiny_livephoto(FULL).patcher
    for loaded in patcher.get_all_callbacks(CallbacksMP.ON_LOAD):
        loaded(patcher, torch.device("meta"), 0, False, False)
    assert {buffer.device.type for buffer in patcher.model.buffers()} == {"meta"}


def test_base_is_bit_identical_after_twenty_runs_that_failed_anywhere():
    model, generator = tiny_sd15(), random.Random(0)
    before = sample(model)
    weights = {key: value.clone() for key, value in model.model.state_dict().items()}
    modules = dict(model.model.named_modules())
    options = repr(model.model_options)
    for _ in range(20):
        config = generator.choice(list(CONFIGS.values()))
        applied = apply_livephoto(model, tiny_livephoto(config), random_reference(config), 5)
        hook = generator.choice(["input_block_patch", "diffusion_model", "apply_model"])
        error = generator.choice([Injected, comfy.model_management.InterruptProcessingException])
        last = 12 * 4 if hook == "input_block_patch" else 4
        with pytest.raises(error):
            sample(fail_at(applied, hook, generator.randrange(last), error), steps=4)
    assert torch.equal(sample(model), before)
    assert dict(model.model.named_modules()) == modules
    assert repr(model.model_options) == options
    after = model.model.state_dict()
    assert after.keys() == weights.keys()
    assert all(torch.equal(after[key], value) for key, value in weights.items())


@pytest.mark.parametrize("calls_before_error", [1, None])
def test_base_is_itself_as_soon_as_a_run_ends(calls_before_error):
    """Not only once it is loaded again: EasyCache looks at the noise schedule before that."""
    model, config = tiny_sd15(), CONFIGS["pia"]
    sample(model)
    modules = dict(model.model.named_modules())
    applied = apply_livephoto(model, tiny_livephoto(config), random_reference(config), 5)
    assert "model_sampling" in applied.object_patches
    if calls_before_error is None:
        sample(applied)
    else:
        with pytest.raises(Injected):
            sample(fail_at(applied, "apply_model", calls_before_error, Injected))
    assert dict(model.model.named_modules()) == modules


def test_checkpoint_is_freed_when_its_last_user_goes():
    model = tiny_sd15()
    livephoto = tiny_livephoto(FULL)
    parts = weakref.ref(livephoto.parts)
    applied = apply_livephoto(model, livephoto, random_reference(FULL), 5)
    sample(applied)
    del applied, livephoto
    gc.collect()
    comfy.model_management.cleanup_models_gc()
    assert parts() is None
    assert torch.isfinite(sample(model)).all()


def test_loaded_models_do_not_pile_up_over_runs():
    model, livephoto = tiny_sd15(), tiny_livephoto(FULL)
    counts = []
    for level in (2, 5, 8):
        sample(apply_livephoto(model, livephoto, random_reference(FULL), level))
        counts.append(len(comfy.model_management.loaded_models()))
    assert counts[0] == counts[1] == counts[2]


def test_runs_leave_no_tensors_behind():
    model, livephoto, reference = tiny_sd15(), tiny_livephoto(FULL), random_reference(FULL)

    def live_bytes() -> int:
        gc.collect()
        tensors = [obj for obj in gc.get_objects() if type(obj) is torch.Tensor]
        return sum(tensor.nbytes for tensor in tensors)

    sample(apply_livephoto(model, livephoto, reference, 5))
    before = live_bytes()
    for _ in range(5):
        sample(apply_livephoto(model, livephoto, reference, 5))
    assert live_bytes() <= before
