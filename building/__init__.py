"""Everything that is fetched or built: once, from exact pins, into a cache that runs share."""
