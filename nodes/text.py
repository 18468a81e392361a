"""Weighing the words of the sentence."""

from comfy_api.latest import io, ui
from comfy_execution.graph_utils import ExecutionBlocker

from ..livephoto_core.charts import word_weights_picture
from ..livephoto_core.comfyui.prompt_words import traced_text
from ..livephoto_core.comfyui.text import reweight_conditioning
from .types import CATEGORY, LivePhoto


class TextReweight(io.ComfyNode):
    """LivePhoto, section 3.5: motion words forward, content words back."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="TextReweight",
            display_name="Text Reweight (LivePhoto)",
            category=CATEGORY,
            description="Weighs every word of the sentence for every frame with the checkpoint's "
            "text re-weighting, and lets you set words by hand: the way to stress a "
            "motion with checkpoints that have no re-weighting.",
            search_aliases=["prompt weight", "word weight", "emphasis", "motion words"],
            inputs=[
                LivePhoto.Input("livephoto", tooltip="From Load LivePhoto."),
                io.Conditioning.Input("positive", tooltip="The sentence, encoded."),
                io.Int.Input(
                    "frames", default=16, min=2, max=4096, tooltip="As many as in the sampler."
                ),
                io.String.Input(
                    "overrides",
                    default="",
                    tooltip="Words to set by hand: waving:1.5, dinosaur:0.2. 1 leaves a word as it "
                    "is, 0 silences it.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="How far the checkpoint's weights are followed; 0 not at all.",
                ),
                io.Conditioning.Input(
                    "negative", optional=True, tooltip="Weighed too, without overrides."
                ),
                io.String.Input(
                    "text",
                    default="",
                    optional=True,
                    tooltip="The sentence in plain words. Needed for overrides only if positive "
                    "does not come straight from CLIP Text Encode.",
                ),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
            outputs=[
                io.Conditioning.Output(display_name="positive", tooltip="One per frame."),
                io.Conditioning.Output(
                    display_name="negative", tooltip="Only with negative connected."
                ),
            ],
        )

    @classmethod
    def execute(
        cls, livephoto, positive, frames, overrides, strength, negative=None, text=""
    ) -> io.NodeOutput:
        """Weighs, and draws the weights."""
        sentence = text or traced_text(cls.hidden.prompt, cls.hidden.unique_id, "positive")
        weighted, words = reweight_conditioning(
            livephoto,
            positive,
            num_frames=frames,
            strength=strength,
            overrides=overrides,
            text=sentence,
        )
        weighted_negative = ExecutionBlocker(
            "TextReweight: its negative output is in use, but nothing is connected to its negative "
            "input. Connect the encoded negative prompt."
        )
        if negative is not None:
            weighted_negative, _ = reweight_conditioning(
                livephoto, negative, num_frames=frames, strength=strength
            )
        if words is None:
            return io.NodeOutput(weighted, weighted_negative)
        picture = ui.PreviewImage(word_weights_picture(*words), cls=cls)
        return io.NodeOutput(weighted, weighted_negative, ui=picture)
