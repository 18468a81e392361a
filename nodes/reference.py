"""The photo that is animated."""

import logging

from comfy_api.latest import io, ui

from ..livephoto_core.comfyui.node_text import show_on_node
from ..livephoto_core.comfyui.reference import FITS, encode_reference, fit_image
from ..livephoto_core.shapes.recognition import ONLY_SHAPES, is_shapes_picture
from .types import CATEGORY, ContentEncoder, LivePhoto, LivePhotoReference


class ReferenceEncode(io.ComfyNode):
    """Fits and encodes the photo."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        schema = io.Schema(
            node_id="ReferenceEncode",
            display_name="Encode Reference (LivePhoto)",
            category=CATEGORY,
            description="Brings a photo to the size of the video and encodes it in the ways the "
            "motion checkpoint asks for.",
            search_aliases=["image to video", "start image", "init image", "animate photo"],
            inputs=[
                LivePhoto.Input("livephoto", tooltip="From Load LivePhoto."),
                io.Vae.Input("vae", tooltip="VAE of the SD-1.5 checkpoint."),
                io.Image.Input("image", tooltip="One photo: the first frame of the video."),
                io.Int.Input(
                    "width",
                    default=512,
                    min=64,
                    max=4096,
                    step=8,
                    tooltip="Width of the video in pixels. Best near the size that the motion "
                    "checkpoint was trained at, which Load LivePhoto shows.",
                ),
                io.Int.Input(
                    "height",
                    default=512,
                    min=64,
                    max=4096,
                    step=8,
                    tooltip="Height of the video in pixels.",
                ),
                io.Combo.Input(
                    "fit",
                    options=list(FITS),
                    default="crop",
                    tooltip="crop: keep the middle. pad: keep the whole photo, continue its edges. "
                    "stretch: ignore the aspect ratio. proportions: keep the photo's own, at about "
                    "width × height pixels.",
                ),
                io.MultiType.Input(
                    "clip_vision",
                    types=[io.ClipVision, ContentEncoder],
                    optional=True,
                    tooltip="DINOv2, from Load DINOv2 (LivePhoto) or Load CLIP Vision. Only for "
                    "checkpoints with content tokens.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=[
                LivePhotoReference.Output(display_name="reference", tooltip="The encoded photo."),
                io.Image.Output(display_name="image", tooltip="The photo as fitted."),
            ],
        )
        # A run that takes everything from the cache shows the photo again. ComfyUI 0.18 knows no
        # such argument.
        schema.has_intermediate_output = True
        return schema

    @classmethod
    def execute(cls, livephoto, vae, image, width, height, fit, clip_vision=None) -> io.NodeOutput:
        """Fits, encodes, and shows the photo as fitted."""
        fitted = fit_image(image, width=width, height=height, fit=fit)
        reference = encode_reference(livephoto, vae, fitted, clip_vision)
        shown = ui.PreviewImage(fitted, cls=cls).as_dict()
        # ComfyUI's own CLIP_VISION knows no such field.
        is_demo = getattr(clip_vision, "knows_only_shapes", False)
        if not is_demo or is_shapes_picture(fitted[0]):
            show_on_node(cls.hidden.unique_id, None)
            return io.NodeOutput(reference, fitted, ui=shown)
        logging.getLogger(__name__).warning(ONLY_SHAPES)
        show_on_node(cls.hidden.unique_id, ONLY_SHAPES)
        shown |= ui.PreviewText(ONLY_SHAPES).as_dict()
        return io.NodeOutput(reference, fitted, ui=shown)
