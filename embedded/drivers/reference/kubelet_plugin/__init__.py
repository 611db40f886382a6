"""A DRA driver for simulated GPUs: a kubelet plugin, small enough to be read in one sitting.

It stands alone: standard library and grpcio. A good order to read it in:

* ``gpus``: what GPUs the node has, and how they are described to users;
* ``slices``: publishes them (ResourceSlices); ``api``: the little HTTPS that this takes;
* ``claims``: prepares the claims that the scheduler allocated, and remembers them on disk;
  ``parameters``: what else claims and classes can ask for;
* ``cdi``: tells the container runtime what a container gets; ``channels``: another kind of device;
* ``services``: what the kubelet calls (gRPC); ``__main__``: puts the parts together;
* ``faults``: how it can be made to misbehave, to test the tests.

The contract: KEP-4381, ``k8s.io/kubelet/pkg/apis``, and the Container Device Interface (CDI).
"""

from __future__ import annotations

import os

DRIVER = os.environ.get("DRIVER_NAME", "gpu.reference.dra-conformance.example")
"""The driver's name, in a domain that nobody can own (RFC 2606)."""
