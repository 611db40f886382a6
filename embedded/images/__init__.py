"""The container images of the embedded cluster, written without Docker and the same every time."""
