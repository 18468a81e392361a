"""Data preparation: videos and captions in, shards of latents, text tokens and SSIM values out."""
