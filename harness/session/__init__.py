"""One run of the checks from its start to its end: cluster, preflight, plan, clean-up."""
