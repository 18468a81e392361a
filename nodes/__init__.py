"""The nodes, one file per step of the graph: convert in, one core call, convert out."""

from comfy_api.latest import ComfyExtension, io

from ..livephoto_core.comfyui.model_files import register_folders
from .demo import LivePhotoDemoModel
from .intensity import MotionIntensity
from .load import LivePhotoDINOv2Loader, LivePhotoLoader
from .prior import PriorInversion
from .reference import ReferenceEncode
from .sample import ApplyLivePhoto, LivePhotoSampler
from .text import TextReweight

NODES: list[type[io.ComfyNode]] = [
    LivePhotoLoader,
    LivePhotoDINOv2Loader,
    ReferenceEncode,
    TextReweight,
    PriorInversion,
    LivePhotoSampler,
    ApplyLivePhoto,
    MotionIntensity,
    LivePhotoDemoModel,
]


class LivePhotoExtension(ComfyExtension):
    """What ComfyUI asks for the pack's nodes."""

    async def on_load(self) -> None:
        """Runs once, before the nodes are asked for."""
        register_folders()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All nodes of the pack."""
        return NODES
