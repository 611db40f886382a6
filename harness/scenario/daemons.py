"""What a driver starts for a claim, such as the control daemon of MPS: pods that come and go."""

from __future__ import annotations

from fnmatch import fnmatchcase
from http.client import FORBIDDEN

from harness.cluster.kinds import POD, Object, name_of, namespace_of
from harness.cluster.kube import ApiError
from harness.cluster.observe import LogFollower
from harness.scenario.verbs import Waiting
from harness.verdict.finding import Blame, SkipKind, UnmetError


class Daemons:
    """The pods that a driver starts for a claim, in the namespaces of its own."""

    def __init__(self, steps: Waiting, pattern: str) -> None:
        """Look for none yet.

        Args:
            steps: of the scenario.
            pattern: of their names.
        """
        self._steps = steps
        self._pattern = pattern
        self._logs: dict[str, LogFollower] = {}
        """By the names of the pods that were seen: the logs tell when they end."""

    def look(self) -> list[str]:
        """Name those that are there and are not about to go.

        Raises:
            UnmetError: the run may not list the pods.
        """
        try:
            found = self._listed()
        except ApiError as error:
            if error.status == FORBIDDEN:
                reason = "list pods of the whole cluster"
                raise UnmetError(reason, SkipKind.NOT_ALLOWED) from error
            raise
        run = self._steps.run
        for name in found.keys() - self._logs.keys():
            container = str(found[name]["spec"]["containers"][0]["name"])
            self._logs[name] = LogFollower(run.kube, run.observer, found[name], container)
        self._steps.step(f"pods called {self._pattern}: {', '.join(found) or 'none'}")
        return list(found)

    def _listed(self) -> dict[str, Object]:
        run, found = self._steps.run, list[Object]()
        for namespace in sorted({str(namespace_of(pod)) for pod in run.driver_pods()}):
            self._steps.script.do(f"kubectl --namespace {namespace} get pods")
            found += run.kube.list(POD, namespace)[0]
        return {
            name_of(pod): pod
            for pod in found
            if fnmatchcase(name_of(pod), self._pattern)
            and not pod["metadata"].get("deletionTimestamp")
        }

    def await_end(self) -> list[str]:
        """Wait until those that were seen have ended; answers those that are there then.

        Raises:
            UnmetError: it cannot be seen when they end.
        """
        logs = self._logs.values()
        self._steps.wait(
            f"the end of {' and '.join(self._logs)}",
            lambda: all(log.ended() for log in logs),
            self._steps.run.budgets.release,
            lambda: "its container runs",
            Blame.DRIVER,
            optional=True,
        )
        for log in logs:
            log.close()
            if log.trouble:
                raise UnmetError(f"the daemon's log cannot be followed: {log.trouble}")
        return self.look()
