"""A real ComfyUI for the tests and the demo: obtained, started, fed workflows and stopped.

Not part of the pack: nothing in `livephoto_core` or `nodes` imports it.
"""
