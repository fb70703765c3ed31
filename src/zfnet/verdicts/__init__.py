"""The paper's claims held against what the studies measured. Needs no torch."""
