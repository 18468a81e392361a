"""The paper's ablations: what each leaves out, and which of its tables they make.

| table | rows |
|---|---|
| 1, image content guidance | reference latent; + content encoder; + prior inversion |
| 2, motion control | full; without intensity; without re-weighting |

The last row of table 1 is the first of table 2. Prior inversion acts in sampling only, so two rows
share their weights.

`full` has all parts of the paper, but not its recipe: everything else trains by the preset
`shapes`, which favours high noise and seldom drops the text. Ours are a row by the paper's noise
and text drop, a row for each single option of it, which tell what the preset owes its results to,
and one that shows what the paper's frozen base gains by text adapters.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...diffusion.prior import ALPHA_FIRST, ALPHA_LAST

PRIOR = (ALPHA_FIRST, ALPHA_LAST)


@dataclass(frozen=True)
class Training:
    """One way to train.

    Args:
        name: Of its folder.
        settings: Options of `training train` that differ from the study's.
    """

    name: str
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Variant:
    """One row of a table.

    Args:
        name: As the report has it.
        training: How its weights come about.
        prior: α of prior inversion in sampling; `None` for plain noise.
        published: The paper's DINO and CLIP score of it, in percent.
    """

    name: str
    training: Training
    prior: tuple[float, float] | None = PRIOR
    published: tuple[float, float] | None = None


START = Training(
    "start",
    (
        "parts.reference_latent=false",
        "parts.content_encoder=false",
        "parts.intensity=false",
        "parts.text_reweighting=false",
    ),
)
"""Motion modules and the frame channel alone: what all others start from, as from AnimateDiff's."""

_ALL_PARTS = Training("full")

FULL = Variant("full (+ prior inversion)", _ALL_PARTS, published=(90.8, 95.2))
WITHOUT_REWEIGHTING = Variant(
    "without re-weighting",
    Training("without-reweighting", ("parts.text_reweighting=false",)),
    published=(90.1, 93.9),
)

TABLE_1 = (
    Variant(
        "reference latent",
        Training("without-content-encoder", ("parts.content_encoder=false",)),
        prior=None,
        published=(82.3, 91.7),
    ),
    Variant("+ content encoder", _ALL_PARTS, prior=None, published=(85.9, 93.2)),
    FULL,
)
TABLE_2 = (
    FULL,
    Variant(
        "without intensity",
        Training("without-intensity", ("parts.intensity=false",)),
        published=(90.3, 94.8),
    ),
    WITHOUT_REWEIGHTING,
)
_PAPER_TIMESTEPS = "noise.timestep_power=1.0"
_PAPER_TEXT_DROP = "noise.text_drop=0.5"
_PAPER_WEIGHTING = "noise.weight_exponent=0.0"

OURS = (
    Variant("full, text adapters", Training("text-adapters", ("parts.text_adapters=true",))),
    Variant(
        "full, the paper's noise and text drop",
        Training("paper-noise", (_PAPER_TIMESTEPS, _PAPER_TEXT_DROP, _PAPER_WEIGHTING)),
    ),
    Variant("full, the paper's timesteps alone", Training("paper-timesteps", (_PAPER_TIMESTEPS,))),
    Variant("full, the paper's text drop alone", Training("paper-text-drop", (_PAPER_TEXT_DROP,))),
    Variant("full, the paper's loss alone", Training("paper-loss", (_PAPER_WEIGHTING,))),
)

ROWS = {
    "paper": (*TABLE_1, *TABLE_2[1:]),
    "all": (*TABLE_1, *TABLE_2[1:], *OURS),
}
"""Every row once, by which tables they make."""
