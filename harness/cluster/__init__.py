"""The cluster as the suite reaches it: API access, watching, objects, what a driver publishes."""
