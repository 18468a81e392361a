"""ComfyUI's entry point: see README.md. Everything is imported when ComfyUI asks for the nodes."""

import logging

# Here and not as `web` in pyproject.toml: ComfyUI serves that one under the project's name, but the
# front end asks for help pages under the folder's, which is whatever the user cloned the pack into.
WEB_DIRECTORY = "./nodes/web"


async def comfy_entrypoint():
    """The pack's extension object."""
    try:
        from .nodes import LivePhotoExtension

        return LivePhotoExtension()
    except Exception:
        # ComfyUI reduces an error in here to one line; the traceback is what helps to report it.
        logging.getLogger(__name__).exception("LivePhoto could not be loaded.")
        raise
