"""What a driver does when it, its kubelet or its slices are disturbed on a node."""

CAUGHT = (
    (
        *("publishes-anew-after-restart", "SLICE-012"),
        "after a restart of the driver its ResourceSlice has generation ",
    ),
    (
        *("keeps-cdi-files-after-restart", "NODE-021"),
        "after its restart the driver keeps the CDI file of a claim that it prepared before",
    ),
)
