"""What is installed."""

import click

from backapp_cli.grammar import Command
from backapp_cli.options import global_options
from backapp_cli.session import Session
from backapp_cli.show import table


@click.command(
    cls=Command,
    examples="""
        backapp plugins
        backapp plugins -v
    """,
)
@global_options
@click.pass_obj
def plugins(session: Session) -> None:
    """List the plugins that are installed.

    These are scanners, archivers, transports, schedulers, notifiers and stores. With -v, the
    options of each archiver that 'init -o' takes, and the addresses of each transport.
    """
    manager = session.engine.plugins
    rows: list[tuple[str, str, str, str]] = []
    for role in manager.roles:
        for offer in role.offers:
            session.output.message(
                "plugin",
                {
                    "role": role.name,
                    "name": offer.kind.name,
                    "plugin": offer.plugin,
                    "distribution": offer.distribution,
                    "details": _details(offer.kind),
                },
            )
            rows.append((role.name, offer.kind.name, offer.plugin, offer.distribution))
            if session.verbosity:
                rows.extend(("", f"  {detail}", "", "") for detail in _details(offer.kind))
    session.output.lines(table(("Role", "Name", "Plugin", "From"), rows))


def _details(kind: object) -> list[str]:
    from backapp_cli.archiver_options import described_options
    from backapp_core.ports.archivers import ArchiverKind
    from backapp_core.ports.store_kinds import StoreKind
    from backapp_core.ports.transports import TransportKind

    if isinstance(kind, ArchiverKind):
        return [f"-o {one}" for one in described_options(kind.settings)]
    if isinstance(kind, TransportKind | StoreKind):
        shown = {"": "a path", "*": "any other scheme"}
        return [shown.get(scheme, f"{scheme}:") for scheme in sorted(kind.schemes)]
    return []
