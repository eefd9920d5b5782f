"""What stands in the form of a job, and what is meant by it."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from attrs import evolve, frozen
from attrs import field as attribute

from backapp_core.engine.configure import JobWish, repository_id_of
from backapp_core.errors import InputError
from backapp_core.model.jobs import Job
from backapp_core.model.names import from_text, to_text, without_trailing_blanks
from backapp_core.model.schedules import Schedule
from backapp_web.dashboard.forms import field, lines

_MIB = 1 << 20
_MOST_MIB = 2**33
_OWN_SETTINGS = ("excludes", "exclude_caches", "one_file_system", "exclude_larger_than_bytes")


@frozen
class JobForm:
    """What somebody typed; any text at all."""

    name: str = ""
    repository: str = ""
    """Id of the repository."""
    roots: str = ""
    """One per line."""
    excludes: str = ""
    """Patterns, one per line as in a file of patterns: blanks at the end do not count, unless a
    backslash stands before them; those at the beginning do."""
    former_excludes: tuple[str, ...] = ()
    """Those of the job that is changed; kept to the letter where the form shows them unchanged."""
    larger_mib: str = ""
    """From which size on files are left out; empty: none."""
    schedule: str = ""
    """Empty: runs only when asked to."""
    time_zone: str = "UTC"
    tags: str = ""
    """With commas in between."""
    exclude_caches: bool = True
    one_file_system: bool = False
    is_enabled: bool = True
    other_settings: Mapping[str, object] = attribute(factory=dict[str, object])
    """Settings of the scanner that the form does not show, and keeps."""

    @classmethod
    def of(cls, form: Mapping[str, Any], former: Job | None = None) -> "JobForm":
        """Read what a browser sent.

        Raises:
            InputError: If it holds what nobody can type.
        """
        typed = cls(
            name=field(form, "name"),
            repository=field(form, "repository"),
            roots=field(form, "roots"),
            excludes=field(form, "excludes"),
            larger_mib=field(form, "larger_mib"),
            schedule=field(form, "schedule"),
            time_zone=field(form, "time_zone"),
            tags=field(form, "tags"),
            exclude_caches=bool(field(form, "exclude_caches")),
            one_file_system=bool(field(form, "one_file_system")),
            is_enabled=bool(field(form, "is_enabled")),
        )
        return typed if former is None else typed.for_job(former)

    @classmethod
    def showing(cls, job: Job) -> "JobForm":
        """Return the form filled in with a job."""
        settings = job.scanner_settings
        larger = settings.get("exclude_larger_than_bytes")
        typed = cls(
            repository=repository_id_of(job),
            roots="\n".join(map(_line_of, job.roots)),
            excludes=_shown_patterns(_patterns_of(job)),
            larger_mib=repr(larger / _MIB).removesuffix(".0") if isinstance(larger, int) else "",
            schedule=job.schedule.expression if job.schedule else "",
            time_zone=job.schedule.time_zone if job.schedule else "UTC",
            tags=", ".join(job.tags),
            exclude_caches=bool(settings.get("exclude_caches")),
            one_file_system=bool(settings.get("one_file_system")),
            is_enabled=job.is_enabled,
        )
        return typed.for_job(job)

    def for_job(self, job: Job) -> "JobForm":
        """Return the form as that of ``job``: its name stays, and what is not shown."""
        rest = {key: it for key, it in job.scanner_settings.items() if key not in _OWN_SETTINGS}
        former = _patterns_of(job)
        return evolve(self, name=job.name, other_settings=rest, former_excludes=former)

    @property
    def wished_schedule(self) -> Schedule | None:
        """The schedule that is meant, None for none."""
        expression = " ".join(self.schedule.split())
        zone = self.time_zone.strip() or "UTC"
        return Schedule(expression, zone) if expression else None

    def wish(self) -> tuple[JobWish, dict[str, list[str]]]:
        """Return what is meant, and what cannot be read, by field."""
        faults: dict[str, list[str]] = {}
        settings = dict(self.other_settings)
        patterns = _patterns_in(self.excludes)
        if patterns == _patterns_in(_shown_patterns(self.former_excludes)):
            patterns = self.former_excludes
        if patterns:
            settings["excludes"] = list(patterns)
        if self.larger_mib.strip():
            try:
                settings["exclude_larger_than_bytes"] = _bytes_of(self.larger_mib.strip())
            except InputError as error:
                faults["larger_mib"] = [error.message]
        for tick in ("exclude_caches", "one_file_system"):
            if getattr(self, tick):
                settings[tick] = True
        tags = (one.strip() for one in self.tags.split(","))
        wish = JobWish(
            name=self.name.strip(),
            repository=self.repository,
            roots=tuple(map(from_text, lines(self.roots))),
            scanner_settings=settings,
            schedule=self.wished_schedule,
            tags=tuple(sorted({one for one in tags if one})),
            is_enabled=self.is_enabled,
        )
        return wish, faults


def _line_of(path: bytes) -> str:
    """Return a path as a line of the form, which is read without the blanks around it."""
    text = to_text(path)
    bare = text.rstrip(" ")
    return bare + "\\x20" * (len(text) - len(bare))


def _patterns_of(job: Job) -> tuple[str, ...]:
    return tuple(map(str, cast("list[object]", job.scanner_settings.get("excludes", []))))


def _shown_patterns(patterns: Iterable[str]) -> str:
    return "\n".join(map(_line_of_pattern, patterns))


def _line_of_pattern(pattern: str) -> str:
    """Return a pattern as a line of the form, in which every blank at its end is meant."""
    bare = without_trailing_blanks(pattern)
    return bare + "".join(f"\\{blank}" for blank in pattern[len(bare) :])


def _patterns_in(text: str) -> tuple[str, ...]:
    # Not `splitlines`: names may hold what that takes for the end of a line.
    parts = text.replace("\r\n", "\n").split("\n")
    return tuple(filter(None, map(without_trailing_blanks, parts)))


def _bytes_of(mib: str) -> int:
    try:
        value = float(mib)
    except ValueError:
        value = -1.0
    if not 0 <= value < _MOST_MIB:
        raise InputError("write a number of MiB such as 500, or leave it empty")
    count = round(value * _MIB)
    if count < 1:
        raise InputError("that is less than a byte, and would leave every file out; write more")
    return count
