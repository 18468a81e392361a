"""What is seen of a video while it is sampled: all of its frames, as a loop on the node.

ComfyUI's own preview shows the first frame. ComfyUI's front end, which runs this pack's extension,
is sent all frames instead; every other client gets ComfyUI's preview.
"""

from __future__ import annotations

import base64
import io
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import comfy.model_management
import comfy.utils
import latent_preview
import torch
from comfy.cli_args import LatentPreviewMethod
from comfy_execution.utils import get_executing_context
from einops import rearrange
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from comfy.latent_formats import LatentFormat
    from comfy.model_patcher import ModelPatcher

EVENT = "livephoto.preview"
"""Type of the websocket message; `nodes/web/sampler.js` listens for it."""

FPS = 8
MAX_FRAMES = 32
MIN_INTERVAL_S = 0.25
_JPEG_QUALITY = 90

Callback = Callable[[int, Tensor, Tensor, int], None]
"""step, denoised latents so far, noisy latents, number of steps."""


@dataclass(frozen=True)
class Viewer:
    """The front end that waits for the node that runs.

    Args:
        server: ComfyUI's PromptServer.
        client_id: Of the front end's websocket.
        node_id: The node in the front end's graph.
    """

    server: Any
    client_id: str
    node_id: str

    def send(self, message: dict[str, Any]) -> None:
        """Sends a preview to this front end alone."""
        self.server.send_sync(EVENT, {"node": self.node_id, **message}, self.client_id)


def sampling_callback(model: ModelPatcher, num_steps: int) -> Callback:
    """ComfyUI's progress bar, with a preview of all frames where someone can see it.

    Args:
        model: That samples; its latent format has the colours of a latent.
        num_steps: Denoising steps.
    """
    viewer, latent_format = _viewer(), model.model.latent_format
    if viewer is None or not _shows_previews(latent_format):
        return latent_preview.prepare_callback(model, num_steps)
    progress = comfy.utils.ProgressBar(num_steps)
    last_sent_s = -math.inf

    def show(step: int, denoised: Tensor, _noisy: Tensor, total_steps: int) -> None:
        nonlocal last_sent_s
        # A progress bar that carries no picture leaves steps out, and looks for this only with one.
        comfy.model_management.throw_exception_if_processing_interrupted()
        now_s = time.monotonic()
        if now_s - last_sent_s >= MIN_INTERVAL_S or step + 1 == total_steps:
            last_sent_s = now_s
            viewer.send(preview_message(denoised, latent_format))
        progress.update_absolute(step + 1, total_steps)

    return show


def preview_message(latents: Tensor, latent_format: LatentFormat) -> dict[str, Any]:
    """A loop of a video's frames, as the front end takes it.

    Args:
        latents: (f c h w), in the scale of the UNet.
        latent_format: Its linear approximation of the decoder is used.
    Returns:
        `strip`, a data URL of a JPEG with the chosen frames one below the other; their number and
        size; and how many seconds the loop lasts.
    """
    num_frames, _, height, width = latents.shape
    chosen = chosen_frames(num_frames)
    colours = _colours(latents[chosen], latent_format)
    return {
        "strip": _data_url(rearrange(colours, "f h w c -> (f h) w c")),
        "num_frames": len(chosen),
        "width": width,
        "height": height,
        "seconds": num_frames / FPS,
    }


def chosen_frames(num_frames: int) -> list[int]:
    """Frames of a video that its preview shows: all, or `MAX_FRAMES` evenly from first to last."""
    if num_frames <= MAX_FRAMES:
        return list(range(num_frames))
    return torch.linspace(0, num_frames - 1, MAX_FRAMES).round().int().tolist()


def _viewer() -> Viewer | None:
    context = get_executing_context()
    if context is None:
        return None
    # Not at the top: a training or a script samples in a process without a server.
    from comfy_api import feature_flags
    from comfy_execution.progress import get_progress_state
    from server import PromptServer

    server: Any = getattr(PromptServer, "instance", None)
    # ComfyUI's front end says that it knows this; programs that use the API do not.
    if server is None or not feature_flags.supports_feature(
        server.sockets_metadata, server.client_id, "supports_preview_metadata"
    ):
        return None
    node_id = get_progress_state().dynprompt.get_display_node_id(context.node_id)
    return Viewer(server, server.client_id, node_id)


def _shows_previews(latent_format: LatentFormat) -> bool:
    # Asked here and not of `get_previewer`, which would load a decoder for --preview-method taesd.
    wanted = latent_preview.args.preview_method != LatentPreviewMethod.NoPreviews
    return wanted and latent_format.latent_rgb_factors is not None


def _colours(latents: Tensor, latent_format: LatentFormat) -> Tensor:
    """(f h w 3), 0 to 255, on the CPU."""
    factors = torch.tensor(latent_format.latent_rgb_factors).to(latents)
    bias = latent_format.latent_rgb_factors_bias
    offset = None if bias is None else torch.tensor(bias).to(latents)
    colours = F.linear(latents.movedim(1, -1), factors.T, offset)
    return ((colours + 1) / 2).clamp(0, 1).mul(255).to("cpu", torch.uint8)


def _data_url(strip: Tensor) -> str:
    file = io.BytesIO()
    # Without subsampling: chroma of the last rows of a frame would bleed into the next.
    Image.fromarray(strip.numpy()).save(file, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
