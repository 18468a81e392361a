import pytest

from livephoto_core.shapes.captions import (
    CONTENT_WORDS,
    MOTION_WORDS,
    VOCABULARY,
    conflicting_caption,
    content_caption,
    full_caption,
    motion_caption,
    motion_wordings,
    words,
)
from livephoto_core.shapes.scene import COLOURS, MOTIONS, SHAPES, sample_scene

_SCENES = [sample_scene(0, index, motions=(MOTIONS[index % 16],)) for index in range(64)]
_SEEDS = range(12)
_KINDS = (full_caption, content_caption, motion_caption, conflicting_caption)


def _cases():
    return [(scene, seed) for scene in _SCENES for seed in _SEEDS]


def test_full_caption_names_what_is_seen_and_how_it_moves():
    for scene, seed in _cases():
        caption = full_caption(scene, seed)
        assert {scene.colour, scene.shape} <= set(words(caption))
        assert caption.endswith(motion_wordings(scene.motion))


def test_content_caption_tells_no_motion():
    for scene, seed in _cases():
        found = set(words(content_caption(scene, seed)))
        assert {scene.colour, scene.shape} <= found
        assert found & MOTION_WORDS <= {"in"}


def test_motion_caption_tells_no_content():
    for scene, seed in _cases():
        caption = motion_caption(scene, seed)
        assert not set(words(caption)) & CONTENT_WORDS
        assert caption.endswith(motion_wordings(scene.motion))


def test_conflicting_caption_tells_another_colour_and_shape_but_the_true_motion():
    for scene, seed in _cases():
        caption = conflicting_caption(scene, seed)
        found = set(words(caption))
        assert not found & {scene.colour, scene.shape}
        assert found & set(COLOURS) and found & set(SHAPES)
        assert caption.endswith(motion_wordings(scene.motion))


@pytest.mark.parametrize("caption_of", _KINDS)
def test_wording_depends_on_the_seed_alone_and_there_are_several(caption_of):
    for scene in _SCENES[:16]:
        captions = [caption_of(scene, seed) for seed in range(40)]
        assert captions == [caption_of(scene, seed) for seed in range(40)]
        assert len(set(captions)) >= 3


def test_no_wording_stands_for_two_motions():
    wordings = [wording for motion in MOTIONS for wording in motion_wordings(motion)]

    assert len(set(wordings)) == len(wordings)
    assert all(len(motion_wordings(motion)) >= 3 for motion in MOTIONS)


def test_motions_differ_by_motion_words():
    told = {
        frozenset(words(wording)) & MOTION_WORDS: motion
        for motion in MOTIONS
        for wording in motion_wordings(motion)
    }
    for motion in MOTIONS:
        for wording in motion_wordings(motion):
            assert told[frozenset(words(wording)) & MOTION_WORDS] == motion


def test_vocabulary_is_closed_small_and_parted():
    said = {
        word
        for caption_of in _KINDS
        for scene, seed in _cases()
        for word in words(caption_of(scene, seed))
    }

    assert said <= VOCABULARY and len(VOCABULARY) < 100
    assert not MOTION_WORDS & CONTENT_WORDS


def test_unknown_motion_is_refused():
    with pytest.raises(ValueError, match="motion must be one of .*, got 'flies'"):
        motion_wordings("flies")


def test_article_fits_the_colour():
    for scene, seed in _cases():
        for caption_of in _KINDS:
            caption = caption_of(scene, seed)
            assert "a orange" not in caption
            assert " an " not in f" {caption}".replace(" an orange ", " ")
