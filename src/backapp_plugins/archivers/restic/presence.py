"""Says whether a repository stands somewhere; light, since every command asks it of every place."""

from backapp_core.plugin_api import ObjectMissing, Transport
from backapp_plugins.archivers.restic.format.layout import CONFIG_NAME, KEYS, SNAPSHOTS, named_id


def recognises(transport: Transport) -> bool:
    """Say whether the description of a repository and a key that may open it stand there.

    Others keep an object ``config``, too; only here does a key stand beside it.
    """
    return has_config(transport) and has_any(transport, KEYS)


def lacks(transport: Transport) -> str:
    """Return what is missing of the ruins of a repository; nothing where none stood."""
    if has_any(transport, KEYS):
        return "" if recognises(transport) else CONFIG_NAME
    return KEYS if has_any(transport, SNAPSHOTS) else ""


def has_config(transport: Transport) -> bool:
    """Say whether an object stands where the description of a repository does."""
    try:
        transport.stat(CONFIG_NAME)
    except ObjectMissing:
        return False
    return True


def has_any(transport: Transport, folder: str) -> bool:
    """Say whether an object that is named by its hash stands in ``folder``."""
    return any(named_id(info.name) is not None for info in transport.list(folder))
