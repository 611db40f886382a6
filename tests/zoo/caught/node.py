"""What a driver does when it, its kubelet or its slices are disturbed on a node."""

_STALE = "refuses-older-claims"
_REFUSED = "'s container to start did not come within 120 s"
_KEPT = "cannot-unprepare-after-restart"
_STAYS = "the end of 1 pod did not come within 60 s: pod/"
_MISSED = "the driver does not publish again what a ResourceSlice of "

CAUGHT = (
    (
        *("publishes-anew-after-restart", "SLICE-012"),
        "after a restart of the driver its ResourceSlice has generation ",
    ),
    (
        *("keeps-cdi-files-after-restart", "NODE-021"),
        "after its restart the driver keeps the CDI file of a claim that it prepared before",
    ),
    (
        *("forgets-at-upgrade", "UPG-001"),
        "after an upgrade the driver keeps the CDI file of a claim of the version before",
    ),
    ("removes-cdi-files-at-upgrade", "UPG-005", "the late's container cannot start: "),
    ("registers-once", "DISC-006", "the repeats" + _REFUSED),
    ("prepares-once", "NODE-003", "the repeats" + _REFUSED),
    (
        *("ignores-its-slices", "SLICE-014"),
        "the driver to publish devices of node-1 again, after a restart of the kubelet did not ",
    ),
    ("ignores-its-slices", "SLICE-015", _MISSED),
    ("overlooks-edits", "SLICE-037", _MISSED),
    (
        *("exchanges-names-after-restart", "SLICE-017"),
        "a restart of the driver gives devices other names: gpu-",
    ),
    ("trusts-its-record", "NODE-005", "the restored's container cannot start: "),
    ("serves-one-kubelet", "NODE-012", _STAYS + "ends-kubelet-restart is still there"),
    ("refuses-claims-of-before", "NODE-004", "the inherits" + _REFUSED),
    (
        *("hides-what-is-used-after-restart", "SLICE-036"),
        "the driver does not publish ",
    ),
    (_KEPT, "NODE-021", _STAYS + "ends-driver-restart is still there"),
    (_KEPT, "NODE-011", _STAYS + "ends-driver-killed is still there"),
    (_KEPT, "NODE-015", _STAYS + "dropped-driver-killed is still there"),
    (_KEPT, "NODE-022", _STAYS + "ends-driver-away is still there"),
    ("forgets-after-restart", "NODE-030", "the late's container cannot start: "),
    ("forgets-after-restart", "NODE-004", "the inherits's container cannot start: "),
    ("forgets-after-restart", "NODE-005", "the restored's container cannot start: "),
    (_STALE, "NODE-031", "the starts" + _REFUSED),
    (_STALE, "NODE-032", "the starts" + _REFUSED),
    (_STALE, "DISC-008", "the waits" + _REFUSED),
    (
        *("stumbles-over-sockets", "DISC-007"),
        "the return of the killed driver on node-1 did not come within ",
    ),
    ("prepares-slowly,refuses-what-was-cut-off", "NODE-001", "the cut" + _REFUSED),
    ("unprepare-after-restart-needs-the-claim", "NODE-033", "the next" + _REFUSED),
    ("writes-all-the-time", "SLICE-023", " was written "),
    (
        *("publishes-once", "DISC-008"),
        "the return of the restarted driver on node-1 did not come within ",
    ),
)
