"""The LivePhoto method and what it takes to run, train and measure it inside ComfyUI."""
