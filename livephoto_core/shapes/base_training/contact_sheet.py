"""Many small pictures as one."""

from __future__ import annotations

from pathlib import Path

from einops import rearrange
from PIL import Image
from torch import Tensor


def write_contact_sheet(path: Path, pixels: Tensor, *, num_columns: int) -> None:
    """Writes pictures as one PNG, row by row.

    Args:
        path: A file that is there is replaced.
        pixels: (b 3 h w), −1 to 1; b is a multiple of `num_columns`.
        num_columns: Pictures in a row.
    """
    values = (pixels.clamp(-1, 1) + 1) * 127.5
    sheet = rearrange(values, "(r s) c h w -> (r h) (s w) c", s=num_columns)
    Image.fromarray(sheet.round().byte().cpu().numpy()).save(path)
