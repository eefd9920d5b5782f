"""Tells people how a run ended, through the notifiers that the settings name."""

from collections.abc import Mapping, Sequence

from attrs import frozen

from backapp_core import processes
from backapp_core.codec import from_plain
from backapp_core.errors import DeliveryError, InvalidSettings
from backapp_core.events import Level, LogLine
from backapp_core.manager import PluginManager
from backapp_core.model.jobs import Job
from backapp_core.model.notifications import Notification, Urgency
from backapp_core.model.runs import Run, RunState
from backapp_core.ports.notifiers import Notifier
from backapp_core.ports.surroundings import Surroundings
from backapp_core.settings import Settings

_WAITS_SECONDS = (1.0, 5.0)
_OCCASIONS: Mapping[str, frozenset[Urgency]] = {
    "failure": frozenset({Urgency.FAILURE}),
    "warning": frozenset({Urgency.FAILURE, Urgency.WARNING}),
    "always": frozenset(Urgency),
}


@frozen
class Listener:
    """A notifier under the name that the settings give it."""

    name: str
    plugin: str
    """Which one it is of; to name whoever is to blame."""
    notifier: Notifier
    urgencies: frozenset[Urgency]
    """What it wants to hear of."""


def open_notifiers(
    plugins: PluginManager, surroundings: Surroundings, settings: Settings
) -> Sequence[Listener]:
    """Make all notifiers of the settings; connects to nothing.

    Raises:
        InvalidSettings: If one's settings are wrong; lists the faults of all.
        UnknownPlugin: If a kind is not installed.
    """
    faults: list[tuple[str, str]] = []
    listeners: list[Listener] = []
    for name, plain in settings.notifiers.items():
        try:
            listeners.append(_open(plugins, surroundings, name, plain))
        except InvalidSettings as error:
            faults += [(f"notifiers.{name}.{path}".rstrip("."), why) for path, why in error.faults]
    if faults:
        raise InvalidSettings("settings", faults)
    return listeners


def tell(surroundings: Surroundings, listeners: Sequence[Listener], job: Job, run: Run) -> None:
    """Deliver how ``run`` ended to all who want to hear it; a failure is a warning."""
    message = _message(surroundings, job, run)
    for listener in listeners:
        if message.urgency in listener.urgencies:
            _deliver(surroundings, listener, message)


def _open(
    plugins: PluginManager, surroundings: Surroundings, name: str, plain: Mapping[str, object]
) -> Listener:
    rest = dict(plain)
    kind_name = rest.pop("kind", None)
    occasion = rest.pop("when", "failure")
    if not isinstance(kind_name, str):
        known = ", ".join(sorted(one.kind.name for one in plugins.notifiers.offers))
        raise InvalidSettings(name, [("kind", f"must name a notifier; installed: {known}")])
    if not isinstance(occasion, str) or occasion not in _OCCASIONS:
        raise InvalidSettings(name, [("when", f"must be one of {', '.join(_OCCASIONS)}")])
    kind = plugins.notifiers.get(kind_name)
    plugin = next(one.plugin for one in plugins.notifiers.offers if one.kind.name == kind_name)
    notifier = kind.open(from_plain(rest, kind.settings, source=name), surroundings)
    return Listener(name, plugin, notifier, _OCCASIONS[occasion])


def _deliver(surroundings: Surroundings, listener: Listener, message: Notification) -> None:
    for wait_seconds in (*_WAITS_SECONDS, None):
        try:
            listener.notifier.deliver(message)
        except DeliveryError as error:
            if error.is_retryable and wait_seconds is not None:
                surroundings.clock.wait(wait_seconds)
                continue
            text = f"notifier '{listener.name}' did not deliver: {error.message}"
            surroundings.events(LogLine(Level.WARNING, text))
        except Exception as error:  # noqa: BLE001  # a stranger's code; others wait to be told
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            text = f"notifier '{listener.name}' (plugin '{listener.plugin}') misbehaved: {reason}"
            surroundings.events(LogLine(Level.WARNING, text))
        return


def _message(surroundings: Surroundings, job: Job, run: Run) -> Notification:
    urgency, ending = _ending(run)
    return Notification(
        id=surroundings.random_bytes(16).hex(),
        subject=f"backup '{job.name}' on {processes.host_name()} {ending}",
        text=_text(job, run),
        urgency=urgency,
        created_at=surroundings.clock.now(),
        facts=(
            ("job", job.name),
            ("machine", processes.host_name()),
            ("run", run.id),
            ("state", run.state.value),
            *((("snapshot", run.snapshot_id),) if run.snapshot_id else ()),
        ),
    )


def _ending(run: Run) -> tuple[Urgency, str]:
    if run.state is RunState.FAILED:
        return Urgency.FAILURE, "failed"
    if run.state is RunState.CANCELLED:
        return Urgency.WARNING, "was cancelled"
    if run.has_warnings:
        return Urgency.WARNING, "completed with warnings"
    return Urgency.INFO, "completed"


def _text(job: Job, run: Run) -> str:
    lines = [
        f"Job: {job.name}",
        f"Machine: {processes.host_name()}",
        f"Repository: {job.repository}",
        f"State: {run.state.value}",
    ]
    if run.error:
        lines.append(f"Error: {run.error}")
    if run.snapshot_id:
        lines.append(f"Snapshot: {run.snapshot_id}")
    if run.counts is not None:
        counts = run.counts
        lines.append(
            f"Files: {counts.files_new:,} new, {counts.files_changed:,} changed, "
            f"{counts.files_unmodified:,} unmodified; entries with problems: {counts.problems:,}"
        )
    if run.started_at and run.ended_at:
        lines.append(f"Started: {run.started_at.isoformat()}")
        lines.append(f"Ended: {run.ended_at.isoformat()}")
    return "\n".join(lines) + "\n"
