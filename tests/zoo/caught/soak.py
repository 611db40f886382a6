"""What shows only when claims come and go for long enough."""

OPTIONS = ("--dra-soak", "6m")
CAUGHT = (("full-after-fifty-claims", "STRESS-002", " cannot be claimed again after "),)
