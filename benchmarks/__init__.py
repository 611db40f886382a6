"""How long a run takes, and what with; `./run bench`."""
