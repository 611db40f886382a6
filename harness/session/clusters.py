"""The cluster that a run works on: one that exists, or one of its own while it lasts."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from building.tree import EMBEDDED_RUN, WITH_THE_EMBEDDED
from harness.cluster.kube import ApiError, Kube, NoClusterError, UnreachableError
from harness.cluster.versions import GROUP, best
from harness.options import Options
from harness.scenario.run import ClusterInfo
from harness.verdict import causes
from harness.verdict.finding import Blame, Finding
from harness.verdict.outcome import Outcome, Result
from reports.words import as_text

COMPONENTS_LIVE = replace(
    Result.passed(
        "CLUSTER-001",
        "components_stay_alive",
        "cluster",
        "The embedded cluster's components MUST live as long as the run does.",
    ),
    judges_driver=False,
)
SERVER_STAYS = replace(
    Result.passed(
        "CLUSTER-002",
        "api_server_stays",
        "cluster",
        "The API server MUST answer, and know the run's user, as long as the run lasts.",
    ),
    judges_driver=False,
)


class Clusters:
    """Finds or starts the cluster that options ask for, and ends what it started."""

    def __init__(self, options: Options, run_id: str, on_loss: Callable[[], None]) -> None:
        """Nothing is asked of any cluster yet.

        Args:
            options: which cluster.
            run_id: what requests name as their sender.
            on_loss: called, by another thread, when the cluster is lost (`loss`).
        """
        self._options = options
        self._run_id = run_id
        self._on_loss = on_loss
        self._kube: Kube | None = None
        self._deaths: list[str] = []
        """What components of the embedded cluster ended by themselves, and how."""
        self._terminal = -1
        """Where to say so; only with an embedded cluster."""
        self._until_the_end = ExitStack()

    def connect(self) -> tuple[Kube, ClusterInfo]:
        """A connection to the cluster, started if it is the run's own.

        Raises:
            NoClusterError: there is none, or it could not be started.
        """
        # It loads the official client, which takes half a second: most plans do without.
        from harness.cluster.kubeconfig import connect, from_kubeconfig  # noqa: PLC0415

        if self._options.cluster == "embedded":
            path, cluster = self._start_embedded()
            kube = from_kubeconfig([path], "", self._run_id)
        else:
            kube = connect(self._options.cluster, self._options.context, self._run_id)
            cluster = ClusterInfo(f"cluster {kube.server}", hardware="the cluster's", own=False)
        kube.return_seconds *= self._options.timeout_scale
        kube.on_loss = self._on_loss
        self._kube = kube
        return kube, cluster

    def describe(self) -> str:
        """Which cluster it would be, for a plan: at most its version and its API are asked for."""
        if self._options.cluster == "embedded":
            return "an embedded cluster of this run's own"
        try:
            kube, cluster = self.connect()
        except NoClusterError as error:
            return str(error)
        try:
            version = kube.document("/version")["gitVersion"]
            group = kube.document(f"/apis/{GROUP}")
        except (ApiError, UnreachableError) as error:
            return f"{cluster.description}: {error}"
        served = [str(entry["version"]) for entry in group.get("versions") or []]
        api = best(served) or f"no version that the suite can use ({', '.join(served)})"
        return f"{cluster.description}, Kubernetes {version}, {GROUP} {api}"

    def _start_embedded(self) -> tuple[Path, ClusterInfo]:
        """Start a cluster; answer its kubeconfig, and what it is."""
        try:
            # Only when asked for: the packages that it needs are not needed for other clusters.
            from building import errors, progress  # noqa: PLC0415
            from embedded import cluster, drivers, layout  # noqa: PLC0415
        except ImportError as error:
            raise NoClusterError(
                f"the embedded cluster needs packages that are not installed ({error});"
                f" {WITH_THE_EMBEDDED}"
            ) from error
        # While a check is made, pytest keeps what is written to itself.
        self._terminal = os.dup(sys.stdout.fileno())
        self._until_the_end.callback(os.close, self._terminal)
        asked = self._options.embedded
        called = asked.driver.split(",")[0]
        driver = drivers.DRIVERS[called]
        try:
            running = self._until_the_end.enter_context(
                cluster.running(asked, progress.Progress(), self._component_died)
            )
        except errors.UserError as error:
            raise NoClusterError(f"the embedded cluster cannot be started: {error}") from error
        return running.kubeconfig, ClusterInfo(
            description=running.description,
            hardware=running.hardware,
            own=True,
            image=running.workload_image,
            driver=driver.name,
            driver_version=drivers.version_of(called),
            next_image=running.next_image,
            volume_class=layout.VOLUMES,
            restart_kubelet=partial(cluster.restart_kubelet, running.name),
        )

    def _component_died(self, text: str) -> None:
        """Say so at once; called by a thread of the embedded cluster's."""
        self._deaths.append(text)
        os.write(self._terminal, as_text(f"\nDIED     {text}\n").encode())
        if self._kube is not None:
            self._kube.loss = text  # nobody waits for a server that may have gone with it
        self._on_loss()

    def loss(self) -> Result | None:
        """What ended the run, as a case of the report, if nothing more can be judged: no more.

        A component of the embedded cluster ended by itself, or the API server did not answer any
        more, or did not know the run.
        """
        if self._deaths:
            finding = Finding(
                head=f"the embedded cluster broke: {self._deaths[0].splitlines()[0]}",
                expected="a cluster that runs for as long as the run does",
                observed="\n".join(self._deaths),
                blame=Blame.CLUSTER,
                next="the same command again; if it dies again, the end of its log says why",
            )
            return COMPONENTS_LIVE.ended(Outcome.ERROR, finding)
        if self._kube is not None and self._kube.loss:
            said, seconds = self._kube.loss, self._kube.return_seconds
            expected = "the API server answers again, and knows the run's user"
            finding = Finding(
                head=said,
                expected=f"{expected}, within {seconds:g} s",
                observed=f"for {seconds:g} s nothing else than: {said}",
                blame=Blame.CLUSTER,
                next="see whether the API server runs and can be reached from here",
            )
            cause = causes.of_text(said)
            return SERVER_STAYS.ended(Outcome.ERROR, causes.because(cause, finding))
        return None

    def none_found(self, error: NoClusterError) -> Finding:
        """What to say where there is no cluster."""
        return Finding(
            head=str(error),
            expected="a cluster with a DRA driver",
            observed=error.detail or str(error),
            blame=Blame.CLUSTER,
            next="put right what the message names, and run the same command again"
            if self._options.cluster == "embedded"
            else f"`{EMBEDDED_RUN}` starts a cluster of its own on this machine, with simulated"
            " GPUs; for a cluster that exists set KUBECONFIG, or name a context with --dra-context",
        )

    def close(self) -> None:
        """End the cluster, if it was started here."""
        self._until_the_end.close()
