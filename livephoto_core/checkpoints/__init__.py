"""Reading, recognising, converting and writing weight files."""

from .description import describe
from .errors import CheckpointError
from .motion_lora import merge_motion_lora, read_motion_lora
from .native import write_checkpoint
from .reading import Checkpoint, read_checkpoint

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "describe",
    "merge_motion_lora",
    "read_checkpoint",
    "read_motion_lora",
    "write_checkpoint",
]
