"""The model that ships with the pack."""

from comfy_api.latest import io, ui

from ..livephoto_core.comfyui.demo_model import load_demo_model
from ..livephoto_core.comfyui.model_files import fingerprint
from ..livephoto_core.shapes.base_model import BASE_MODEL_PATH
from ..livephoto_core.shapes.shipped import example_picture
from .types import CATEGORY, ContentEncoder


class LivePhotoDemoModel(io.ComfyNode):
    """The tiny base model of the shapes world, and a picture of that world."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="LivePhotoDemoModel",
            display_name="Load Demo Model (LivePhoto)",
            category=CATEGORY,
            description="The tiny base model that ships with the pack: it runs on a laptop's CPU "
            "and knows coloured shapes on 64×64 pixels, nothing else. For your own photos use "
            "Load Checkpoint with an SD-1.5 checkpoint.",
            search_aliases=["demo checkpoint", "tiny model", "shapes model", "example model"],
            outputs=[
                io.Model.Output(
                    display_name="model", tooltip="For Apply LivePhoto or LivePhoto Sampler."
                ),
                io.Clip.Output(
                    display_name="clip", tooltip="Knows the words of the shapes world, no others."
                ),
                io.Vae.Output(display_name="vae", tooltip="For Encode Reference and VAE Decode."),
                ContentEncoder.Output(
                    display_name="clip_vision", tooltip="The image encoder, for Encode Reference."
                ),
                io.Image.Output(
                    display_name="image", tooltip="A picture that it can animate: a red heart."
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls):
        """Loads again when an update of the pack brought other weights."""
        return fingerprint(BASE_MODEL_PATH) if BASE_MODEL_PATH.exists() else None

    @classmethod
    def execute(cls) -> io.NodeOutput:
        """Reads the file."""
        if not BASE_MODEL_PATH.exists():
            raise ValueError(
                f"{BASE_MODEL_PATH.name} is missing from the pack's folder "
                f"{BASE_MODEL_PATH.parent}: install the pack again, with its weights."
            )
        picture = example_picture()
        preview = ui.PreviewImage(picture, cls=cls)
        return io.NodeOutput(*load_demo_model(BASE_MODEL_PATH), picture, ui=preview)
