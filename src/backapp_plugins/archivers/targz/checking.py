"""Looks whether everything that snapshots need is there, and on request reads every byte of it."""

from hashlib import sha256
from typing import final

from backapp_core.plugin_api import (
    CheckReport,
    DamagedRepository,
    DataSubset,
    Finding,
    Node,
    ObjectMissing,
    Progress,
    Severity,
    Verb,
    WrongPassword,
    to_text,
)
from backapp_plugins.archivers.targz import layout
from backapp_plugins.archivers.targz.layout import Record, StoredObject
from backapp_plugins.archivers.targz.place import Place
from backapp_plugins.archivers.targz.restoring import SnapshotReader


@final
class Check:
    """One look through a repository."""

    def __init__(self, place: Place, subset: DataSubset | None) -> None:
        """Look at ``place``, and read the archives that are in ``subset``."""
        self._place = place
        self._subset = subset
        self._skipped: set[str] = set()
        self._findings: list[Finding] = []
        self._read_bytes = 0
        self._objects = 0
        self._there: dict[str, int] = {}

    def run(self) -> CheckReport:
        """Look at everything and say what was found."""
        for prefix in (layout.MANIFESTS, layout.ARCHIVES):
            self._there.update(
                (info.name, info.size_bytes) for info in self._place.transport.list(prefix)
            )
        records = self._readable_records()
        users: dict[str, list[str]] = {}
        for snapshot_id, record in records:
            for stored in (record.manifest, *record.archives):
                users.setdefault(stored.name, []).append(snapshot_id)
        sound = self._check_presence(records, users)
        if self._subset is not None:
            self._skip_the_rest(self._subset, sound)
            self._read_everything(records, users, sound)
            self._remember(users)
        self._note_leftovers(users)
        return CheckReport(
            snapshots=len(records),
            objects=self._objects,
            read_bytes=self._read_bytes,
            findings=tuple(self._findings),
        )

    def _readable_records(self) -> list[tuple[str, Record]]:
        records: list[tuple[str, Record]] = []
        for name in self._place.record_names():
            self._objects += 1
            try:
                records.append(self._place.read_record(name))
            except ObjectMissing:
                continue  # removed since it was listed
            except DamagedRepository as error:
                self._error(name, error.message)
        return sorted(records, key=lambda item: (item[1].taken_at, item[0]))

    def _check_presence(
        self, records: list[tuple[str, Record]], users: dict[str, list[str]]
    ) -> set[str]:
        sound: set[str] = set()
        seen: set[str] = set()
        for _, record in records:
            for stored in (record.manifest, *record.archives):
                if stored.name in seen:
                    continue
                seen.add(stored.name)
                self._objects += 1
                size = self._there.get(stored.name) or self._asked_for(stored.name)
                if size is None:
                    self._error(stored.name, f"{stored.name} is missing", users[stored.name])
                elif size != stored.size:
                    self._error(
                        stored.name,
                        f"{stored.name} has {size} bytes and not {stored.size}",
                        users[stored.name],
                    )
                else:
                    sound.add(stored.name)
        return sound

    def _asked_for(self, name: str) -> int | None:
        """Return the size of what the listing lacks: it may have been stored since."""
        try:
            size = self._place.transport.stat(name).size_bytes
        except ObjectMissing:
            return None
        self._there[name] = size
        return size

    def _read_everything(
        self, records: list[tuple[str, Record]], users: dict[str, list[str]], sound: set[str]
    ) -> None:
        done: set[str] = set()
        for snapshot_id, record in records:
            for stored in (record.manifest, *record.archives):
                if (
                    stored.name in sound
                    and stored.name not in self._skipped
                    and stored.name not in done
                    and not self._is_whole(stored, users[stored.name])
                ):
                    sound.discard(stored.name)
            # What is whole is unpacked once; of what is not, each snapshot's share is looked for.
            numbers = {
                ref.number
                for ref in record.archives
                if ref.name not in self._skipped and (ref.name not in done or ref.name not in sound)
            }
            done.update(stored.name for stored in (record.manifest, *record.archives))
            self._read_content(snapshot_id, record, numbers)

    def _skip_the_rest(self, subset: DataSubset, sound: set[str]) -> None:
        ids = {
            sha256(name.encode()).digest(): name
            for name in sound
            if name.startswith(layout.ARCHIVES)
        }
        chosen = subset.choose(
            {one: self._there[name] for one, name in ids.items()},
            self._place.surroundings.random_bytes,
        )
        self._skipped = {name for one, name in ids.items() if one not in chosen}

    def _remember(self, users: dict[str, list[str]]) -> None:
        named = {finding.object_name for finding in self._findings if finding.is_error}
        archives = {name for name in users if name.startswith(layout.ARCHIVES)}
        self._place.damage.update(damaged=archives & named, whole=archives - named - self._skipped)
        if archives & named:
            self._note("", "the next backup from this machine will be a full one")

    def _is_whole(self, stored: StoredObject, snapshot_ids: list[str]) -> bool:
        try:
            try:
                self._read_object(stored)
            except DamagedRepository:
                self._read_object(stored)  # one bad transfer is no damage
        except DamagedRepository as error:
            self._error(stored.name, error.message, snapshot_ids)
            return False
        return True

    def _read_object(self, stored: StoredObject) -> None:
        self._place.surroundings.cancel.check()
        for chunk in self._place.stored(stored):
            self._read_bytes += len(chunk)

    def _read_content(self, snapshot_id: str, record: Record, numbers: set[int]) -> None:
        """Decode a manifest, and every file in an archive that no earlier snapshot has led to.

        Raises:
            WrongPassword: If the given identities open nothing here.
        """
        names = {ref.number: ref.name for ref in record.archives}
        damaged: dict[int, list[bytes]] = {}
        try:
            damaged = self._damaged_files(record, numbers)
        except WrongPassword as error:
            if self._place.envelope.has_identities:
                raise
            text = f"only stored bytes were compared and nothing was unsealed: {error.message}"
            if not any(finding.message == text for finding in self._findings):
                self._note("", text)
        except DamagedRepository as error:
            self._error(record.manifest.name, error.message, [snapshot_id])
        for number, paths in damaged.items():
            name = names.get(number, record.manifest.name)
            self._findings.append(
                Finding(
                    Severity.ERROR,
                    name,
                    f"{name} no longer holds the content of {len(paths)} files, "
                    f"the first of them {to_text(paths[0])}",
                    (snapshot_id,),
                    tuple(paths),
                )
            )

    def _damaged_files(self, record: Record, numbers: set[int]) -> dict[int, list[bytes]]:
        """Return the files that do not come back, by archive; unknown archives count as asked."""
        known = {ref.number for ref in record.archives}
        damaged: dict[int, list[bytes]] = {}
        files = 0
        with SnapshotReader(self._place, record) as reader:
            for node, line in reader.lines():
                if line.at is None or (line.at[0] not in numbers and line.at[0] in known):
                    continue
                files += 1
                try:
                    reader.verify(line)
                except DamagedRepository:
                    damaged.setdefault(line.at[0], []).append(node.path)
                self._show(node, files)
        return damaged

    def _note_leftovers(self, users: dict[str, list[str]]) -> None:
        is_certain = not any(
            finding.is_error and finding.object_name.startswith(layout.SNAPSHOTS)
            for finding in self._findings
        )
        for name in sorted(self._there.keys() - users.keys()):
            if is_certain:
                self._note(name, f"{name} belongs to no snapshot; prune removes such leftovers")
            else:
                self._note(name, f"{name} belongs to no snapshot that can be read")

    def _show(self, node: Node, files: int) -> None:
        if files % 256 == 0:
            self._place.surroundings.cancel.check()
            self._place.surroundings.events(
                Progress(
                    Verb.CHECK, files_done=files, bytes_done=self._read_bytes, current=node.path
                )
            )

    def _error(self, name: str, message: str, snapshot_ids: list[str] | None = None) -> None:
        self._findings.append(Finding(Severity.ERROR, name, message, tuple(snapshot_ids or ())))

    def _note(self, name: str, message: str) -> None:
        self._findings.append(Finding(Severity.NOTE, name, message))
