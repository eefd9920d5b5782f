"""What this package offers to BackApp; the entry point names this module."""

from collections.abc import Sequence

from backapp_core.plugin_api import NotifierKind, TransportKind, hookimpl
from backapp_shelf.diary import DiarySettings, open_diary
from backapp_shelf.shelf import ShelfSettings, open_shelf, parse_shelf


@hookimpl
def backapp_transports() -> Sequence[TransportKind]:
    """Offer addresses such as ``shelf:/srv/backup.db``."""
    return [
        TransportKind(
            name="shelf",
            schemes=frozenset({"shelf"}),
            settings=ShelfSettings,
            parse=parse_shelf,
            open=open_shelf,
        )
    ]


@hookimpl
def backapp_notifiers() -> Sequence[NotifierKind]:
    """Offer the kind ``diary``."""
    return [NotifierKind(name="diary", settings=DiarySettings, open=open_diary)]
