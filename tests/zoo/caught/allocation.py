"""Which devices a claim is allocated, and that its containers have those."""

CAUGHT = (
    ("last-device-overwrites", "ALLOC-004", "; allocated: gpu-"),
    ("refuses-devices-that-match", "ALLOC-011", "container to start did not come within"),
    ("refuses-devices-that-differ", "ALLOC-012", "container to start did not come within"),
    ("two-devices-at-most", "ALLOC-006", "; allocated: 4 devices"),
    ("first-claim-for-all", "ALLOC-005", "; allocated: gpu-"),
    ("uuid-of-the-next-gpu", "ALLOC-007", "; allocated: gpu-"),
    ("one-too-many", "ALLOC-007", "; allocated: gpu-"),
    ("another-product-name", "ALLOC-008", "has another product than it was chosen by: NVIDIA H100"),
    ("later-version", "ALLOC-009", "has another version than it was chosen by: 580.159.04"),
    ("twice-the-memory", "ALLOC-010", "has another memory than it was chosen by: "),
    ("label-in-capitals", "ALLOC-031", "parameters red have no effect: there is no variable"),
    (
        "last-parameters-overwrite",
        "ALLOC-016",
        "parameters red have no effect: there is no variable",
    ),
    ("ignores-unknown-fields", "NEG-008", "a claim with parameters unknown-field was prepared"),
    ("heeds-parameters-for-others", "NEG-011", "container to start did not come within"),
    ("dies-of-parameters", "NEG-014", "the driver was gone when it was given parameters"),
    ("refuses-without-a-reason", "NEG-015", "the refusal of parameters of-another-driver does not"),
    (
        "ignores-class-parameters",
        "ALLOC-015",
        "parameters red have no effect: there is no variable",
    ),
    ("refuses-generated-claims", "ALLOC-033", "container to start did not come within"),
    ("refuses-generated-claims", "ALLOC-037", "container to start did not come within"),
    ("refuses-long-names", "ALLOC-035", "container to start did not come within"),
    ("refuses-long-names", "ALLOC-037", "container to start did not come within"),
    ("keeps-time-slices", "ALLOC-029", "parameters long-time-slices stay when their claim is gone"),
)
