"""What a model of the synthetic world is asked, and how its answers are scored, in closed form.

Every picture and sentence comes from combinations of shape, colour and motion that training never
saw together. No learned judge is in it: `tracking` measures what a clip shows.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from ..motion_intensity import NUM_LEVELS, mean_ssim, motion_level
from .captions import conflicting_caption, full_caption, motion_caption
from .rendering import render_clip
from .scene import MOTIONS, Scene
from .split import sample_evaluation_scene
from .tracking import classify_motion, first_frame_psnr, seen_colour, seen_shape

Kind = Literal["motion", "conflicting", "motion_only", "without_text", "level"]

_LEVEL_STREAM = 5
_LEVEL_OFFSET = 1_000_000
_CAPTIONS: dict[Kind, Callable[[Scene, int], str]] = {
    "motion": full_caption,
    "conflicting": conflicting_caption,
    "motion_only": motion_caption,
    "without_text": lambda _scene, _seed: "",
    "level": full_caption,
}


@dataclass(frozen=True)
class Question:
    """One clip that is asked for.

    Args:
        kind: What it tests: whether the motion follows the sentence, be it the full one, one that
            names another colour and shape than the picture's, or one of motion words alone; which
            motion comes without a sentence; whether the measured level follows the requested one.
        scene: Its first frame is the picture, its motion the one that is meant.
        caption: The sentence; empty without text.
        level: Requested motion level, 1 to 10.
        seed: Of the noise.
    """

    kind: Kind
    scene: Scene
    caption: str
    level: int
    seed: int


@dataclass(frozen=True)
class Answer:
    """What the clip shows.

    Args:
        kind, asked_motion, asked_level: Of the question.
        motion: One of `MOTIONS`.
        level: 1 to 10.
        ssim: Mean SSIM of adjacent frames.
        first_frame_psnr_db: Against the picture.
        keeps_shape, keeps_colour: Whether the last frame shows the picture's.
        frame_similarity: Of adjacent frames to the content encoder; see `frame_similarity`.
    """

    kind: Kind
    asked_motion: str
    asked_level: int
    motion: str
    level: int
    ssim: float
    first_frame_psnr_db: float
    keeps_shape: bool
    keeps_colour: bool
    frame_similarity: float

    @property
    def keeps_identity(self) -> bool:
        """Whether the last frame shows the same shape in the same colour."""
        return self.keeps_shape and self.keeps_colour


def make_questions(
    kind: Kind, count: int, *, edges: Sequence[float], size_px: int, seed: int = 0
) -> list[Question]:
    """Questions of one kind; the motions take turns.

    Motion is asked for at the level of the true clip, since not every motion can reach every level:
    a growing shape never changes as many pixels as a pan. So the level too tells something of the
    motion. Levels are asked for at random, and without text too, where nothing shall tell the
    motion.

    Args:
        kind: What to test.
        count: How many; a multiple of 16 has all motions alike. All kinds but the level have the
            same pictures, motions and noise.
        edges: The checkpoint's edges between levels.
        size_px: Of the pictures.
        seed: Names the stream of scenes.
    """
    first = _LEVEL_OFFSET if kind == "level" else 0
    questions = []
    for index in range(first, first + count):
        motion = MOTIONS[index % len(MOTIONS)]
        scene = sample_evaluation_scene(seed, index, motions=(motion,))
        if kind in ("level", "without_text"):
            rng = np.random.default_rng((seed, index, _LEVEL_STREAM))
            level = int(rng.integers(1, NUM_LEVELS + 1))
        else:
            level = motion_level(mean_ssim(render_clip(scene, size_px=size_px)), edges)
        caption = _CAPTIONS[kind](scene, index)
        questions.append(Question(kind, scene, caption, level, seed=index))
    return questions


def frame_similarity(patch_tokens: Tensor) -> float:
    """Mean cosine similarity of adjacent frames, the form of the paper's DINO score (table 1).

    The tiny content encoder has no trained class token: a frame is the mean of its patch tokens.

    Args:
        patch_tokens: Of all frames, (f n d).
    """
    frames = patch_tokens.mean(dim=1)
    return F.cosine_similarity(frames[:-1], frames[1:], dim=-1).mean().item()


def judge(
    frames: Tensor, patch_tokens: Tensor, question: Question, edges: Sequence[float]
) -> Answer:
    """Measures a clip.

    Args:
        frames: The clip, (f h w 3), 0 to 1.
        patch_tokens: Of its frames by the content encoder, (f n d).
        question: What it answers.
        edges: The checkpoint's edges between levels.
    """
    scene, ssim = question.scene, mean_ssim(frames)
    picture = render_clip(scene, num_frames=1, size_px=frames.shape[1])[0]
    return Answer(
        kind=question.kind,
        asked_motion=scene.motion,
        asked_level=question.level,
        motion=classify_motion(frames),
        level=motion_level(ssim, edges),
        ssim=ssim,
        first_frame_psnr_db=first_frame_psnr(frames, picture),
        keeps_shape=seen_shape(frames[-1]) == scene.shape,
        keeps_colour=seen_colour(frames[-1]) == scene.colour,
        frame_similarity=frame_similarity(patch_tokens),
    )


def score(answers: Sequence[Answer]) -> dict[str, float | dict[str, float]]:
    """The benchmark's figures.

    Returns:
        `motion_accuracy` over all motions, `motion_accuracy_of` each, `worst_motion_accuracy`;
        `conflicting_accuracy`, `motion_only_accuracy`; `without_text_accuracy`, which is chance if
        nothing but the sentence tells the motion;
        `level_correlation` (of the level questions), `level_correlation_within_motions` (the mean
        over motions of the same, SSIM for level), `level_motion_accuracy` (whether the motion
        follows the sentence whatever the level asked for), `level_1_ssim` and `level_1_measured`
        (means, where level 1 was asked for); `first_frame_psnr_db` (mean),
        `identity`, `shape_kept` and `colour_kept` (shares), `identity_of` each motion and
        `frame_similarity` (mean) over motion and level questions, and of the conflicting ones
        `conflicting_identity` and `conflicting_first_frame_psnr_db`.
        Figures without questions are left out.
    """
    by_kind = {
        kind: [answer for answer in answers if answer.kind == kind] for kind in get_args(Kind)
    }
    motion, level = by_kind["motion"], by_kind["level"]
    figures: dict[str, float | dict[str, float]] = {}
    if motion:
        by_motion = _by_motion(motion, _accuracy)
        figures["motion_accuracy"] = _accuracy(motion)
        figures["worst_motion_accuracy"] = min(by_motion.values())
        figures["motion_accuracy_of"] = by_motion
    for kind in ("conflicting", "motion_only", "without_text"):
        if by_kind[kind]:
            figures[f"{kind}_accuracy"] = _accuracy(by_kind[kind])
    if by_kind["conflicting"]:
        conflicting = by_kind["conflicting"]
        figures["conflicting_identity"] = _identity(conflicting)
        figures["conflicting_first_frame_psnr_db"] = _mean(
            [answer.first_frame_psnr_db for answer in conflicting]
        )
    if level:
        figures.update(_level_figures(level))
    if motion or level:
        told = [*motion, *level]
        figures["first_frame_psnr_db"] = _mean([a.first_frame_psnr_db for a in told])
        figures["identity"] = _identity(told)
        figures["identity_of"] = _by_motion(told, _identity)
        figures["shape_kept"] = _mean([float(a.keeps_shape) for a in told])
        figures["colour_kept"] = _mean([float(a.keeps_colour) for a in told])
        figures["frame_similarity"] = _mean([a.frame_similarity for a in told])
    return figures


def _level_figures(answers: list[Answer]) -> dict[str, float]:
    figures = {
        "level_correlation": level_correlation(answers),
        "level_motion_accuracy": _accuracy(answers),
    }
    moving = _asked_to_move(answers)
    within = [
        spearman([a.asked_level for a in of_motion], [-a.ssim for a in of_motion])
        for motion in MOTIONS
        if len(of_motion := [a for a in moving if a.asked_motion == motion]) > 2
    ]
    if within:
        figures["level_correlation_within_motions"] = _mean(within)
    stillest = [answer for answer in answers if answer.asked_level == 1]
    if stillest:
        figures["level_1_ssim"] = _mean([answer.ssim for answer in stillest])
        figures["level_1_measured"] = _mean([answer.level for answer in stillest])
    return figures


def level_correlation(answers: Sequence[Answer]) -> float:
    """Spearman's ρ of requested against measured levels, where something shall move."""
    moving = _asked_to_move(answers)
    return spearman([a.asked_level for a in moving], [a.level for a in moving])


def _asked_to_move(answers: Sequence[Answer]) -> list[Answer]:
    # A sentence that says that nothing moves leaves no level to follow.
    return [answer for answer in answers if answer.asked_motion != "still"]


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's rank correlation; ties share their mean rank; 0 for equal values and for none."""
    ranks = np.stack([_ranks(np.asarray(values, dtype=np.float64)) for values in (one, other)])
    if ranks.size == 0 or ranks.std(axis=1).min() == 0:
        return 0.0
    return float(np.corrcoef(ranks)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def _by_motion(
    answers: Sequence[Answer], figure: Callable[[Sequence[Answer]], float]
) -> dict[str, float]:
    return {
        name: figure(of_motion)
        for name in MOTIONS
        if (of_motion := [answer for answer in answers if answer.asked_motion == name])
    }


def _accuracy(answers: Sequence[Answer]) -> float:
    return _mean([float(answer.motion == answer.asked_motion) for answer in answers])


def _identity(answers: Sequence[Answer]) -> float:
    return _mean([float(answer.keeps_identity) for answer in answers])


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def as_rows(answers: Sequence[Answer]) -> list[dict[str, object]]:
    """The answers as JSON takes them."""
    return [dataclasses.asdict(answer) for answer in answers]
