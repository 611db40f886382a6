"""What several containers and pods have of the claims that they share."""

CAUGHT = (
    ("one-variable", "SHARE-006", "of its two claims the container has nothing of the "),
    (
        "refuses-generated-claims",
        "SHARE-007",
        "the first's container to start did not come within ",
    ),
    ("four-pods-a-claim", "SHARE-012", "'s container cannot start: StartError"),
    (
        "ends-with-its-first-pod",
        "SHARE-009",
        "the first's container cannot start again: CreateContainerError",
    ),
    ("nobody-joins-later", "SHARE-013", "the sixth's container cannot start: StartError"),
    ("one-life-a-claim", "SHARE-014", "the next's container cannot start: StartError"),
)
