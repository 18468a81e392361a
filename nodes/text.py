"""Weighing the words of the sentence."""

from typing import Any

from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor

from ..livephoto_core.comfyui.text import WordWeights, reweight_conditioning
from ..livephoto_core.comfyui.upstream import traced_text
from .types import CATEGORY, LivePhoto


class TextReweight(io.ComfyNode):
    """LivePhoto, section 3.5: motion words forward, content words back."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        schema = io.Schema(
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
                    tooltip="Words to set by hand: waving:1.5, dinosaur:0.2. 1 is the word as it "
                    "was encoded, 0 silences it.",
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
            hidden=[io.Hidden.dynprompt, io.Hidden.unique_id],
            outputs=[
                io.Conditioning.Output(
                    display_name="positive",
                    tooltip="Weighed; one per frame if the checkpoint weighs words.",
                ),
                io.Conditioning.Output(
                    display_name="negative", tooltip="Only with negative connected."
                ),
            ],
        )
        # A run that takes everything from the cache sends the words again. ComfyUI 0.18 knows no
        # such argument.
        schema.has_intermediate_output = True
        return schema

    @classmethod
    def execute(
        cls, livephoto, positive, frames, overrides, strength, negative=None, text=""
    ) -> io.NodeOutput:
        """Weighs, and sends the weights to the node's display."""
        sentence = traced_text(cls.hidden.dynprompt, cls.hidden.unique_id, "positive")
        if sentence is None:  # what was typed may be of an earlier prompt
            sentence = text or None
        weighted, words = reweight_conditioning(
            livephoto,
            positive,
            num_frames=frames,
            strength=strength,
            overrides=overrides,
            text=sentence,
        )
        weighted_negative = ExecutionBlocker(
            "negative: this output of Text Reweight is in use, but nothing is connected to its "
            "input of that name. Connect the encoded negative prompt."
        )
        if negative is not None:
            weighted_negative, _ = reweight_conditioning(
                livephoto, negative, num_frames=frames, strength=strength, name="negative"
            )
        return io.NodeOutput(weighted, weighted_negative, ui=_for_display(words))


def _for_display(words: WordWeights | None) -> dict[str, list[Any]]:
    """What web/text_reweight.js reads: the words, and for each the weight in every frame.

    Empty where the words are not known, so that those of an earlier run disappear. No list holds a
    dictionary: ComfyUI would count it as a saved file.
    """
    if words is None:
        return {"livephoto_words": [], "livephoto_predicted": [], "livephoto_used": []}
    return {
        "livephoto_words": words.words,
        "livephoto_predicted": _per_word(words.predicted),
        "livephoto_used": _per_word(words.used),
    }


def _per_word(weights: Tensor) -> list[list[float]]:
    return [[round(weight, 3) for weight in frames] for frames in weights.T.tolist()]
