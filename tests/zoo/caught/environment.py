"""What is found of a driver whose devices are visible by variables of the environment."""

OPTIONS = ("--dra-visible-by", "env")
CAUGHT = (
    ("shows-the-first-gpu", "ISO-013", "two pods with claims of their own both have "),
    ("last-device-overwrites", "ISO-014", "two containers with requests of their own both have "),
)
