"""Runs a server from its settings until it is told to stop."""

import signal
import socket
import ssl
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen
from typing_extensions import override

from backapp_core.errors import InputError, PartMissing
from backapp_core.events import Event, LogLine
from backapp_core.model.names import to_line
from backapp_core.settings import Settings

try:
    import uvicorn

    from backapp_core.assembly import assemble_server
    from backapp_web.addresses import Place, check_place, listening, parse_place
    from backapp_web.app import create_app
    from backapp_web.head_requests import with_head
    from backapp_web.heads import BoundedHeads
except ImportError as error:
    raise PartMissing(
        f"a server needs the extra 'web', of which {error.name} is not installed; install it with"
        " pip install 'backapp[web]'"
    ) from error

if TYPE_CHECKING:
    from litestar import Litestar

_STOP_SECONDS = 10
"""How long what is under way may take when the server stops."""
_IDLE_SECONDS = 75
"""How long a connection is kept that nobody uses: machines ask every half minute over the same one,
and would begin with TLS anew each time."""
_LARGEST_MESSAGE_BYTES = 64 * 1024
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

Started = Callable[[str, str], None]
"""Is told the server's URL, and the link for the first administrator or nothing."""


@frozen
class Listening:
    """What the command line says of how to listen; what is empty is left to the settings."""

    listen: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    trusted_proxies: tuple[str, ...] = ()
    public_url: str = ""

    def over(self, settings: Settings) -> Settings:
        """Return settings in which this stands instead of what they said.

        Raises:
            InvalidSettings: If something cannot be used; every fault is listed.
        """
        said = {
            "listen": self.listen,
            "tls_cert": self.tls_cert,
            "tls_key": self.tls_key,
            "trusted_proxies": list(self.trusted_proxies),
            "public_url": self.public_url,
        }
        given = {name: value for name, value in said.items() if value}
        # Read as if it stood in a file, so that it is checked in the same way.
        checked = Settings.parse({"server": given}, source="the command line").server
        changes = {name: getattr(checked, name) for name in given}
        return evolve(settings, server=evolve(settings.server, **changes))


def serving(settings: Settings, started: Started) -> int:
    """Serve until SIGTERM or SIGINT, and return the exit code.

    Raises:
        InputError: If the server may not listen there, or TLS files cannot be used.
        InvalidSettings: If a bucket is named in which no repository could ever stand; lists all.
        StoreUnavailable: If the port is in use, or the database does not answer or is another
            server's.
        StoreTooNew: If a newer program wrote the database.
        PluginError: If a plugin is missing or breaks its contract.
    """
    place = parse_place(settings.server.listen)
    check_place(place, settings.server)
    _check_tls(settings)
    with ExitStack() as stack:
        taken = stack.enter_context(listening(place))
        server = stack.enter_context(assemble_server(settings, events=_say))
        server.check_buckets()
        stack.enter_context(server.hold_alone())
        url = settings.server.public_url or _url(place, taken, settings)
        token = server.first_link()
        link = f"{url}/join/{token}" if token else ""
        config = _config(create_app(server), settings)
        _Server(config, lambda: started(url, link)).run(sockets=[taken])
    return 0


class _Server(uvicorn.Server):
    """Says when it serves, and stops when it is told to."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._started = started

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # Not before: whoever hears of it may tell it to stop at once.
        self._started()

    @contextmanager
    @override
    def capture_signals(self) -> Generator[None]:
        # The library would raise the signal again at the end, as if nobody had dealt with it.
        before: dict[int, Any] = {one: signal.signal(one, self.handle_exit) for one in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _config(app: "Litestar", settings: Settings) -> uvicorn.Config:
    server = settings.server
    return uvicorn.Config(
        with_head(app),
        http=BoundedHeads,
        ws="websockets-sansio",
        ws_max_size=_LARGEST_MESSAGE_BYTES,
        lifespan="on",
        log_config=None,
        access_log=False,  # addresses hold tokens of invitations
        server_header=False,
        proxy_headers=bool(server.trusted_proxies),
        forwarded_allow_ips=list(server.trusted_proxies),
        ssl_certfile=server.tls_cert or None,
        ssl_keyfile=server.tls_key or None,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )


def _check_tls(settings: Settings) -> None:
    if not settings.server.tls_cert:
        return
    is_sealed = False

    def passphrase() -> bytes:
        nonlocal is_sealed
        is_sealed = True
        return b""

    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(settings.server.tls_cert, settings.server.tls_key, passphrase)
    except OSError as error:
        reason = error.strerror or str(error)
        if is_sealed:
            reason = "the key is sealed with a passphrase, which nobody can type for a server"
        elif isinstance(error, ssl.SSLError):
            reason = "they are no certificate and its key, each as PEM"
        raise InputError(
            f"the TLS files {settings.server.tls_cert} and {settings.server.tls_key} cannot be"
            f" used: {reason}"
        ) from error


def _url(place: Place, taken: socket.socket, settings: Settings) -> str:
    actual = evolve(place, port=taken.getsockname()[1])
    return f"{'https' if settings.server.tls_cert else 'http'}://{actual.text}"


def _say(event: Event) -> None:
    if isinstance(event, LogLine):
        sys.stderr.write(f"{event.level}: {to_line(event.text)}\n")
        sys.stderr.flush()
