"""What must be so before the first check: each step a case of the report.

All steps that can be made are made, so that one run names all that is missing. First come the
steps that are read-only; those that create namespaces and pods of the run, to try what cannot be
read, are made when all of that is well.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

from harness.cluster.kube import ApiError, UnreachableError
from harness.session.preflight import creating, read_only
from harness.session.preflight.context import Context
from harness.verdict import causes
from harness.verdict.finding import Blame, Finding, FindingError, SkipKind, UnmetError, broken
from harness.verdict.outcome import PREFLIGHT_AREA, Outcome, Result

RIGHTS = "PF-09"


@dataclass(frozen=True)
class _Step:
    """One step; its function's docstring is the sentence, what it answers is advice."""

    id: str
    name: str
    make: Callable[[Context], Finding | None]
    after: tuple[str, ...] = ()
    """Steps without which this one says nothing."""


READ_ONLY = (
    _Step("PF-01", "api_server_answers", read_only.api),
    _Step("PF-14", "clocks_agree", read_only.clocks, ("PF-01",)),
    _Step("PF-02", "resource_api_is_served", read_only.resource_api, ("PF-01",)),
    _Step(RIGHTS, "rights_suffice", read_only.permissions, ("PF-01",)),
    _Step("PF-03", "driver_and_profile_are_known", read_only.driver, ("PF-02",)),
    _Step("PF-04", "device_class_exists", read_only.device_class, ("PF-03",)),
    _Step("PF-05", "pools_are_complete", read_only.complete_pools, ("PF-03",)),
    _Step("PF-06", "driver_publishes_devices", read_only.published_devices, ("PF-03",)),
    _Step("PF-07", "enough_devices_are_free", read_only.free_devices, ("PF-06",)),
    _Step("PF-11", "nothing_is_left_of_earlier_runs", read_only.leftovers, ("PF-01",)),
    _Step("PF-16", "no_other_run_is_at_work", read_only.others_at_work, ("PF-01",)),
    _Step("PF-13", "workload_image_is_named", read_only.image),
)
CREATING = (
    _Step("PF-10", "namespaces_admit_pods", creating.admission),
    _Step("PF-08", "device_class_matches_devices", creating.matching_class, ("PF-10",)),
    _Step("PF-15", "workload_image_can_be_pulled", creating.pulled_image, ("PF-10",)),
)


def preflight(context: Context) -> list[Result]:
    """Make every step; the run's subject is set when all went well.

    A step that needs an earlier one that failed is a skip that names it.
    """
    results: list[Result] = []
    for step in READ_ONLY:
        results.append(_made(step, context, _first(results, step.after), results))
    red = _first(results)
    if context.creates():
        for step in CREATING:
            results.append(_made(step, context, red or _first(results, step.after), results))
    if _first(results) is None:
        context.run.subject = context.subject()
    return results


def _made(step: _Step, context: Context, blocker: str | None, earlier: list[Result]) -> Result:
    began = time.monotonic()
    sentence = (step.make.__doc__ or "").strip()
    result = Result.passed(step.id, step.name, PREFLIGHT_AREA, sentence)
    if blocker is not None:
        return result.skipped(UnmetError(blocker, SkipKind.BLOCKED))
    try:
        advice = step.make(context)
        result = result if advice is None else result.ended(Outcome.PASS, advice)
    except FindingError as error:
        result = _failed(result, error.finding)
    except UnreachableError as error:
        finding = Finding(
            str(error),
            "the API server answers",
            str(error),
            Blame.CLUSTER,
            next="see whether the API server runs and can be reached from here",
        )
        result = _failed(result, finding)
    except ApiError as error:
        if error.status == 403 and _first(earlier, [RIGHTS]):
            return result.skipped(UnmetError(RIGHTS, SkipKind.BLOCKED))
        finding = causes.refusal(
            f"the API server refuses: {error}",
            "the request is allowed",
            error,
            "see what the message names; --dra-plan prints the rights that a run takes",
        )
        result = _failed(result, finding)
    except Exception as error:  # noqa: BLE001 - no object of a cluster ends a run without report
        result = _failed(result, broken("the step", error))
    return replace(result, seconds=time.monotonic() - began)


def _failed(result: Result, finding: Finding) -> Result:
    outcome = Outcome.FAIL if finding.blame is Blame.DRIVER else Outcome.ERROR
    return result.ended(outcome, finding)


def _first(results: Iterable[Result], among: Collection[str] | None = None) -> str | None:
    """The first step that did not pass, of some or of all."""
    for result in results:
        if result.outcome is not Outcome.PASS and (among is None or result.id in among):
            return result.id
    return None
