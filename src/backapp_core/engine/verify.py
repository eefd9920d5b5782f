"""Looks whether a repository is whole: what the archiver finds, and what this machine remembers."""

from attrs import evolve

from backapp_core.engine import watch
from backapp_core.engine.witness import Vanished
from backapp_core.model.repositories import CheckReport, Finding, Severity
from backapp_core.model.subsets import DataSubset
from backapp_core.ports.archivers import Repository
from backapp_core.ports.surroundings import Surroundings


def check(
    surroundings: Surroundings,
    repository: Repository,
    *,
    read_data: bool | DataSubset,
    accepts_missing: bool,
) -> CheckReport:
    """Check ``repository``; damage is returned as findings.

    A snapshot that was seen from this machine before and is gone is an error until it is accepted.

    Args:
        surroundings: Where the snapshots seen before are remembered.
        repository: What is checked.
        read_data: Whether every stored byte, or which share of the data, is read and verified.
        accepts_missing: Whether snapshots that are gone are reported one last time, as notes, and
            then no more.

    Raises:
        TransportError: If the destination fails.
        RunCancelled: If the run is asked to stop.
    """
    vanished = watch.compare(surroundings, repository, repository.snapshots())
    report = repository.check(read_data=read_data)
    if accepts_missing:
        watch.accept(surroundings, repository, vanished)
    severity = Severity.NOTE if accepts_missing else Severity.ERROR
    findings = tuple(_finding(one, severity) for one in vanished)
    return evolve(report, findings=(*report.findings, *findings))


def _finding(one: Vanished, severity: Severity) -> Finding:
    return Finding(
        severity,
        object_name="",
        message=f"snapshot {watch.describe(one)} was seen here before and is gone, "
        "and this machine did not remove it",
        snapshot_ids=(one.id,),
    )
