"""What a pod may do: as fields of the API, and in words."""

from __future__ import annotations

from dataclasses import fields, replace
from operator import attrgetter

import pytest

from harness.cluster.render import Manifests
from harness.scenario.pod_spec import EXAMPLE, RESTRICTED, PodSpec, Security, resting
from harness.session.session import MANIFESTS
from suites.cuda.security_matrix import ROWS_OF_A_GROUP, groups
from suites.cuda.security_rows import API, NOT_RESTRICTED, ROWS
from tests.harness.test_run import SUBJECT


def test_the_default_is_what_the_restricted_standard_wants() -> None:
    """Kubernetes' Pod Security Standards, profile restricted, and a read-only root besides."""
    assert RESTRICTED.of_pod() == {}
    assert RESTRICTED.of_container() == {
        "runAsUser": 1000,
        "runAsNonRoot": True,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert str(RESTRICTED) == "nothing"


@pytest.mark.parametrize(
    ("security", "pod"),
    [
        (Security(host_pid=True), {"hostPID": True}),
        (Security(host_ipc=True), {"hostIPC": True}),
        (Security(host_network=True), {"hostNetwork": True}),
        (Security(share_process_namespace=True), {"shareProcessNamespace": True}),
        (Security(user_namespace=True), {"hostUsers": False}),
    ],
    ids=str,
)
def test_namespaces_are_the_pods(security: Security, pod: dict[str, bool]) -> None:
    """Each is one field, and the container stays as it was."""
    assert security.of_pod() == pod
    assert security.of_container() == RESTRICTED.of_container()


@pytest.mark.parametrize("user", [None, 1000, 1001, 1002])
def test_a_row_of_two_users_has_two(user: int | None) -> None:
    """Whoever the run's own is."""
    rows = [row for row in ROWS if row.name.startswith("other-uid")]
    assert len(rows) == 2
    for row in rows:
        users = {one.of_container(user)["runAsUser"] for one in (row.exporter, row.importer)}
        assert len(users) == 2


@pytest.mark.parametrize(
    ("user", "security", "group"),
    [(1000, RESTRICTED, 1000), (1000, Security(uid=0), 0), (None, RESTRICTED, None)],
)
def test_a_volume_is_of_the_group_of_its_user(
    user: int | None, security: Security, group: int | None
) -> None:
    """Also where the user is the run's; where the cluster chooses the user, it does the group."""
    spec = PodSpec("pod", [resting("rest")], ["claim"], security=security, volume="volume")
    values = {"namespace": "team", **spec.values(replace(SUBJECT, user=user))}
    rendered = Manifests(MANIFESTS).one("pod.yaml.j2", values)["spec"]
    assert rendered.get("securityContext") == (None if group is None else {"fsGroup": group})


def test_capabilities_are_added_to_none() -> None:
    """All others are dropped."""
    context = Security(capabilities=("IPC_LOCK",), uid=0).of_container()
    assert context["capabilities"] == {"drop": ["ALL"], "add": ["IPC_LOCK"]}
    assert (context["runAsUser"], context["runAsNonRoot"]) == (0, False)


def test_the_original_example_is_privileged_and_drops_nothing() -> None:
    """What the API server refuses beside ``privileged`` is not asked for."""
    assert EXAMPLE.of_pod() == {"hostPID": True, "hostIPC": True}
    assert EXAMPLE.of_container() == {
        "runAsUser": 0,
        "runAsNonRoot": False,
        "readOnlyRootFilesystem": False,
        "privileged": True,
        "capabilities": {"add": ["IPC_LOCK"]},
    }
    assert str(EXAMPLE) == "hostPID, hostIPC, privileged, IPC_LOCK, uid 0"


def test_without_capabilities_privileged_is_alone() -> None:
    """No empty field."""
    context = Security(privileged=True, uid=0, read_only_root=False).of_container()
    assert "capabilities" not in context
    assert "allowPrivilegeEscalation" not in context


def test_every_setting_has_its_word() -> None:
    """Or two rows of the matrix would look the same."""
    others = {
        "uid": 0,
        "seccomp": "Unconfined",
        "capabilities": ("IPC_LOCK",),
        "read_only_root": False,
    }
    words = [
        str(Security(**{field.name: others.get(field.name, True)}))  # type: ignore[arg-type]
        for field in fields(Security)
    ]
    assert len(set(words)) == len(words)
    assert "nothing" not in words


def test_every_pod_that_must_be_refused_asks_for_something() -> None:
    """And every row of the restricted namespace for nothing that is refused there."""
    assert all(security != RESTRICTED for security in NOT_RESTRICTED.values())
    refused = {str(security) for security in NOT_RESTRICTED.values()}
    for row in ROWS:
        if row.standard == "restricted":
            assert not {str(row.exporter), str(row.importer)} & refused, row.name


def test_containers_of_a_pod_may_do_what_each_of_them_asks_for() -> None:
    """And all of them the rest: namespaces are the pod's."""
    plain, root = resting("plain"), replace(resting("root"), security=Security(uid=0))
    values = PodSpec("pod", [plain, root], ["claim"], security=Security(uid=7)).values(SUBJECT)
    assert [one["security"]["runAsUser"] for one in values["containers"]] == [7, 0]


def test_rows_whose_pods_have_the_same_fields_have_two_for_all_of_them() -> None:
    """In which no process can tell that others are there; every other row stays alone."""
    found = groups(ROWS)
    assert sorted(row.name for group in found for row in group) == sorted(row.name for row in ROWS)
    together = [group for group in found if len(group) > 1]
    assert together
    for group in together:
        assert len(group) <= ROWS_OF_A_GROUP
        for of_row in (attrgetter("exporter"), attrgetter("importer")):
            assert len({str(of_row(row).of_pod()) for row in group}) == 1
        for row in group:
            assert row.transport == API
            assert not row.exporter.share_process_namespace
            assert not row.importer.share_process_namespace
