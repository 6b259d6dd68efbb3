"""systems/latents."""
