"""Making the video's latents: in one node, or as a patched MODEL for any sampler."""

from comfy_api.latest import io

from ..livephoto_core.comfyui.apply import apply_livephoto, empty_latent
from ..livephoto_core.comfyui.sampling import SAMPLERS, SCHEDULERS, sample_livephoto
from .types import CATEGORY, LivePhoto, LivePhotoReference


def _intensity_input() -> io.Float.Input:
    return io.Float.Input(
        "motion_intensity",
        default=5.0,
        min=1.0,
        max=10.0,
        step=0.5,
        display_mode=io.NumberDisplay.slider,
        tooltip="How much moves: 1 almost still, 5 lively, 10 wild. PIA moves a little even at 1. "
        "AnimateDiff and AnimateLCM ignore it.",
    )


def _frames_input() -> io.Int.Input:
    return io.Int.Input(
        "frames",
        default=16,
        min=2,
        max=4096,
        tooltip="Length of the video. 16 is what the checkpoints were trained on; AnimateDiff v1 "
        "takes up to 24 at once, v2, v3 and PIA 32, AnimateLCM 64. Longer with Context Windows "
        "(Manual).",
    )


class ApplyLivePhoto(io.ComfyNode):
    """The motion checkpoint as a patch on MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="ApplyLivePhoto",
            display_name="Apply LivePhoto",
            category=CATEGORY,
            description="Patches the motion checkpoint and the photo into a model, for KSampler, "
            "SamplerCustomAdvanced and context windows. The model that comes in is not changed.",
            search_aliases=["animatediff", "use evolved sampling", "image to video model"],
            inputs=[
                io.Model.Input("model", tooltip="SD-1.5 model, with any LoRAs."),
                LivePhoto.Input("livephoto", tooltip="From Load LivePhoto."),
                LivePhotoReference.Input("reference", tooltip="From Encode Reference."),
                _intensity_input(),
                _frames_input(),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="For any sampler."),
                io.Latent.Output(
                    display_name="latent", tooltip="Empty latent of the video, one per frame."
                ),
            ],
        )

    @classmethod
    def execute(cls, model, livephoto, reference, motion_intensity, frames) -> io.NodeOutput:
        """Patches a clone."""
        patched = apply_livephoto(model, livephoto, reference, motion_intensity)
        return io.NodeOutput(patched, empty_latent(reference, frames))


class LivePhotoSampler(io.ComfyNode):
    """The whole of sampling in one node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="LivePhotoSampler",
            display_name="LivePhoto Sampler",
            category=CATEGORY,
            description="Animates the photo: text and intensity in, latents of the video out.",
            search_aliases=["animate photo", "image to video", "i2v", "ksampler video"],
            inputs=[
                io.Model.Input("model", tooltip="SD-1.5 model, with any LoRAs."),
                LivePhoto.Input("livephoto", tooltip="From Load LivePhoto."),
                LivePhotoReference.Input("reference", tooltip="From Encode Reference."),
                io.Conditioning.Input("positive", tooltip="What happens in the video."),
                io.Conditioning.Input("negative", tooltip="What should not appear."),
                _intensity_input(),
                _frames_input(),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                    tooltip="Seed of the noise. With noise connected, only of samplers that add "
                    "noise on the way.",
                ),
                io.Int.Input("steps", default=25, min=1, max=10000, tooltip="Denoising steps."),
                io.Float.Input(
                    "cfg",
                    default=7.5,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    round=0.01,
                    tooltip="How strictly the text is followed (classifier-free guidance).",
                ),
                io.Combo.Input(
                    "sampler_name", options=SAMPLERS, default="euler", tooltip="As in KSampler."
                ),
                io.Combo.Input(
                    "scheduler", options=SCHEDULERS, default="normal", tooltip="As in KSampler."
                ),
                io.Noise.Input(
                    "noise",
                    optional=True,
                    tooltip="Starting noise, from Prior Inversion; random if left open.",
                ),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="latent", tooltip="Latents of the video, for VAE Decode."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        model,
        livephoto,
        reference,
        positive,
        negative,
        motion_intensity,
        frames,
        seed,
        steps,
        cfg,
        sampler_name,
        scheduler,
        noise=None,
    ) -> io.NodeOutput:
        """Samples."""
        return io.NodeOutput(
            sample_livephoto(
                model,
                livephoto,
                reference,
                motion_intensity=motion_intensity,
                num_frames=frames,
                positive=positive,
                negative=negative,
                seed=seed,
                num_steps=steps,
                cfg=cfg,
                sampler_name=sampler_name,
                scheduler=scheduler,
                noise=noise,
            )
        )
