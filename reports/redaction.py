"""Secrets taken out of texts that leave the machine; better a word too many than one too few."""

from __future__ import annotations

import re
from collections.abc import Sequence

GONE = "(redacted)"
_WORDS = (
    r"(?:passw(?:or)?d|passphrase|token|secret|credential|api[-_.]?key|access[-_.]?key"
    r"|private[-_.]?key|authorization|dockerconfig(?:json)?|(?:key|certificate|authority)-data"
    r"|tls\.(?:key|crt)|ca\.crt)"
)
_QUOTE = r"(?P<quote>(?P<nested>\\+)?[\"'])"
"""Of JSON and YAML, and of JSON within a string of JSON."""
_QUOTED = (
    r"(?(nested)(?:(?:\\\\)+(?P=quote)|(?!(?P=quote)).)*"
    r"|(?:\\.|(?P=quote){2}|(?!(?P=quote))[^\\])*)(?P=quote)"
)
_HARMLESS = r"(?:true|false|null|None|\d+(?:\.\d+)?)\b"
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)
_RULES: Sequence[tuple[re.Pattern[str], str]] = (
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"), GONE),
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE), rf"\1 {GONE}"),
    (re.compile(r"(://)[^/\s\"'@]+@"), rf"\1{GONE}@"),
    (
        re.compile(r"\b(?:AKIA[0-9A-Z]{16}|gh[pousr]_\w{20,}|glpat-[\w-]{20,}|nvapi-[\w-]{20,})"),
        GONE,
    ),
    # A variable of a container: its name stands before its value, in JSON and in YAML.
    (
        re.compile(
            rf"(?P<before>\bname\\*[\"']?\s*:\s*\\*[\"']?[\w.-]*{_WORDS}[\w.-]*\\*[\"']?,?\s*"
            rf"\\*[\"']?value\\*[\"']?\s*:\s*){_QUOTE}{_QUOTED}",
            re.IGNORECASE,
        ),
        rf"\g<before>\g<quote>{GONE}\g<quote>",
    ),
    (
        re.compile(
            rf"(?P<before>\bname:[ \t]*[\w.-]*{_WORDS}[\w.-]*\s+value:[ \t]*)[^\s\"'].*",
            re.IGNORECASE,
        ),
        rf"\g<before>{GONE}",
    ),
    # A field, or a variable with its value.
    (
        re.compile(
            rf"(?P<before>{_WORDS}[\w.-]*\\*[\"']?[ \t]*[:=][ \t]*){_QUOTE}{_QUOTED}",
            re.IGNORECASE,
        ),
        rf"\g<before>\g<quote>{GONE}\g<quote>",
    ),
    (
        re.compile(
            rf"(?P<before>{_WORDS}[\w.-]*[ \t]*=[ \t]*)(?!{_HARMLESS})"
            r"[^\s\"'\\\[\]{},()|>]+",
            re.IGNORECASE,
        ),
        rf"\g<before>{GONE}",
    ),
    (  # of YAML: to the end of the line, for there may be blanks in it
        re.compile(
            rf"(?P<before>{_WORDS}[\w.-]*[ \t]*:[ \t]+)(?!{_HARMLESS})"
            r"[^\s\"'\\\[\]{},()|>][^\"\\\n]*",
            re.IGNORECASE,
        ),
        rf"\g<before>{GONE}",
    ),
)


_HINTS = (
    *("passw", "passphrase", "token", "secret", "credential", "authorization", "dockerconfig"),
    *("-data", "tls.", "ca.crt", "bearer", "basic", "eyj", "akia", "glpat-", "nvapi-"),
    *(f"{what}{dash}key" for what in ("api", "access", "private") for dash in ("", "-", "_", ".")),
    *(f"gh{kind}_" for kind in "pousr"),
)
"""What a line has in it, in lower case, that a rule may be about: the rules are slow."""
_OF_EVERY_POD = "automountserviceaccounttoken"


def redacted(text: str) -> str:
    """Take tokens, keys, certificates, passwords and what is called so out of a text.

    JSON and YAML stay what they are.
    """
    if "-----BEGIN" in text:
        text = _PEM.sub(GONE, text)
    done: list[str] = []
    block: list[str] = []
    for line in text.split("\n"):
        suspect = _is_suspect(line)
        if suspect or (block and _is_suspect(block[-1])):  # a value may stand in the line below
            block.append(line)
            continue
        done += _without_secrets(block)
        block = []
        done.append(line)
    return "\n".join([*done, *_without_secrets(block)])


def _is_suspect(line: str) -> bool:
    lower = line.lower().replace(_OF_EVERY_POD, "")
    return ("://" in lower and "@" in lower) or any(hint in lower for hint in _HINTS)


def _without_secrets(lines: Sequence[str]) -> Sequence[str]:
    if not lines:
        return ()
    text = "\n".join(lines)
    for pattern, instead in _RULES:
        text = pattern.sub(instead, text)
    return (text,)
