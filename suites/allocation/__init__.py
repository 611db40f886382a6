"""Which devices a claim is allocated, and that its containers have those."""
