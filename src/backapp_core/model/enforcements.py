"""What a destination enforces of the requests that are signed for others."""

from attrs import asdict, frozen

_WORDS = {
    "create_only": "that an object is not replaced",
    "signed_length": "the length that was signed",
    "content_md5": "Content-MD5",
    "sha256_checksum": "the SHA-256 of the content",
}


@frozen
class Enforcement:
    """What was found out; each says whether a request that breaks it was refused.

    Where one is False, whoever signs must look at what was stored before relying on it.
    """

    create_only: bool
    """A second object under a name that is taken, though ``If-None-Match: *`` was signed."""
    signed_length: bool
    """A body that is longer or shorter than the length that was signed."""
    content_md5: bool
    """A body of the same length with another MD5 than was signed."""
    sha256_checksum: bool
    """A body of the same length with another SHA-256 than was signed."""

    @property
    def enforced(self) -> tuple[str, ...]:
        """What is enforced, in words for people."""
        return tuple(words for name, words in _WORDS.items() if asdict(self)[name])

    @property
    def ignored(self) -> tuple[str, ...]:
        """What is not enforced, in words for people."""
        return tuple(words for name, words in _WORDS.items() if not asdict(self)[name])
