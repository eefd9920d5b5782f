"""What can be chosen when a restic repository is created."""

from typing import Literal

from attrs import field, frozen, validators


@frozen
class ResticSettings:
    """Choices that hold for a repository's whole life."""

    chunker: Literal["fastcdc", "rabin"] = field(
        default="fastcdc", validator=validators.in_(("fastcdc", "rabin"))
    )
    """How files are cut: ``fastcdc`` is fastest; ``rabin`` cuts where restic does, so that files
    which restic backs up there, too, are stored once (faster with the extra ``rabin``)."""
    polynomial: str = ""
    """The ``chunker_polynomial`` of another repository, so that both cut files alike and copying
    between them sends what is in both no more; one at random if it is empty."""
