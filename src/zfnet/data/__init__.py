"""From images on disk to batches of pixels: sources, one prepared format, training views."""
