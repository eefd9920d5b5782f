"""Remembers whom a repository was sealed to, and notices when that changes.

The description of a repository is not sealed. Whoever can write at its address could put another
recipient into it, and the next backup would be sealed to that one. So this machine keeps what it
saw first, and refuses anything else.
"""

import os
import tempfile
from hashlib import sha256
from pathlib import Path

import msgspec

from backapp_core.plugin_api import DamagedRepository, Level, LogLine, Surroundings, to_line
from backapp_plugins.archivers.targz.layout import Config


class _Pin(msgspec.Struct, frozen=True):
    address: str
    id: str
    recipients: tuple[str, ...]


def remember(address: str, config: Config, surroundings: Surroundings) -> None:
    """Keep what the repository at ``address`` says, in the place of what was kept before.

    A state folder that cannot be written is reported; only this protection is lost by it.
    """
    path = _path(address, surroundings)
    data = msgspec.json.encode(_Pin(to_line(address), config.id, config.recipients))
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        text = (
            f"the recipients of {address} cannot be remembered in {path.parent}: {error.strerror}"
        )
        surroundings.events(LogLine(Level.WARNING, text))


def require_same(address: str, config: Config, surroundings: Surroundings) -> None:
    """Compare with what was kept, and keep it if nothing was.

    Raises:
        DamagedRepository: If this machine knew other recipients there.
    """
    path = _path(address, surroundings)
    try:
        known = msgspec.json.decode(path.read_bytes(), type=_Pin)
    except FileNotFoundError:
        known = None
    except (OSError, msgspec.MsgspecError) as error:
        text = f"what is remembered of {address} in {path} cannot be read: {error}"
        surroundings.events(LogLine(Level.WARNING, text))
        known = None
    if known is None or (not known.recipients and known.id != config.id):
        remember(address, config, surroundings)
    elif known.recipients != config.recipients:
        raise DamagedRepository(
            f"the repository at {address} is no longer sealed to the recipients that this machine "
            f"knows, so somebody may have changed it; if that was you, delete {path}"
        )


def _path(address: str, surroundings: Surroundings) -> Path:
    name = sha256(address.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return surroundings.state_folder / "targz" / f"{name}.json"
