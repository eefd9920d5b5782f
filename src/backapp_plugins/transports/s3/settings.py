"""What a user says of S3: an address, and what ``[transports.s3]`` of a settings file may hold."""

from typing import Literal

from attrs import field, frozen

from backapp_plugins.transports.s3.address import S3Address


@frozen
class S3Options:
    """What applies to every address; what is empty is asked of the environment, as AWS's tools do.

    Secrets never stand here, only where they are.
    """

    endpoint: str = ""
    """``https://server:port`` for addresses that name no server."""
    region: str = ""
    """Of the bucket; empty means ``AWS_REGION`` and so on, and at last ``us-east-1``."""
    profile: str = ""
    """Name of a profile in ``~/.aws``, which may run a command for its keys."""
    access_key_id: str = ""
    """Name of the access key; goes with `secret_key_file`."""
    secret_key_file: str = field(default="", repr=False)
    """File that holds its secret, readable by its owner only."""
    addressing: Literal["auto", "path", "virtual"] = "auto"
    """Whether the bucket stands in the path or in the host name; ``auto`` means in the path of any
    server but Amazon's."""
    ca_bundle: str = ""
    """File of certificates that are trusted for the server."""


@frozen
class S3Settings:
    """Where, and how."""

    address: S3Address
    options: S3Options = S3Options()
