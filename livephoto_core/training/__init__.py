"""Training a LivePhoto checkpoint: data preparation, loss, loop, presets, command line.

Nothing in here is imported when ComfyUI loads the pack; it needs the extra `train`.
"""
