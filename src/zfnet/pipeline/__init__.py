"""What is declared of the pipeline, and how it is composed and run. Needs no torch."""
