"""What only some drivers have: a row's first word has the reference driver offer it."""

CAUGHT = (
    ("shares-a-gpu,ends-all-shares", "ALLOC-040", "container cannot start: "),
    ("shares-a-gpu,whole-gpu-for-a-share", "ALLOC-020", "container to start did not come within"),
    ("shares-a-gpu,one-too-many", "ALLOC-021", "; allocated: gpu-"),
    ("shares-a-gpu,counts-shares-up-only", "ALLOC-019", "container to start did not come within"),
    ("parts-of-a-gpu,whole-gpu-for-a-part", "ALLOC-041", "; allocated: gpu-2-part-0"),
    ("parts-of-a-gpu,in-parts-for-ever", "ALLOC-023", "container to start did not come within"),
    ("attaches-a-gpu,never-attached", "ALLOC-032", "binding conditions to be met did not come"),
    ("names-the-alternative", "ALLOC-013", "the container has no device; of request "),
    (
        "ignores-parameters-for-all-alternatives",
        "ALLOC-014",
        "parameters red have no effect: there is no variable",
    ),
    ("owns-by-admin-access", "ALLOC-026", "container to start did not come within"),
    ("takes-over-by-admin-access", "ALLOC-050", "container cannot start: "),
    ("holds-by-admin-access", "ALLOC-051", "container to start did not come within"),
    ("ends-by-admin-access", "ALLOC-052", "container cannot start: "),
    ("refuses-extended-resources", "ALLOC-027", "container to start did not come within"),
    ("keeps-extended-resources", "ALLOC-053", "the end of 1 pod"),
    ("refuses-tolerated-devices", "ALLOC-045", "the tolerant's container to start did not come"),
    ("keeps-tolerated-devices", "ALLOC-046", "the end of 1 pod did not come within"),
    ("forgets-tolerated-devices", "ALLOC-047", "the barred's container to start did not come"),
    ("health-of-one-device", "HLTH-001", "of 2 devices of a pod, the health of "),
    ("no-health-after-restart", "HLTH-002", "is unknown after the driver's restart"),
    ("health-at-the-start-only", "HLTH-003", "known only when the driver has just started"),
)
