"""The border to botocore, which boto3 stands on: its client, with retries and errors of ours.

Nothing else in this package knows the library; what it returns is untyped up to `Client.call`.
"""

import re
import threading
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen

from backapp_core.plugin_api import (
    AccessRefused,
    BackappError,
    InvalidSettings,
    PartMissing,
    SignedRequest,
    Surroundings,
    read_secret_file,
)
from backapp_plugins.transports.s3.address import is_endpoint
from backapp_plugins.transports.s3.faults import Refusal, Request, explanation
from backapp_plugins.transports.s3.pacing import slow_down
from backapp_plugins.transports.s3.patience import Patience
from backapp_plugins.transports.s3.settings import S3Options, S3Settings

_DEFAULT_REGION = "us-east-1"
_AMAZON = re.compile(r"https://s3(?:[.-](?P<region>[a-z]{2}(?:-[a-z]+)+-[0-9]))?\.amazonaws\.com")
_CONNECT_SECONDS = 10
_READ_SECONDS = 60
_SPARE_CONNECTIONS = 8
_SECTION = "[transports.s3]"
_making = threading.Lock()
"""Held while a client is made: the library adds to its descriptions while it reads them."""


@frozen
class Keys:
    """What signs requests."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(default="", repr=False)


class Client:
    """Calls one server about one bucket; may be used from any thread."""

    def __init__(self, session: Any, client: Any, settings: S3Settings, at: Surroundings) -> None:
        self.address = settings.address
        self._verify: Any = (
            settings.options.ca_bundle or session.get_config_variable("ca_bundle") or True
        )
        self.patience = Patience(at)
        self._session = session
        self._client = client
        self._clock = at.clock
        self.sip_bytes = at.line.download.sip_bytes
        """How much of an answer to read at once at most."""
        if at.line.upload.bytes_per_second is not None:
            slow_down(client, at)

    @property
    def server(self) -> str:
        """``https://host:port`` of whoever is asked."""
        return str(self._client.meta.endpoint_url)

    @property
    def region(self) -> str:
        """The region that requests are signed for."""
        return str(self._client.meta.region_name)

    @property
    def is_amazon(self) -> bool:
        """Whether the server is Amazon's."""
        return _is_amazon(self.server)

    def call(
        self, operation: str, *, key: str = "", tolerated: int = 0, **parameters: Any
    ) -> Mapping[str, Any]:
        """Call ``operation`` until it is answered; return nothing where ``tolerated`` is answered.

        ``parameters`` are those of the library; bucket and key are added. Faults that pass are
        waited for.

        Raises:
            BackappError: If it is refused, or not answered in the end (a `TransportError`), or if
                the run is asked to stop meanwhile (`RunCancelled`).
        """
        try:
            return self.patience.call(lambda: self.call_once(operation, key=key, **parameters))
        except BackappError:
            raise
        except Exception as error:
            if tolerated and Refusal.of(error).status == tolerated:
                return {}
            explained = self.explained(error, operation, key)
            raise explained from error

    def call_once(self, operation: str, *, key: str = "", **parameters: Any) -> Mapping[str, Any]:
        """Call ``operation`` once; what the library raises passes through."""
        named = {"Key": key} if key else {}
        answer: Mapping[str, Any] = getattr(self._client, operation)(
            Bucket=self.address.bucket, **named, **parameters
        )
        return answer

    def explained(self, error: Exception, operation: str, key: str) -> Exception:
        """Return what to raise instead of what the library raised about ``key``."""
        name = key.removeprefix(self.address.key_prefix)
        what = f"object '{name}' at '{self.address.text}'" if name else f"'{self.address.text}'"
        now = self._clock.now()
        return explanation(error, Request(operation, what, self.server, self.address.bucket, now))

    def keys(self) -> Keys:
        """Return what signs requests at this moment.

        Raises:
            AccessRefused: If there is nothing.
        """
        try:
            found = self._session.get_credentials()
            frozen_keys = found.get_frozen_credentials() if found is not None else None
        except Exception as error:
            explained = self.explained(error, "", "")
            raise explained from error
        if frozen_keys is None:
            raise AccessRefused(f"there are no keys to sign with for '{self.address.text}'")
        return Keys(frozen_keys.access_key, frozen_keys.secret_key, frozen_keys.token or "")

    def place_of(self, key: str) -> str:
        """Return the URL of ``key`` without a query; asks nobody."""
        try:
            url = self._client.generate_presigned_url(
                "head_object", Params={"Bucket": self.address.bucket, "Key": key}
            )
        except Exception as error:
            explained = self.explained(error, "", "")
            raise explained from error
        return str(url).partition("?")[0]

    def sender(self) -> Callable[[SignedRequest, bytes], int]:
        """Return what sends a signed request as a stranger would, and returns the status."""
        from botocore import awsrequest, httpsession, utils

        requests: Any = awsrequest
        sessions: Any = httpsession
        tools: Any = utils
        http = sessions.URLLib3Session(
            verify=self._verify, proxies=tools.get_environ_proxies(self.server)
        )

        def send(request: SignedRequest, body: bytes) -> int:
            headers = {**request.headers, "content-length": str(len(body))}
            raw = requests.AWSRequest(
                method=request.method, url=request.url, headers=headers, data=body
            )
            try:
                answer = self.patience.call(lambda: http.send(raw.prepare()))
            except BackappError:
                raise
            except Exception as error:  # noqa: BLE001  # whatever it is, it may name the URL, a secret
                explained = self.explained(error, "put_object", "")
                raise explained from None
            return int(answer.status_code)

        return send

    def close(self) -> None:
        """Give connections back; closing twice is fine."""
        self._client.close()


