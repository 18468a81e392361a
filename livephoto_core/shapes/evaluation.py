"""Runs the benchmark on a trained checkpoint, in several processes."""

from __future__ import annotations

import dataclasses
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from .base_model import LATENT_SCALE
from .benchmark import Answer, Kind, Question, judge, make_questions
from .rendering import render_clip

if TYPE_CHECKING:
    from ..comfyui.demo_animation import DemoAnimator

ENOUGH: dict[Kind, int] = {
    "motion": 208,
    "conflicting": 0,
    "motion_only": 0,
    "without_text": 64,
    "level": 64,
}
"""Questions of each kind that make a figure for the model card."""


KEEP_NOISE = ("euler", "heun", "dpm_2", "lms", "dpmpp_2m", "ddim", "uni_pc", "deis", "ipndm")
"""Samplers that draw no noise of their own, by ComfyUI's names."""

Clip = tuple[Tensor, Tensor]
"""Frames (f h w 3), 0 to 1, and their patch tokens (f n d)."""


@dataclass(frozen=True)
class EvaluationOptions:
    """What to evaluate, and how.

    Args:
        base: File of the tiny base model.
        livephoto: Checkpoint trained on it.
        counts: Questions by kind.
        num_steps: Denoising steps.
        cfg: Guidance scale.
        sampler: ComfyUI's name of it. By default one that replaces all noise at every step, which
            mends what earlier steps got wrong.
        prior: α of the first and the last frame, for noise with a prior of the picture (the paper's
            equation 3); `None` for plain noise. It needs a sampler that keeps its noise.
        seed: Of scenes and noise.
        num_processes: Each with one thread: on networks this small, threads cost more than they
            save.
        comfyui: ComfyUI's folder; by default COMFYUI_PATH's.
        bf16: Whether to compute in bf16 (autocast) as a training does; ComfyUI takes fp32 on a CPU.
    """

    base: Path
    livephoto: Path
    counts: dict[Kind, int]
    num_steps: int = 20
    cfg: float = 1.5
    sampler: str = "lcm"
    prior: tuple[float, float] | None = None
    seed: int = 0
    num_processes: int = 2
    comfyui: Path | None = None
    bf16: bool = False

    def __post_init__(self) -> None:
        if self.prior is not None and self.sampler not in KEEP_NOISE:
            raise ValueError(
                f"--prior: {self.sampler} may draw new noise at every step, which replaces the "
                f"noise that the prior is in. Give --sampler one of {', '.join(KEEP_NOISE)}."
            )


def evaluate(options: EvaluationOptions) -> list[Answer]:
    """The answers of a checkpoint, in the order of `benchmark.make_questions`.

    Raises:
        ValueError: If a file is not what it should be.
    """
    return answer(options, _questions(options, checkpoint_facts(options)))


def answer(options: EvaluationOptions, questions: Sequence[Question]) -> list[Answer]:
    """The answers of a checkpoint to these questions; `options.counts` is not used.

    Raises:
        ValueError: If a file is not what it should be.
    """
    check_base(options)
    facts = checkpoint_facts(options)
    from ..comfyui.standalone import use_comfyui

    use_comfyui(options.comfyui)  # here too: what is wrong in the processes nobody reads
    clips = _animate_all(options, questions, facts.size_px)
    progress = tqdm(clips, total=len(questions), unit="clip", desc="Evaluating")
    return [
        judge(frames, patch_tokens, question, facts.ssim_edges)
        for (frames, patch_tokens), question in zip(progress, questions, strict=True)
    ]


