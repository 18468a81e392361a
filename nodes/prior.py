"""Prior inversion: starting noise with a trace of the photo."""

from comfy_api.latest import io

from ..livephoto_core.comfyui.inversion import PriorNoise, invert_reference
from ..livephoto_core.diffusion.prior import ALPHA_FIRST, ALPHA_LAST
from .types import CATEGORY, LivePhotoReference


def _alpha_input(name: str, default: float, tooltip: str) -> io.Float.Input:
    return io.Float.Input(
        name, default=default, min=0.0, max=1.0, step=0.001, round=0.0001, tooltip=tooltip
    )


class PriorInversion(io.ComfyNode):
    """LivePhoto, section 3.3, equation 3."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="PriorInversion",
            display_name="Prior Inversion (LivePhoto)",
            category=CATEGORY,
            description="Inverts the photo to noise with the base model (DDIM) and mixes a little "
            "of it into the video's starting noise: colours and layout hold better. Works with "
            "any sampler that takes NOISE. A new seed or motion file does not "
            "repeat the inversion.",
            search_aliases=["ddim inversion", "noise prior", "unsampler"],
            inputs=[
                io.Model.Input(
                    "model", tooltip="The base model with its LoRAs, from before Apply LivePhoto."
                ),
                LivePhotoReference.Input("reference", tooltip="From Encode Reference."),
                io.Int.Input(
                    "steps",
                    default=50,
                    min=1,
                    max=1000,
                    tooltip="Steps of the inversion, of a single frame each.",
                ),
                _alpha_input(
                    "alpha_first",
                    ALPHA_FIRST,
                    "Share of the inverted photo in the first frame's noise.",
                ),
                _alpha_input(
                    "alpha_last", ALPHA_LAST, "Share in the last frame's noise; linear between."
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                    tooltip="Seed of the random part of the noise.",
                ),
                io.Conditioning.Input(
                    "conditioning",
                    optional=True,
                    tooltip="An empty prompt (CLIP Text Encode without text), as in the paper. "
                    "Left open, the text tokens are zero.",
                ),
            ],
            outputs=[
                io.Noise.Output(
                    display_name="noise",
                    tooltip="For LivePhoto Sampler or SamplerCustomAdvanced.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls, model, reference, steps, alpha_first, alpha_last, seed, conditioning=None
    ) -> io.NodeOutput:
        """Inverts once per photo and model, then only mixes."""
        inverted = invert_reference(model, reference, num_steps=steps, conditioning=conditioning)
        return io.NodeOutput(
            PriorNoise(inverted, alpha_first=alpha_first, alpha_last=alpha_last, seed=seed)
        )
