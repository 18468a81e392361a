"""The only code of the pack that imports ComfyUI: model loading, UNet hooks, sampling."""
