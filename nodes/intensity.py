"""Measuring how much a video moves."""

import json

from comfy_api.latest import io, ui

from ..livephoto_core.charts import ssim_chart
from ..livephoto_core.checkpoints.description import uses_intensity
from ..livephoto_core.comfyui.upstream import asked_intensity
from ..livephoto_core.motion_intensity import DEFAULT_EDGES, frame_pair_ssim, motion_level
from .types import CATEGORY, LivePhoto


class MotionIntensity(io.ComfyNode):
    """LivePhoto, section 3.4: SSIM of adjacent frames as a level from 1 to 10."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="MotionIntensity",
            display_name="Motion Intensity (LivePhoto)",
            category=CATEGORY,
            description="Measures how much a video moves: the mean similarity (SSIM) of adjacent "
            "frames and the level it stands for.",
            search_aliases=["ssim", "measure motion", "motion level"],
            is_output_node=True,
            inputs=[
                io.Image.Input("images", tooltip="Frames of the video, two or more."),
                LivePhoto.Input(
                    "livephoto",
                    optional=True,
                    tooltip="Measures with the level edges of this checkpoint, as far as it has "
                    "any; otherwise with the pack's own.",
                ),
            ],
            outputs=[
                io.Int.Output(display_name="level", tooltip="1 almost still, 10 wild."),
                io.Float.Output(display_name="ssim", tooltip="Mean over all pairs of frames."),
                io.Float.Output(
                    display_name="ssim_per_pair",
                    is_output_list=True,
                    tooltip="SSIM of each frame and the next.",
                ),
                io.Image.Output(display_name="chart", tooltip="SSIM over time."),
            ],
            hidden=[io.Hidden.dynprompt, io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, images, livephoto=None) -> io.NodeOutput:
        """Measures, draws, and looks up what was asked for."""
        own_edges = livephoto and livephoto.config.ssim_edges
        edges = own_edges or DEFAULT_EDGES
        ssim = frame_pair_ssim(images[..., :3]).tolist()
        mean = sum(ssim) / len(ssim)
        level = motion_level(mean, edges)
        chart = ssim_chart(ssim, level, edges)
        asked = None
        if livephoto is None or uses_intensity(livephoto.config):
            asked = asked_intensity(cls.hidden.dynprompt, cls.hidden.unique_id, "images")
        # nodes/web/motion_intensity.js reads it; a dictionary in the list would count as a file.
        measured = json.dumps(
            {
                "level": level,
                "ssim": mean,
                "asked": asked and asked._asdict(),
                "scale": "file" if own_edges else "general",
            }
        )
        shown = ui.PreviewImage(chart, cls=cls).as_dict() | {"livephoto_measured": [measured]}
        return io.NodeOutput(level, mean, ssim, chart, ui=shown)
