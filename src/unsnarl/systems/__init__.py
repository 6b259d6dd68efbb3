"""The published systems, grouped by the host they live on."""
