"""Jobs and Deployments: pods that controllers make, each with a claim of its own."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from harness.cluster.anchor import RUN_LABEL
from harness.cluster.kinds import DEPLOYMENT, JOB, POD, Kind, Object, Rule, has_labels, name_of
from harness.scenario.evidence import Claim, Container
from harness.scenario.pod_spec import POD_TEMPLATE, ContainerSpec, PodSpec
from harness.scenario.run import SCENARIO_LABEL
from harness.scenario.verbs import Needs, Verbs, needs
from harness.verdict.finding import Blame

if TYPE_CHECKING:
    from harness.scenario.steps import Steps

MADE_BY = "dra-conformance.io/made-by"
"""The label of pods that tells who made them."""
_VERBS = ("create", "get", "delete")


class Controllers(Verbs):
    """What makes pods of the run."""

    def __init__(self, steps: Steps, uses: Collection[Needs]) -> None:
        super().__init__(steps, uses)
        self._scenario = steps
        self._made: list[Object] = []

    @needs("", (), Rule(JOB, _VERBS, "the Jobs of the checks"))
    def job(self, spec: ContainerSpec, claim: Claim, completions: int) -> list[Container]:
        """Have a Job run pods to their end, one after another.

        Args:
            spec: what runs in each; it ends by itself.
            claim: generated, for each pod anew.
            completions: how many pods.

        Returns:
            The container of each pod, named after the Job and the pod's number from 1 on.
        """
        fields = {"completions": completions, "parallelism": 1, "backoffLimit": 0}
        job = self._make(JOB, spec, claim, "Never", **fields)
        return [self._pod(job, n, spec, claim) for n in range(1, completions + 1)]

    @needs("", (), Rule(DEPLOYMENT, _VERBS, "the Deployments of the checks"))
    def deployment(self, spec: ContainerSpec, claim: Claim, replicas: int) -> list[Container]:
        """Have a Deployment keep pods.

        Args:
            spec: what runs in each.
            claim: generated, for each pod anew.
            replicas: how many pods.

        Returns:
            The container of each pod, named after the Deployment and the pod's number from 1 on.
        """
        labels = {"matchLabels": {MADE_BY: self._steps.name}}
        fields = {"replicas": replicas, "selector": labels}
        made = self._make(DEPLOYMENT, spec, claim, "Always", **fields)
        return [self._pod(made, n, spec, claim) for n in range(1, replicas + 1)]

    def delete_all(self) -> None:
        """Delete what makes pods; the pods go with it, and no others come."""
        while self._made:
            self._steps.delete_object(self._made.pop())

    @staticmethod
    def makes(pod: Object) -> bool:
        """Whether a pod is made by a controller: who deletes such a pod gets another one."""
        return MADE_BY in (pod["metadata"].get("labels") or {})

    def _make(
        self, kind: Kind, spec: ContainerSpec, claim: Claim, restart: str, **fields: Any
    ) -> Object:
        steps, name = self._scenario, self._steps.name
        templates = {claim.call: claim.template}
        pod = PodSpec(name, [spec], [claim.call], templates=templates, restart=restart)
        values = {"namespace": steps.namespace, **steps.pod_values(pod)}
        shape = self._run.render(POD_TEMPLATE, values)
        labels = {RUN_LABEL: self._run.id, SCENARIO_LABEL: steps.name, MADE_BY: name}
        metadata = {**shape["metadata"], "labels": {**shape["metadata"]["labels"], **labels}}
        metadata = {key: metadata[key] for key in ("labels", "annotations")}
        made = self._steps.create_object(
            {
                "apiVersion": kind.api_version,
                "kind": kind.name,
                "metadata": {"name": name, "namespace": steps.namespace, "labels": dict(labels)},
                "spec": {**fields, "template": {"metadata": metadata, "spec": shape["spec"]}},
            }
        )
        self._made.append(made)
        return made

    def _pod(self, made: Object, number: int, spec: ContainerSpec, claim: Claim) -> Container:
        """Wait for a pod that a controller makes, and until it runs."""
        steps = self._scenario

        def created() -> Object | None:
            pods = self._run.observer.objects(POD, steps.namespace)
            mine = [one for one in pods if has_labels(one, {MADE_BY: name_of(made)})]
            taken = {
                one.pod["metadata"]["uid"] for one in steps.evidence.containers.values() if one.pod
            }
            return next((one for one in mine if one["metadata"]["uid"] not in taken), None)

        kind = str(made["kind"])
        pod = steps.wait(
            f"pod {number} of the {kind}",
            created,
            self._run.budgets.start,
            lambda: "there is none",
            Blame.CLUSTER,
            made,
        )
        its = claim if number == 1 else steps.generated_claim(f"{claim.call}-{number}", like=claim)
        its.call = claim.call
        container = Container(spec.role, spec.args, [its])
        steps.evidence.containers[f"{kind.lower()}-{number}"] = container
        container.pod = container.admitted.found(pod)
        steps.await_allocation(container)
        steps.await_start(container)
        steps.await_report(container)
        return container
