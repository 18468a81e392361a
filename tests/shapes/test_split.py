from itertools import product

from livephoto_core.shapes import scene
from livephoto_core.shapes.scene import COLOURS, MOTIONS, SHAPES
from livephoto_core.shapes.split import (
    held_out_combinations,
    is_held_out,
    sample_evaluation_scene,
    sample_training_scene,
    world_digest,
)

_ALL = set(product(SHAPES, COLOURS, MOTIONS))


def _combination(scene):
    return scene.shape, scene.colour, scene.motion


def test_an_eighth_of_all_combinations_is_held_out():
    held_out = held_out_combinations()

    assert len(set(held_out)) == len(held_out)
    assert set(held_out) < _ALL
    assert len(held_out) / len(_ALL) == 1 / 8


def test_training_never_samples_what_is_held_out():
    seen = {_combination(sample_training_scene(0, index)) for index in range(8000)}

    assert not seen & set(held_out_combinations())
    assert len(seen) == len(_ALL) * 7 / 8


def test_evaluation_samples_nothing_else():
    scenes = [sample_evaluation_scene(0, index) for index in range(800)]

    assert all(is_held_out(scene) for scene in scenes)
    assert {_combination(scene) for scene in scenes} == set(held_out_combinations())


def test_first_frames_of_an_evaluation_are_in_no_training_of_the_same_seed():
    for seed in (0, 1):
        training = {sample_training_scene(seed, index).centre for index in range(2000)}
        asked = {sample_evaluation_scene(seed, index).centre for index in range(200)}
        assert len(asked) == 200 and not asked & training


def test_every_pair_is_seen_in_training_with_something_else():
    training = _ALL - set(held_out_combinations())

    for kept in ((0, 1), (0, 2), (1, 2)):
        pairs = {(c[kept[0]], c[kept[1]]) for c in _ALL}
        assert {(c[kept[0]], c[kept[1]]) for c in training} == pairs


def test_no_shape_colour_or_motion_is_rarer_in_training():
    training = _ALL - set(held_out_combinations())

    for position, names in enumerate((SHAPES, COLOURS, MOTIONS)):
        counts = {name: sum(c[position] == name for c in training) for name in names}
        assert len(set(counts.values())) == 1


def test_samplers_give_the_motions_and_scenes_asked_for():
    for sample in (sample_training_scene, sample_evaluation_scene):
        scene = sample(1, 5, motions=("wave",))
        assert scene.motion == "wave"
        assert scene == sample(1, 5, motions=("wave",))


def test_digest_tells_worlds_apart(monkeypatch):
    before = world_digest()
    assert before == world_digest()
    monkeypatch.setattr(scene, "_MIN_SHRINKAGE", 0.55)
    assert world_digest() != before
