"""The matrix: every fault that is made on purpose, and what was said of it; `./run matrix`."""
