"""What a run may have to do in a cluster, as rights that RBAC can give, and nothing more.

This is the only list of them: preflight asks for each, ``--dra-plan`` prints the manifest, and a
test compares it with the requests that a run makes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path

import jinja2

from harness.cluster.kinds import (
    ACCESS_REVIEW,
    ACCESS_REVIEW_OF_OTHERS,
    CLAIM,
    CONFIG_MAP,
    DEVICE_CLASS,
    EVENT,
    LEASE,
    NAMESPACE,
    NODE,
    POD,
    POLICY,
    POLICY_BINDING,
    SLICE,
    SUBJECT_REVIEW,
    TAINT_RULE,
    Rule,
)
from harness.cluster.kube import Kube
from harness.verdict.finding import counted

ROLE = "dra-conformance"
REVIEWS_AT_A_TIME = 8
_ACCOUNT = "system:serviceaccount:"
_TEMPLATE = Path(__file__).with_name("rbac.yaml.j2")
_OF_OWN = ("create", "get", "list", "watch", "delete")


@dataclass(frozen=True)
class Right:
    """One verb of a rule, in one place."""

    verb: str
    rule: Rule
    namespace: str
    """Empty: in the whole cluster."""

    def __str__(self) -> str:
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.rule.resource}{where}"


READING = (
    Rule(SLICE, ("list", "watch"), "what drivers publish", anywhere=True),
    Rule(DEVICE_CLASS, ("list",), "what devices are asked for with", anywhere=True),
    Rule(CLAIM, ("list",), "which devices others hold", anywhere=True),
)
"""What every run reads."""

NODES = Rule(
    *(NODE, ("list", "watch"), "labels, taints, images and health of the nodes with devices"),
    anywhere=True,
    needed=False,
)
TAINT_RULES = Rule(
    TAINT_RULE, ("list",), "which devices are kept from claims", anywhere=True, needed=False
)
ALL_CLAIMS = Rule(
    CLAIM, ("watch",), "what others hold while the run goes on", anywhere=True, needed=False
)
DRIVER_PODS = Rule(POD, ("list",), "where the driver's pods are", anywhere=True, needed=False)
DRIVER_LOGS = Rule(
    *(POD, ("get",), "what the driver's pods say"), anywhere=True, subresource="log", needed=False
)
OF_THE_DRIVER = (
    Rule(
        ACCESS_REVIEW_OF_OTHERS,
        ("create",),
        "what the driver's account may do; a review is answered, not stored",
        anywhere=True,
        needed=False,
    ),
    *(
        Rule(kind, ("list",), "what confines the driver's account", anywhere=True, needed=False)
        for kind in (POLICY, POLICY_BINDING)
    ),
)

OBJECTS = (
    Rule(CLAIM, _OF_OWN, "the claims of the checks"),
    Rule(POD, _OF_OWN, "the pods of the checks"),
    Rule(POD, ("get",), "what the pods of the checks, and the driver's, say", subresource="log"),
    Rule(CONFIG_MAP, ("create", "get", "delete"), "what the pods of the checks are told"),
    Rule(EVENT, ("list", "watch"), "why a pod does not start"),
    Rule(LEASE, ("create", "get", "update"), "what says that the run lives"),
)
"""For runs that make pods."""

NAMESPACES = (
    Rule(NAMESPACE, _OF_OWN, "the run's own namespaces, and those left by others", anywhere=True),
)
"""For runs that make their namespaces."""

IN_NAMESPACE = (
    Rule(LEASE, ("delete",), "the end of the run, which owns its objects by it"),
    Rule(LEASE, ("list",), "what other runs left", needed=False),
)
"""For runs in a namespace that exists."""

LEFT_BY_OTHERS = (
    Rule(NAMESPACE, ("list",), "what other runs left", anywhere=True, needed=False),
    Rule(LEASE, ("get",), "whether these runs live", needed=False),
)
"""For runs that only read."""


def rules(
    *, creates: bool, namespace: str, selects_nodes: bool = False, used: Iterable[Rule] = ()
) -> tuple[Rule, ...]:
    """The rules of a run.

    Args:
        creates: whether it makes any objects.
        namespace: the one to work in; empty when the run makes its own.
        selects_nodes: whether it is to use nodes with certain labels only.
        used: what the verbs take that its scenarios use.
    """
    nodes = (Rule(NODE, ("list",), "which nodes to use", anywhere=True),) if selects_nodes else ()
    reading = (*READING, *nodes, NODES, *OF_THE_DRIVER)
    if creates and not namespace:
        # Its namespaces have no names yet, so what it may do there it may do everywhere.
        return (*reading, TAINT_RULES, *OBJECTS, *NAMESPACES, *used)
    beyond = (ALL_CLAIMS, DRIVER_PODS, DRIVER_LOGS)
    if creates:
        return (*reading, TAINT_RULES, *OBJECTS, *IN_NAMESPACE, *beyond, *used)
    return (*reading, *beyond, *(IN_NAMESPACE[1:] if namespace else LEFT_BY_OTHERS))


def rights(of: Iterable[Rule], namespace: str) -> Iterator[Right]:
    """Each right that rules give, once: as needed, if one of them needs it."""
    seen: set[tuple[str, str, str]] = set()
    for rule in sorted(of, key=attrgetter("needed"), reverse=True):
        where = "" if rule.anywhere else namespace
        for verb in rule.verbs:
            if (verb, rule.resource, where) not in seen:
                seen.add((verb, rule.resource, where))
                yield Right(verb, rule, where)


# Asking


def missing(kube: Kube, wanted: Iterable[Right]) -> list[Right]:
    """The rights that the user of this run does not have, as the API server sees it."""
    with ThreadPoolExecutor(REVIEWS_AT_A_TIME, thread_name_prefix="review") as pool:
        return list(filter(None, pool.map(partial(_missing, kube), wanted)))


def _missing(kube: Kube, right: Right) -> Right | None:
    """Answer the right if the user does not have it."""
    attributes = {
        "verb": right.verb,
        "group": right.rule.group,
        "resource": right.rule.kind.plural,
        "subresource": right.rule.subresource,
        "namespace": right.namespace,
    }
    asked = {"resourceAttributes": {key: text for key, text in attributes.items() if text}}
    return None if kube.review(ACCESS_REVIEW, asked).get("allowed") else right


def user(kube: Kube) -> str:
    """Who the API server takes this run for."""
    return str(kube.review(SUBJECT_REVIEW, {})["userInfo"].get("username", ""))


def named(lacking: list[Right]) -> str:
    """Missing rights in a line."""
    shown = ", ".join(map(str, lacking[:3]))
    return shown + (f" and {counted(len(lacking) - 3, 'more right')}" if len(lacking) > 3 else "")


# Giving


def manifest(of: Iterable[Rule], namespace: str, name: str = "") -> str:
    """The RBAC objects that give exactly these rights.

    Args:
        of: the rules.
        namespace: the one to work in; empty when the run makes its own.
        name: who gets the rights; empty when that is not known: then a comment says how.
    """
    cluster: list[Rule] = []
    local: list[Rule] = []
    for rule in of:
        (cluster if rule.anywhere or not namespace else local).append(rule)
    roles = [("ClusterRole", "", cluster), ("Role", namespace, local)]
    template = jinja2.Template(
        _TEMPLATE.read_text(encoding="utf-8"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    text: str = template.render(
        role=ROLE,
        roles=[role for role in roles if role[2]],
        name=name,
        quoted=json.dumps(name, ensure_ascii=False),
        account=name.removeprefix(_ACCOUNT).split(":") if name.startswith(_ACCOUNT) else None,
    )
    return text
