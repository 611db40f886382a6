"""Writers of reports. They read a run's record, never the cluster."""
