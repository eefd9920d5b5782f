"""Connections to an SFTP server, lent to one user at a time.

An SSH connection carries several sessions, each good for one thread; servers allow ten of them
unless told otherwise. When all are lent, another connection is opened: nobody waits for a waiter.
"""

import contextlib
import logging
import threading
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from typing_extensions import override

from backapp_core.plugin_api import AccessRefused, PartMissing, TransportUnavailable
from backapp_plugins.transports.fsspec_url.sftp_address import SftpAddress

_SESSIONS_A_CONNECTION = 8
_TIMEOUT_SECONDS = 30.0
_KEEPALIVE_SECONDS = 30
_LOG_CHANNEL = "backapp_plugins.transports.sftp"

logging.getLogger(_LOG_CHANNEL).addHandler(logging.NullHandler())


@frozen
class SftpOptions:
    """What an address cannot say."""

    known_hosts: Path | None = None
    """Instead of ``~/.ssh/known_hosts`` and ``/etc/ssh/ssh_known_hosts``."""
    identity_file: Path | None = None
    """Instead of what the ssh agent, the ssh configuration and ``~/.ssh`` offer."""
    password: str | None = field(default=None, repr=False)


@define(eq=False)
class _Connection:
    client: Any
    idle: list[Any] = field(factory=list[Any])
    lent: int = 0

    @property
    def is_alive(self) -> bool:
        transport = self.client.get_transport()
        return transport is not None and bool(transport.is_active())


@frozen
class Lease:
    """One session, for one thread."""

    connection: _Connection
    session: Any


class SftpSessions:
    """Lends sessions; all methods may be called from any thread."""

    def __init__(self, address: SftpAddress, options: SftpOptions) -> None:
        """Remember where to; the first `take` connects."""
        self._address = address
        self._options = options
        self._lock = threading.Lock()
        self._connections: list[_Connection] = []

    def take(self) -> Lease:
        """Lend a session until it is given back.

        Raises:
            AccessRefused: If the server, or we, refuse.
            TransportUnavailable: If it cannot be reached.
            PartMissing: If paramiko is not installed.
        """
        with self._lock:
            self._drop_dead()
            for connection in self._connections:
                if connection.idle:
                    connection.lent += 1
                    return Lease(connection, connection.idle.pop())
            roomy = [one for one in self._connections if one.lent < _SESSIONS_A_CONNECTION][:1]
            for connection in roomy:
                connection.lent += 1
        for connection in roomy:
            with contextlib.suppress(TransportUnavailable):  # the server may allow fewer
                return Lease(connection, self._open_session(connection))
        connection = _Connection(self._connect(), lent=1)
        try:
            session = self._open_session(connection)
        except BaseException:
            connection.client.close()
            raise
        with self._lock:
            self._connections.append(connection)
        return Lease(connection, session)

    def give_back(self, lease: Lease, *, is_fine: bool) -> None:
        """Take a session back; if it is not fine, nobody else gets its connection either.

        A dead connection takes a while to be noticed, and the next caller should not be the one.
        """
        connection = lease.connection
        with self._lock:
            connection.lent -= 1
            if is_fine:
                connection.idle.append(lease.session)
            elif connection in self._connections:
                self._connections.remove(connection)
            is_unused = connection not in self._connections and not connection.lent
        if not is_fine:
            # Saying goodbye fails where nobody listens any more, which is why it is given up.
            with contextlib.suppress(OSError, EOFError):
                lease.session.close()
        if is_unused:
            connection.client.close()

    def close(self) -> None:
        """Close every connection; the sessions that are lent break."""
        with self._lock:
            connections, self._connections = self._connections, []
        for connection in connections:
            connection.client.close()

    def _open_session(self, connection: _Connection) -> Any:
        from paramiko import SSHException  # type: ignore[import-untyped]  # ships no types

        try:
            session = connection.client.open_sftp()
        except (SSHException, EOFError, OSError, AttributeError) as error:
            with self._lock:
                connection.lent -= 1
            raise TransportUnavailable(
                f"'{self._address.text}' does not open another session: {error}"
            ) from error
        session.get_channel().settimeout(_TIMEOUT_SECONDS)
        return session

    def _drop_dead(self) -> None:
        for connection in [one for one in self._connections if not one.is_alive]:
            self._connections.remove(connection)
            connection.client.close()

    def _connect(self) -> Any:
        try:
            import paramiko
        except ImportError:
            raise PartMissing(
                f"'{self._address.text}' needs paramiko; pip install 'backapp[sftp]'"
            ) from None
        where = self._address.text
        client: Any = paramiko.SSHClient()
        client.set_log_channel(_LOG_CHANNEL)
        client.set_missing_host_key_policy(_refusing_policy())
        is_connected = False
        try:
            self._load_known_hosts(client)
            client.connect(**self._connect_arguments())
            client.get_transport().set_keepalive(_KEEPALIVE_SECONDS)
            is_connected = True
        except paramiko.BadHostKeyException as error:
            raise AccessRefused(
                f"'{where}' shows another host key than the one that is known; if that is right, "
                f"remove the old one with ssh-keygen -R '{error.hostname}'"
            ) from error
        except paramiko.AuthenticationException as error:
            raise AccessRefused(f"'{where}' does not let us in: {error}") from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise TransportUnavailable(f"'{where}' cannot be reached: {error}") from error
        finally:
            if not is_connected:
                client.close()
        return client

    def _load_known_hosts(self, client: Any) -> None:
        if self._options.known_hosts is not None:
            client.load_system_host_keys(str(self._options.known_hosts))
            return
        client.load_system_host_keys()
        for_all = Path("/etc/ssh/ssh_known_hosts")
        if for_all.exists():
            client.load_system_host_keys(str(for_all))

    def _connect_arguments(self) -> dict[str, Any]:
        """Say how to connect: the address first, then the user's ssh configuration."""
        address, options = self._address, self._options
        configured = _ssh_configuration(address.host)
        identities = [str(options.identity_file)] if options.identity_file else None
        return {
            "hostname": configured.get("hostname", address.host),
            "port": address.port or int(configured.get("port", 22)),
            "username": address.user or configured.get("user"),
            "password": options.password or address.password,
            "key_filename": identities or configured.get("identityfile"),
            "allow_agent": identities is None,
            "look_for_keys": identities is None,
            "timeout": _TIMEOUT_SECONDS,
            "banner_timeout": _TIMEOUT_SECONDS,
            "auth_timeout": _TIMEOUT_SECONDS,
            "channel_timeout": _TIMEOUT_SECONDS,
        }


def _ssh_configuration(host: str) -> dict[str, Any]:
    from paramiko import SSHConfig

    path = Path("~/.ssh/config").expanduser()
    if not path.is_file():
        return {}
    found: dict[str, Any] = SSHConfig.from_path(str(path)).lookup(host)
    return found


def _refusing_policy() -> Any:
    from paramiko import MissingHostKeyPolicy

    class Refuse(MissingHostKeyPolicy):  # type: ignore[misc]  # ships no types
        """Takes no key on trust; fsspec's own class would take any."""

        @override
        def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:
            """Refuse.

            Raises:
                AccessRefused: Always.
            """
            del client
            bare, _, port = hostname.strip("[").partition("]:")
            scan = f"ssh-keyscan -p {port} {bare}" if port else f"ssh-keyscan {hostname}"
            raise AccessRefused(
                f"the key of host '{hostname}' ({key.get_name()} {key.fingerprint}) is not known; "
                f"compare it with the server's, then: {scan} >> ~/.ssh/known_hosts"
            )

    return Refuse()
