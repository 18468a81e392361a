"""Loading weight files."""

from comfy_api.latest import io

from ..livephoto_core.checkpoints.description import advise, describe
from ..livephoto_core.comfyui import model_files
from ..livephoto_core.comfyui.content_encoder import load_content_encoder
from ..livephoto_core.comfyui.livephoto_model import load_livephoto
from .types import CATEGORY, ContentEncoder, LivePhoto

NO_LORA = "none"


class LivePhotoLoader(io.ComfyNode):
    """A LivePhoto, AnimateDiff, AnimateLCM or PIA file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        schema = io.Schema(
            node_id="LivePhotoLoader",
            display_name="Load LivePhoto",
            category=CATEGORY,
            description="Loads a motion checkpoint for SD-1.5: LivePhoto, AnimateDiff v1/v2/v3, "
            "AnimateLCM or PIA, and says which parts it carries.",
            search_aliases=["animatediff loader", "motion module", "PIA", "motion lora"],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=model_files.checkpoint_names(),
                    tooltip="File in models/livephoto or models/animatediff_models.",
                ),
                io.Combo.Input(
                    "motion_lora",
                    options=[NO_LORA, *model_files.motion_lora_names()],
                    default=NO_LORA,
                    optional=True,
                    tooltip="AnimateDiff motion LoRA (such as a camera pan) from "
                    "models/animatediff_motion_lora. LoRAs of the picture go through Load LoRA.",
                ),
                io.Float.Input(
                    "lora_strength",
                    default=1.0,
                    min=-2.0,
                    max=2.0,
                    step=0.05,
                    optional=True,
                    tooltip="How strongly the motion LoRA acts.",
                ),
            ],
            outputs=[
                LivePhoto.Output(display_name="livephoto", tooltip="The motion checkpoint."),
                io.String.Output(
                    display_name="description", tooltip="The parts the file carries, in words."
                ),
            ],
        )
        # A run that takes everything from the cache describes the file again. ComfyUI 0.18 knows no
        # such argument.
        schema.has_intermediate_output = True
        return schema

    @classmethod
    def fingerprint_inputs(cls, file, motion_lora=NO_LORA, **_):
        """Loads again when a file was replaced under the same name."""
        fingerprints = []
        # ComfyUI passes None for an input that is fed by a link.
        if file is not None:
            fingerprints.append(model_files.fingerprint(model_files.checkpoint_path(file)))
        if motion_lora not in (None, NO_LORA):
            fingerprints.append(model_files.fingerprint(model_files.motion_lora_path(motion_lora)))
        return fingerprints

    @classmethod
    def execute(cls, file, motion_lora=NO_LORA, lora_strength=1.0) -> io.NodeOutput:
        """Reads the file."""
        livephoto = load_livephoto(
            model_files.checkpoint_path(file),
            motion_lora=None
            if motion_lora == NO_LORA
            else model_files.motion_lora_path(motion_lora),
            lora_strength=lora_strength,
        )
        description = describe(livephoto.config)
        lines = [description, *advise(livephoto.config)]
        return io.NodeOutput(livephoto, description, ui={"livephoto_description": lines})


class LivePhotoDINOv2Loader(io.ComfyNode):
    """The image encoder of checkpoints with content tokens."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="LivePhotoDINOv2Loader",
            display_name="Load DINOv2 (LivePhoto)",
            category=CATEGORY,
            description="Loads a DINOv2 (small, base, large or giant) for Encode Reference. Needed "
            "only by LivePhoto checkpoints with content tokens.",
            search_aliases=["content encoder", "clip vision", "dinov2"],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=model_files.content_encoder_names(),
                    tooltip="File in models/clip_vision.",
                ),
            ],
            outputs=[
                ContentEncoder.Output(display_name="clip_vision", tooltip="The image encoder."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file):
        """Loads again when the file was replaced under the same name."""
        if file is None:
            return None
        return model_files.fingerprint(model_files.content_encoder_path(file))

    @classmethod
    def execute(cls, file) -> io.NodeOutput:
        """Reads the file."""
        return io.NodeOutput(load_content_encoder(model_files.content_encoder_path(file)))
