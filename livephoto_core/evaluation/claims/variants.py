"""The paper's ablations: what each leaves out, and which of its tables they make.

| table | rows |
|---|---|
| 1, image content guidance | reference latent; + content encoder; + prior inversion |
| 2, motion control | full; without intensity; without re-weighting |

The last row of table 1 is the first of table 2. Prior inversion acts in sampling only, so two rows
share their weights. `text adapters` is ours: what the paper's frozen base gains by them.
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
    """

    name: str
    training: Training
    prior: tuple[float, float] | None = PRIOR


FULL = Training("full")
"""Everything of the paper."""

TABLE_1 = (
    Variant(
        "reference latent",
        Training("without-content-encoder", ("parts.content_encoder=false",)),
        prior=None,
    ),
    Variant("+ content encoder", FULL, prior=None),
    Variant("+ prior inversion (full)", FULL),
)
TABLE_2 = (
    TABLE_1[-1],
    Variant("without intensity", Training("without-intensity", ("parts.intensity=false",))),
    Variant(
        "without re-weighting", Training("without-reweighting", ("parts.text_reweighting=false",))
    ),
)
OURS = (Variant("full, text adapters", Training("text-adapters", ("parts.text_adapters=true",))),)

VARIANTS = (*TABLE_1, *TABLE_2[1:], *OURS)
"""Every row once."""
