"""The command `backapp serve`, which the command line finds by its entry point."""

from typing import TYPE_CHECKING, Protocol

import click

if TYPE_CHECKING:
    # Loaded when the command is run; its help does without.
    from backapp_core.settings import Settings


class _Output(Protocol):
    def line(self, text: str = "") -> None: ...

    def message(self, message_type: str, fields: dict[str, object]) -> None: ...

    def flush(self) -> None: ...


class _Invocation(Protocol):
    """What the command line hands to commands that come from elsewhere."""

    @property
    def settings(self) -> "Settings": ...

    @property
    def output(self) -> _Output: ...


@click.command(
    epilog="""\b
    Examples:
      backapp serve
      backapp serve --listen 0.0.0.0:8300 --tls-cert server.pem --tls-key server.key
      backapp serve --listen 10.0.0.5:8300 --trusted-proxy 10.0.0.2
    """,
)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    help="Where to listen; port 0 takes a free one. [127.0.0.1:8300]",
)
@click.option("--tls-cert", metavar="FILE", help="Certificate and those that lead to it, as PEM.")
@click.option("--tls-key", metavar="FILE", help="Private key of the certificate, as PEM.")
@click.option(
    "--trusted-proxy",
    metavar="ADDRESS",
    multiple=True,
    help="Address or network of a proxy that speaks TLS and says who asks (repeatable).",
)
@click.option(
    "--public-url",
    metavar="URL",
    help="What browsers and machines reach the server by, if not by where it listens.",
)
@click.pass_obj
def serve(
    invocation: _Invocation,
    *,
    listen: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    trusted_proxy: tuple[str, ...],
    public_url: str | None,
) -> int:
    """Serve the dashboard, and the interface for machines and programs.

    What is said here goes before the table [server] of the settings file. Stops cleanly when it is
    told to, by SIGTERM or Ctrl-C.
    """
    from backapp_web.serving import Listening, serving  # noqa: PLC0415  # nothing slow before help

    given = Listening(
        listen=listen or "",
        tls_cert=tls_cert or "",
        tls_key=tls_key or "",
        trusted_proxies=trusted_proxy,
        public_url=public_url or "",
    )

    def started(url: str, first_link: str) -> None:
        output = invocation.output
        output.message("serving", {"url": url, "first_link": first_link})
        output.line(f"serving at {url}")
        if first_link:
            output.line(f"make the first administrator within 15 minutes: {first_link}")
        output.flush()  # whoever started it may read through a pipe

    return serving(given.over(invocation.settings), started)