def answer_with_true_clips(options: EvaluationOptions, *, noise: float = 0.0) -> list[Answer]:
    """What the world's own clips score after the autoencoder: no checkpoint can be asked for more.

    Args:
        options: Base model, questions (of motion: a true clip has a level of its own), and the
            checkpoint whose levels count.
        noise: Added to the latents, as a multiple of their deviation: how much of it a shape
            outlasts tells how well a diffusion model can tell it from others.
    Raises:
        ValueError: If a file is not what it should be.
    """
    facts = checkpoint_facts(options)
    from ..comfyui.standalone import use_comfyui

    use_comfyui(options.comfyui)
    from ..comfyui.demo_model import load_demo_model

    _, _, vae, content_encoder = load_demo_model(options.base)
    answers = []
    generator = torch.Generator().manual_seed(options.seed)
    for question in tqdm(_questions(options, facts), unit="clip", desc="Evaluating"):
        clip = render_clip(question.scene, size_px=facts.size_px)
        with torch.inference_mode():
            latents = vae.encode(clip)
            # Scaled as the UNet sees them, their deviation is 1.
            latents += noise / LATENT_SCALE * torch.randn(latents.shape, generator=generator)
            frames = _in_8_bits(vae.decode(latents)[..., :3].clamp(0, 1))
        answers.append(judge(frames, content_encoder.encode(frames), question, facts.ssim_edges))
    return answers


class CheckpointFacts(NamedTuple):
    """What questions to a checkpoint are made with."""

    ssim_edges: tuple[float, ...]
    size_px: int


def checkpoint_facts(options: EvaluationOptions) -> CheckpointFacts:
    """The facts of `options.livephoto` and `options.base`.

    Raises:
        ValueError: If the checkpoint stores no edges between motion levels.
    """
    from ..checkpoints import read_checkpoint
    from .base_model import open_base_model

    edges = read_checkpoint(options.livephoto).config.ssim_edges
    if edges is None:
        raise ValueError(
            f"{options.livephoto.name} stores no edges between motion levels: it was not trained "
            "with this pack. Give a checkpoint of `python -m livephoto_core.training train`."
        )
    return CheckpointFacts(edges, open_base_model(options.base).config.size_px)


def check_base(options: EvaluationOptions) -> None:
    """Raises ValueError if the checkpoint was not trained on a base like `options.base`."""
    from ..checkpoints import read_checkpoint
    from .base_model import open_base_model

    trained_on = dataclasses.asdict(read_checkpoint(options.livephoto).config.layout)
    given = dataclasses.asdict(open_base_model(options.base).config.unet)
    for name, value in trained_on.items():
        if given[name] != value:
            raise ValueError(
                f"{options.livephoto.name} was trained on a UNet whose {name} is {value}, that of "
                f"{options.base.name} is {given[name]}. Give a checkpoint that was trained on it."
            )


def _questions(options: EvaluationOptions, facts: CheckpointFacts) -> list[Question]:
    return [
        question
        for kind, count in options.counts.items()
        for question in make_questions(
            kind, count, edges=facts.ssim_edges, size_px=facts.size_px, seed=options.seed
        )
    ]


def _animate_all(
    options: EvaluationOptions, questions: Sequence[Question], size_px: int
) -> Iterator[Clip]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        options.num_processes, mp_context=context, initializer=_start, initargs=(options, size_px)
    ) as pool:
        yield from pool.map(_animate, questions)


def animate(
    animator: DemoAnimator, question: Question, options: EvaluationOptions, *, size_px: int
) -> Tensor:
    """The frames (f h w 3), 0 to 1, that answer a question."""
    picture = render_clip(question.scene, num_frames=1, size_px=size_px)[0]
    with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
        frames = animator(
            picture,
            question.caption,
            level=question.level,
            seed=question.seed,
            num_steps=options.num_steps,
            cfg=options.cfg,
            sampler=options.sampler,
            prior=options.prior,
        )
    return frames.float()


_animate_question: Callable[[Question], Clip]


def _start(options: EvaluationOptions, size_px: int) -> None:
    """Loads the model in a new process."""
    global _animate_question
    torch.set_num_threads(1)
    from ..comfyui.standalone import hide_progress, use_comfyui

    use_comfyui(options.comfyui)
    hide_progress()
    from ..comfyui.demo_animation import DemoAnimator

    animator = DemoAnimator(options.base, options.livephoto)

    def animate_question(question: Question) -> Clip:
        frames = _in_8_bits(animate(animator, question, options, size_px=size_px))
        return frames, animator.patch_tokens(frames)

    _animate_question = animate_question


def _in_8_bits(frames: Tensor) -> Tensor:
    """As a video or PNG has them."""
    return (frames * 255).round() / 255


def _animate(question: Question) -> Clip:
    return _animate_question(question)
