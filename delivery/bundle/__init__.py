"""Makes a bundle: all that a machine without network needs, in parts to carry there."""
