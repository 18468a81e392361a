"""The method as plain torch modules; nothing here imports ComfyUI."""
