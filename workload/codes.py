"""Error codes of CUDA (``CUresult``, cuda.h) that say something about what is shared."""

from __future__ import annotations

INVALID_CONTEXT = 201
"""``CUDA_ERROR_INVALID_CONTEXT``: also where CUDA takes an importer for the exporter."""
PEER_ACCESS_UNSUPPORTED = 217
"""``CUDA_ERROR_PEER_ACCESS_UNSUPPORTED``"""
