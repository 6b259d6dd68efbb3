"""The published systems, grouped by the host they live on: today learners of latent codes, in `latents`."""