def connect(settings: S3Settings, surroundings: Surroundings) -> Client:
    """Make a client; nothing is asked of the server yet.

    Raises:
        AccessRefused: If the profile cannot be used, or the environment names no possible server.
        InputError: If options contradict one another, or the file with the secret key cannot be
            used.
        PartMissing: If boto3 is not installed.
    """
    try:
        # All that boto3 puts on top costs a quarter of a second to import.
        from botocore import session as sessions
        from botocore.exceptions import BotoCoreError
    except ImportError:
        raise PartMissing(
            f"'{settings.address.text}' needs boto3; pip install 'backapp[s3]'"
        ) from None
    options = settings.options
    _check_endpoint(options)
    keys = _keys_of(options)
    makers: Any = sessions
    kinds: Any = BotoCoreError
    try:
        # AWS_REGION is what most programs read; the library by itself knows the other one only.
        own = makers.Session(
            session_vars={"region": ("region", ["AWS_REGION", "AWS_DEFAULT_REGION"], None, None)},
            profile=options.profile or None,
        )
        if keys is not None:
            own.set_credentials(keys.access_key, keys.secret_key)
        with _making:
            own.register_component(
                "data_loader", _descriptions(own.get_config_variable("data_path"))
            )
            client = own.create_client("s3", **_arguments(settings, own, surroundings.threads))
    except (kinds, ValueError) as error:
        raise AccessRefused(_unusable(settings, _safe(error))) from error
    if not is_endpoint(client.meta.endpoint_url):
        raise AccessRefused(_unusable(settings, "they name a server that there cannot be"))
    return Client(own, client, settings, surroundings)


def _unusable(settings: S3Settings, reason: str) -> str:
    return (
        f"'{settings.address.text}' cannot be opened with the profile and environment for AWS: "
        f"{reason}"
    )


@cache
def _descriptions(folder: str | None) -> Any:
    """Return what reads the library's descriptions of services, and keeps them for all clients.

    Each client would read and keep its own, megabytes of JSON.
    """
    from botocore import loaders

    made: Any = loaders
    return made.create_loader(folder)


def _arguments(settings: S3Settings, session: Any, threads: int) -> Mapping[str, Any]:
    from botocore.config import Config

    made: Any = Config
    options = settings.options
    endpoint = settings.address.endpoint or options.endpoint
    amazon = _AMAZON.fullmatch(endpoint)
    region = options.region or (amazon and amazon["region"])
    style = options.addressing
    if style == "auto":
        is_elsewhere = amazon is None if endpoint else _is_elsewhere_by_environment(session)
        # Certificates are for one label before Amazon's name. What is not said outright is signed
        # for a name that serves one region only.
        is_path = is_elsewhere or "." in settings.address.bucket
        style = "path" if is_path else "virtual"
    config = made(
        signature_version="s3v4",
        retries={"total_max_attempts": 1, "mode": "standard"},  # see Patience
        max_pool_connections=2 * threads + _SPARE_CONNECTIONS,
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        tcp_keepalive=True,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": style},
    )
    return {
        "endpoint_url": endpoint if endpoint and amazon is None else None,
        "region_name": region or session.get_config_variable("region") or _DEFAULT_REGION,
        "verify": options.ca_bundle or None,
        "config": config,
    }


def _is_elsewhere_by_environment(session: Any) -> bool:
    """Say whether the environment or a profile names a server that is not Amazon's."""
    made = session.create_client("s3", region_name=_DEFAULT_REGION)
    return not _is_amazon(str(made.meta.endpoint_url))


def _is_amazon(url: str) -> bool:
    return (urlsplit(url).hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))


def _check_endpoint(options: S3Options) -> None:
    if options.endpoint and not is_endpoint(options.endpoint):
        # Not repeated: somebody may have put keys into it.
        reason = "must be https://server:port, with a port up to 65535 and without keys"
        raise InvalidSettings(_SECTION, [("endpoint", reason)])


def _keys_of(options: S3Options) -> Keys | None:
    if bool(options.access_key_id) != bool(options.secret_key_file):
        faults = [("", "access_key_id and secret_key_file go together; give both or neither")]
        raise InvalidSettings(_SECTION, faults)
    if not options.access_key_id:
        return None
    if options.profile:
        raise InvalidSettings(
            _SECTION, [("profile", "goes without access_key_id; the profile names keys itself")]
        )
    return Keys(options.access_key_id, read_secret_file(options.secret_key_file))


def _safe(error: Exception) -> str:
    """Return a vendor's sentence, which names profiles and variables, on one line."""
    return " ".join(str(error).split())[:200]
