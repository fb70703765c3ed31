"""Drawing: arrays in, PIL images and matplotlib figures out. Knows nothing of nets or studies."""
