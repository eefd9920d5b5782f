"""The shape of the configuration, parsed from a mapping; the door reads the file."""

import re
from collections.abc import Mapping
from typing import Annotated

from attrs import field, frozen

from backapp_core.codec import Check, from_plain
from backapp_core.errors import InputError
from backapp_core.model.compressions import Compression
from backapp_core.model.quantities import seconds_of
from backapp_core.model.rates import Rate

_MOST_THREADS = 64
_MOST_SECONDS = 365 * 86400
_WEB_URL = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+")


def _is_line(value: str) -> bool:
    return not any(character in value for character in "\0\r\n")


_Line = Annotated[str, Check(_is_line, "must be one line of text")]
_Something = Annotated[
    str, Check(lambda value: bool(value) and _is_line(value), "must be one line and not empty")
]
_Threads = Annotated[
    int,
    Check(
        lambda value: 0 <= value <= _MOST_THREADS,
        f"must lie between 0 (as many as the machine has) and {_MOST_THREADS}",
    ),
]


@frozen
class RepositorySettings:
    """One repository and what opens it; the secrets themselves never stand here."""

    url: _Something
    """Its address: a path, a URL, or one of restic's forms."""
    password_file: _Line = ""
    """File that holds the password."""
    password_command: _Line = ""
    """Command that prints the password."""
    identity_files: tuple[_Something, ...] = ()
    """Files that hold age identities."""


@frozen
class PluginSettings:
    """What is done with installed plugins."""

    disabled: tuple[str, ...] = ()
    """Names of entry points that are not loaded, such as ``notifiers.webhook``."""


def _is_duration(value: float) -> bool:
    return 0 < value <= _MOST_SECONDS


_Seconds = Annotated[
    float, Check(_is_duration, "must be more than 0 and at most 31536000 (seconds of a year)")
]


def _is_stretch(value: str) -> bool:
    try:
        seconds_of(value)
    except InputError:
        return not value
    return True


_Stretch = Annotated[
    str, Check(_is_stretch, "must be a stretch of time of at most a year, such as 90s, 5m or 1h30m")
]
_WebUrl = Annotated[
    str,
    Check(
        lambda value: not value or bool(_WEB_URL.fullmatch(value)),
        "must begin with https:// or http:// and name a host and nothing behind it",
    ),
]


def _is_network(value: str) -> bool:
    from ipaddress import ip_network  # noqa: PLC0415  # most commands never ask

    try:
        ip_network(value)
    except ValueError:
        return False
    return True


_Network = Annotated[
    str,
    Check(
        _is_network,
        "must be an address such as 10.0.0.2 or a network such as 10.0.0.0/24, whose last bits"
        " are 0",
    ),
]


@frozen
class ServerSettings:
    """How `backapp serve` listens, and how long what it hands out counts."""

    listen: _Something = "127.0.0.1:8300"
    """Host and port."""
    tls_cert: _Line = ""
    """File with the certificate and those that lead to it, as PEM."""
    tls_key: _Line = ""
    """File with its private key, as PEM."""
    trusted_proxies: tuple[_Network, ...] = ()
    """Addresses or networks whose word on where a request comes from is taken."""
    public_url: _WebUrl = ""
    """What browsers and machines reach the server by; empty: where it listens."""
    buckets: Mapping[str, _Something] = field(factory=dict[str, _Something])
    """Addresses below which repositories may be made, by a short name; the keys stand elsewhere."""
    open_registration: bool = False
    """Whether anybody may make an account, which may only look until an administrator says so."""
    lease_seconds: _Seconds = 60.0
    """How long a run is left to a machine that says nothing more, at most."""
    alive_seconds: _Seconds = 90.0
    """How long a process is taken to be alive that says nothing more, at most."""
    idle_seconds: _Seconds = 1800.0
    """When somebody is signed out who does nothing."""
    session_seconds: _Seconds = 43200.0
    """When somebody is signed out in any case."""
    tick_seconds: _Seconds = 5.0
    """How often schedules are looked at."""


@frozen
class Settings:
    """Everything that a settings file may say; an empty one is fine."""

    repository: _Line = ""
    """Address or name of the repository that is meant when none is given."""
    password_file: _Line = ""
    """File that holds the password of repositories that have no table of their own."""
    password_command: _Line = ""
    """Command that prints it."""
    identity_files: tuple[_Something, ...] = ()
    """Files that hold age identities for them."""
    repositories: Mapping[str, RepositorySettings] = field(factory=dict[str, RepositorySettings])
    """Repositories by short name; a name may stand wherever an address may."""
    store: _Line = ""
    """URL of the store for jobs and runs; empty means a SQLite file in the state folder."""
    plugins: PluginSettings = PluginSettings()
    notifiers: Mapping[str, Mapping[str, object]] = field(factory=dict[str, Mapping[str, object]])
    """Notifiers by name of your choice; ``kind`` names the plugin's kind, the rest are its
    settings."""
    server: ServerSettings = ServerSettings()
    """What `backapp serve` goes by."""
    transports: Mapping[str, Mapping[str, object]] = field(factory=dict[str, Mapping[str, object]])
    """What addresses cannot say, by the name of the transport's kind, such as ``s3``."""
    threads: _Threads = 0
    """How many threads may compress and hash; 0 means as many as the machine has.

    A backup, a restore or a check may start as many further processes, a few at most; 1 means none.
    """
    compression: Compression = Compression.AUTO
    """How hard what is written is compressed: ``off``, ``fastest``, ``auto``, ``better``, ``max``.

    Repositories of tar.gz archives were created with a level of their own, which ``auto`` means.
    """
    retry_lock: _Stretch = ""
    """How long to wait for a repository that others have locked, such as ``5m`` or ``1h30m``; empty
    means not at all."""
    limit_upload: Rate = Rate()
    """How fast contents are sent to other machines, all together; folders are not limited."""
    limit_download: Rate = Rate()
    """How fast they are fetched."""
    cache_folder: _Line = ""
    """Empty means the place that the operating system has for caches."""
    state_folder: _Line = ""
    """Empty means the place that the operating system has for state."""

    @classmethod
    def parse(cls, data: Mapping[str, object], *, source: str = "settings") -> "Settings":
        """Make settings from plain data, such as what ``tomllib`` returns.

        Args:
            data: The plain data.
            source: What they are, for messages: ``settings file /etc/backapp.toml``.

        Raises:
            InvalidSettings: If anything does not fit; every fault is listed with its path.
        """
        return from_plain(data, cls, source=source) if data != {} else cls()

    def repository_at(self, name: str = "") -> RepositorySettings:
        """Return what is known of the repository called ``name``, or at that address.

        An empty name means the default one. What has no ``[repositories.NAME]`` is unlocked by what
        stands at the top of the file.

        Raises:
            InputError: If nothing is named and there is no default.
        """
        wanted = name or self.repository
        if wanted in self.repositories:
            return self.repositories[wanted]
        for known in self.repositories.values():
            if known.url == wanted:
                return known
        if not wanted:
            raise InputError(
                "no repository was named; use -r ADDRESS or set 'repository' in the settings file"
            )
        return RepositorySettings(
            wanted, self.password_file, self.password_command, self.identity_files
        )
