"""Edge types of the pack's own. Their names are part of every saved workflow."""

from comfy_api.latest import io

LivePhoto = io.Custom("LIVEPHOTO")
LivePhotoReference = io.Custom("LIVEPHOTO_REFERENCE")
ContentEncoder = io.Custom("LIVEPHOTO_CONTENT_ENCODER")

CATEGORY = "LivePhoto"
