"""What two pods that share a claim of GPUs find.

Each of its forms takes a while: that there is nothing to find without a fault, other tests see.
"""

OPTIONS = ("--dra-level", "4")
CAUGHT = (
    ("one-gpu-as-two", "ALLOC-003", "two published devices are one GPU: GPU-"),
    ("last-product-misspelt", "SLICE-007", " is NVIDIA H100 80GB HBM3 in the "),
)
