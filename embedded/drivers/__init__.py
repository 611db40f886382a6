"""The DRA drivers that an embedded cluster can run."""
