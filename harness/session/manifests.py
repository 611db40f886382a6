"""The manifests as they would be created, for people to read and for ``kubectl apply``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from harness.cluster.anchor import lease_values
from harness.cluster.kinds import POD
from harness.cluster.profile import Profile
from harness.cluster.render import Manifests, admissible, merge_patch
from harness.options import OptionError, Options, flag
from harness.scenario import program
from harness.scenario.claim_spec import ClaimSpec, Request
from harness.scenario.evidence import REST
from harness.scenario.node_pods import KUBELET_VALUES, files_values
from harness.scenario.pod_spec import (
    EXAMPLE,
    FOLDER,
    POD_TEMPLATE,
    ContainerSpec,
    PodSpec,
    allocation_name,
)
from harness.scenario.run import RESTRICTED, Subject
from harness.scenario.steps import NODE_FOLDERS
from harness.scenario.taints import NO_SCHEDULE, rule_values

CLAIM = "shared-dual-gpus"
IMAGE = "IMAGE"
"""Stands for the workload's image where none is named."""
Values = Mapping[str, Any]


def shown(templates: Path, options: Options, profile: Profile | None) -> str:
    """Render the manifest that ``--dra-manifest`` names, with the options of this run.

    Args:
        templates: the folder of the templates.
        options: what was asked for.
        profile: the driver's, as far as the options tell.

    Raises:
        OptionError: there is no such manifest, or the driver is not known.
    """
    if profile is None:
        raise OptionError(
            f"{flag('manifest')} {options.manifest}: the driver is not known without a cluster; add"
            f" {flag('driver')} NAME or {flag('profile')}=FILE"
        )
    known = _examples(options, profile)
    if options.manifest not in known:
        raise OptionError(
            f"{flag('manifest')} {options.manifest}: there is none of this name; there are"
            f" {', '.join(sorted(known))}"
        )
    objects = []
    for template, values in known[options.manifest]:
        obj = Manifests(templates).one(template, values)
        if obj["kind"] == POD.name:
            obj = admissible(
                obj,
                tolerations=(),
                node_selector=options.node_selector,
                image_pull_secret=options.image_pull_secret,
            )
            obj = merge_patch(obj, options.pod_patch)
        objects.append(obj)
    text: str = yaml.safe_dump_all(objects, sort_keys=False, explicit_start=True)
    return text


def _examples(options: Options, profile: Profile) -> dict[str, Sequence[tuple[str, Values]]]:
    """Every manifest with the values of an example; the names are those of the templates."""
    namespace = {"namespace": options.namespace or "default"}
    subject = Subject(
        driver=next(iter(profile.drivers), profile.device_class),
        profile=profile,
        api_version="v1",
        image=options.named_image or IMAGE,
        slots={},
        program=program.config_map_of("RUN") if options.brings_program else "",
        shell=bool(options.shell_image),
        user=options.run_as,
    )
    two = ClaimSpec(CLAIM, [Request("gpu-1"), Request("gpu-2")])
    claim = {**namespace, **two.values(subject.driver, profile.device_class)}
    device_class = {
        "name": "dra-conformance-RUN-parameters",
        "spec": {"selectors": [{"cel": {"expression": f'device.driver == "{subject.driver}"'}}]},
    }
    device = (subject.driver, "NODE", "DEVICE")
    rule = rule_values("dra-conformance-RUN-taint", device, "RUN", NO_SCHEDULE)
    allocation = {**namespace, "name": allocation_name(CLAIM), "gpus": "GPU-1,GPU-2"}
    shared = [
        (POD_TEMPLATE, {**_sharing(role, command).values(subject), **namespace})
        for role, command in (("producer", "produce"), ("consumer", "consume"))
    ]
    rest = PodSpec("rest", [ContainerSpec(REST, [REST], waits=False)], [CLAIM])
    probe: Values = {
        **namespace,
        "name": "preflight",
        "image": subject.image,
        "tolerations": [],
        "node": "",
        "as_large_as_checks": False,
        "user": options.run_as,
        "command": program.does_nothing(shell=subject.shell),
        "privileged": False,
        "claim": CLAIM,
    }
    on_node = {**namespace, "name": "on-a-node", "node": "NODE", "image": subject.image}
    removal = {
        **on_node,
        "parent": str(NODE_FOLDERS),
        "command": ["rm", "-rf", "/parent/dra-conformance-RUN"],
    }
    brought = {**namespace, **program.values(program.config_map_of("RUN"), shell=subject.shell)}
    lease = lease_values("RUN", namespace["namespace"], None, time.time())
    return {
        "shared-claim": [
            *([(program.TEMPLATE, brought)] if options.brings_program else []),
            ("claim.yaml.j2", claim),
            ("allocation.yaml.j2", allocation),
            *shared,
        ],
        "claim": [("claim.yaml.j2", claim)],
        "claim-template": [("claim-template.yaml.j2", claim)],
        "device-class": [("device-class.yaml.j2", device_class)],
        "volume-claim": [
            ("volume-claim.yaml.j2", {**namespace, "name": "volume", "storage_class": ""})
        ],
        "taint-rule": [("taint-rule.yaml.j2", rule)],
        "pod": [(POD_TEMPLATE, {**rest.values(subject), **namespace})],
        "allocation": [("allocation.yaml.j2", allocation)],
        "namespace": [
            ("namespace.yaml.j2", {"name": "dra-conformance-RUN", "standard": RESTRICTED})
        ],
        "workload": [(program.TEMPLATE, brought)],
        "lease": [("lease.yaml.j2", lease)],
        "node-files": [("node-files.yaml.j2", {**on_node, **files_values(subject, "cdi")})],
        "node-root": [("node-root.yaml.j2", {**on_node, **KUBELET_VALUES})],
        "folder-removal": [("folder-removal.yaml.j2", removal)],
        "preflight/pod-class": [("preflight/pod-class.yaml.j2", probe)],
        "preflight/pod-image": [("preflight/pod-image.yaml.j2", probe)],
    }


def _sharing(role: str, command: str) -> PodSpec:
    """One of the two pods of the original example."""
    args = [command, "--nonce", "NONCE", "--folder", FOLDER]
    folder = NODE_FOLDERS / "dra-conformance-RUN"
    spec = ContainerSpec(role, args)
    return PodSpec(role, [spec], [CLAIM], security=EXAMPLE, host_folder=folder)
