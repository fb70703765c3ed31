"""Training: the paper's recipe, exact resume, snapshots, publication."""
