"""The paper's experiments, one per module: `run(cfg, paths) -> Result`. Studies write no files."""
