"""What a server or the library refuses, as one sentence of ours, and whether asking again helps."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from attrs import field, frozen

from backapp_core.plugin_api import (
    AccessRefused,
    InvalidAddress,
    ObjectExists,
    ObjectMissing,
    StorageFull,
    TransferCut,
    TransportUnavailable,
)

_PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, 509})
_PASSING_CODES = frozenset(
    {
        "BadDigest",
        "ConditionalRequestConflict",
        "IncompleteBody",
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "TooManyRequestsException",
        "XAmzContentSHA256Mismatch",
    }
)
_FULL_CODES = frozenset(
    {"InsufficientStorage", "QuotaExceeded", "StorageFull", "XMinioStorageFull", "EntityTooLarge"}
)
_CUT_CODES = frozenset({"BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch"})
_REGION_CODES = frozenset(
    {
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "InvalidLocationConstraint",
        "PermanentRedirect",
    }
)
_CLOCK_CODES = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
_STORING = frozenset({"put_object", "create_multipart_upload"})
_LONGEST_CODE = 60

_PERMISSIONS = {
    "put_object": "s3:PutObject",
    "create_multipart_upload": "s3:PutObject",
    "upload_part": "s3:PutObject",
    "complete_multipart_upload": "s3:PutObject",
    "abort_multipart_upload": "s3:AbortMultipartUpload",
    "list_multipart_uploads": "s3:ListBucketMultipartUploads",
    "list_parts": "s3:ListMultipartUploadParts",
    "get_object": "s3:GetObject",
    "head_object": "s3:GetObject",
    "list_objects_v2": "s3:ListBucket",
    "delete_object": "s3:DeleteObject",
    "create_bucket": "s3:CreateBucket",
}


@frozen
class Request:
    """What was asked for, as far as messages need it."""

    operation: str
    """As the library calls it: ``put_object``."""
    what: str
    """``object 'x' at 's3://bucket'``, or the address alone."""
    server: str
    bucket: str
    now: datetime
    """What this machine's clock says."""


@frozen
class Refusal:
    """What the server answered, if it did; else everything is empty."""

    code: str = ""
    status: int = 0
    headers: Mapping[str, str] = field(factory=dict[str, str])

    @classmethod
    def of(cls, error: BaseException) -> "Refusal":
        """Read what the library made of an answer."""
        answer: Any = getattr(error, "response", None)
        if answer is None or "ResponseMetadata" not in answer:
            return cls()
        about = answer.get("ResponseMetadata", {})
        code = str(answer.get("Error", {}).get("Code", ""))[:_LONGEST_CODE]
        return cls(code, int(about.get("HTTPStatusCode", 0)), about.get("HTTPHeaders", {}))

    @property
    def is_passing(self) -> bool:
        """Whether the answer stands for a fault that passes; empty does not."""
        return self.code in _PASSING_CODES or (
            self.status in _PASSING_STATUSES and self.code not in _FULL_CODES
        )

    @property
    def wait_seconds(self) -> float:
        """How long the server asks to be left alone; 0 if it does not say."""
        said = self.headers.get("retry-after", "")
        return float(said) if re.fullmatch(r"[0-9]{1,4}", said) else 0.0


def is_passing(error: Exception) -> bool:
    """Say whether the same request may succeed a little later."""
    refusal = Refusal.of(error)
    if refusal.status:
        return refusal.is_passing
    names = _names(error)
    if "SSLError" in names:
        return not _is_distrust(error)
    return bool(
        names & {"HTTPClientError", "ConnectionError", "ResponseParserError", "IncompleteReadError"}
    )


def explanation(error: Exception, request: Request) -> Exception:
    """Return what to raise instead of what the library raised."""
    refusal = Refusal.of(error)
    if refusal.status:
        return _refused(refusal, request)
    return _not_answered(error, request)


def _refused(refusal: Refusal, request: Request) -> Exception:
    explain = _BY_CODE.get(refusal.code)
    if explain is not None:
        return explain(refusal, request)
    if refusal.code in _REGION_CODES:
        return _in_another_region(refusal, request)
    if refusal.code in _CLOCK_CODES:
        return _clock_is_wrong(refusal, request)
    if refusal.code in _CUT_CODES:
        return TransferCut(f"{request.what} did not arrive as it was sent ({refusal.code})")
    if refusal.code in _FULL_CODES or refusal.status == HTTPStatus.INSUFFICIENT_STORAGE:
        return StorageFull(f"there is no room for {request.what} ({refusal.code})")
    return _by_status(refusal, request)


def _by_status(refusal: Refusal, request: Request) -> Exception:
    said = refusal.code or "no reason given"
    if refusal.status == HTTPStatus.NOT_FOUND:
        return _missing(refusal, request)
    if refusal.status == HTTPStatus.PRECONDITION_FAILED:
        if request.operation in {"get_object", "upload_part"}:
            return TransferCut(f"{request.what} was replaced meanwhile")
        return ObjectExists(f"{request.what} exists already")
    if refusal.status in {401, 403}:
        return _no_permission(refusal, request)
    if refusal.is_passing:
        return TransportUnavailable(
            f"{request.server} is busy or out of order ({refusal.status} {said}); "
            f"{request.what} has to be tried again later"
        )
    return AccessRefused(f"{request.server} refuses {request.what} ({refusal.status} {said})")


def _missing(refusal: Refusal, request: Request) -> Exception:
    is_bucket = refusal.code == "NoSuchBucket"
    if request.operation in _STORING:
        gone = f": there is no bucket '{request.bucket}'" if is_bucket else ""
        return TransportUnavailable(f"{request.what} has no place, or it was not made ready{gone}")
    why = f": there is no bucket '{request.bucket}'" if is_bucket else ""
    return ObjectMissing(f"{request.what} does not exist{why}")


def _no_permission(refusal: Refusal, request: Request) -> Exception:
    permission = _PERMISSIONS.get(request.operation, request.operation)
    if not refusal.code or refusal.code.isdigit():  # a HEAD has no body to say more
        permission += " (or s3:ListBucket, if it does not exist)"
    return AccessRefused(
        f"{request.server} refuses {request.what}: these keys lack the permission {permission} "
        f"on bucket '{request.bucket}' ({refusal.code or refusal.status})"
    )


def _key_is_unknown(_refusal: Refusal, request: Request) -> Exception:
    return AccessRefused(
        f"{request.server} does not know the access key; check AWS_ACCESS_KEY_ID, the profile, "
        "or access_key_id in [transports.s3]"
    )


def _secret_is_wrong(_refusal: Refusal, request: Request) -> Exception:
    return AccessRefused(
        f"{request.server} finds the signature wrong: the secret key is not that of the access "
        "key, or something in between changes requests; check AWS_SECRET_ACCESS_KEY, the profile, "
        "or secret_key_file in [transports.s3]"
    )


def _token_is_old(_refusal: Refusal, request: Request) -> Exception:
    return AccessRefused(
        f"{request.server} does not take the session token, which has expired or belongs to other "
        "keys; renew AWS_SESSION_TOKEN or the profile's login"
    )


def _bucket_is_taken(_refusal: Refusal, request: Request) -> Exception:
    return AccessRefused(
        f"bucket '{request.bucket}' belongs to somebody else at {request.server}; "
        "choose another name"
    )


def _bucket_is_ours(_refusal: Refusal, request: Request) -> Exception:
    return ObjectExists(f"bucket '{request.bucket}' exists already")


def _bucket_name_is_bad(_refusal: Refusal, request: Request) -> Exception:
    return InvalidAddress(
        f"{request.server} takes no bucket called '{request.bucket}'; names have 3 to 63 lower "
        "case letters, digits and hyphens"
    )


def _is_archived(_refusal: Refusal, request: Request) -> Exception:
    return AccessRefused(
        f"{request.what} is in a storage class that has to be thawed first; "
        "restore it there, then try again"
    )


def _in_another_region(refusal: Refusal, request: Request) -> Exception:
    region = refusal.headers.get("x-amz-bucket-region", "")
    named = f"it is in '{region}'" if region else f"{request.server} says {refusal.code}"
    return AccessRefused(
        f"bucket '{request.bucket}' is not in the region that was asked ({named}); set AWS_REGION, "
        "or region in [transports.s3]"
    )


def _clock_is_wrong(refusal: Refusal, request: Request) -> Exception:
    ours = f"{request.now:%Y-%m-%d %H:%M} UTC"
    theirs = _server_time(refusal)
    said = f"; {request.server} says {theirs:%Y-%m-%d %H:%M} UTC" if theirs else ""
    return AccessRefused(
        f"this machine's clock is wrong, so that signatures are refused: it says {ours}{said}; "
        "set the clock"
    )


def _server_time(refusal: Refusal) -> datetime | None:
    try:
        return parsedate_to_datetime(refusal.headers.get("date", ""))
    except (TypeError, ValueError):
        return None


_BY_CODE: Mapping[str, Callable[[Refusal, Request], Exception]] = {
    "InvalidAccessKeyId": _key_is_unknown,
    "SignatureDoesNotMatch": _secret_is_wrong,
    "ExpiredToken": _token_is_old,
    "InvalidToken": _token_is_old,
    "BucketAlreadyExists": _bucket_is_taken,
    "BucketAlreadyOwnedByYou": _bucket_is_ours,
    "InvalidBucketName": _bucket_name_is_bad,
    "InvalidObjectState": _is_archived,
}


def _not_answered(error: Exception, request: Request) -> Exception:
    names = _names(error)
    said = str(error)
    if names & {"NoCredentialsError", "PartialCredentialsError"}:
        return AccessRefused(
            f"there are no keys for {request.server}; set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, a profile, or [transports.s3] in the settings file"
        )
    if names & {"CredentialRetrievalError", "SSOError", "TokenRetrievalError", "LoginError"}:
        return AccessRefused(f"the keys for {request.server} cannot be had from the profile")
    if "SSLError" in names:
        return _not_trusted(said, request)
    if "ParamValidationError" in names:
        return InvalidAddress(f"{request.what} cannot be asked for; check the bucket's name")
    if "ResponseParserError" in names:
        return TransportUnavailable(f"what answers at {request.server} does not speak S3")
    if names & {"ResponseStreamingError", "IncompleteReadError"}:
        return TransferCut(f"{request.what} came incompletely")
    return TransportUnavailable(f"{request.server} cannot be reached: {_reason(error, names)}")


def _not_trusted(said: str, request: Request) -> Exception:
    if "WRONG_VERSION_NUMBER" in said or "record layer failure" in said:
        return TransportUnavailable(
            f"{request.server} does not speak TLS; if it is meant to be asked without, "
            "write s3:http://"
        )
    if "CERTIFICATE_VERIFY_FAILED" not in said:
        return TransportUnavailable(f"the encrypted connection to {request.server} broke")
    match = re.search(r"certificate verify failed: ([^(\[]{1,100})", said)
    why = match[1].strip() if match else "its certificate cannot be verified"
    return AccessRefused(
        f"{request.server} is not trusted: {why}; if its certificate is your own, name the file "
        "of its authority in AWS_CA_BUNDLE, or ca_bundle in [transports.s3]"
    )


def _reason(error: Exception, names: frozenset[str]) -> str:
    said = str(error)
    inner = str(getattr(error, "kwargs", {}).get("error", ""))
    if "NameResolution" in inner or "Failed to resolve" in inner or "getaddrinfo" in inner:
        return "its name is not known; check it, and this machine's network"
    if "Connection refused" in inner:
        return "nobody listens there; check host and port"
    if "ProxyConnectionError" in names:
        return "the proxy does not let us through"
    if "Timeout" in type(error).__name__ or "timed out" in said:
        return "it does not answer in time"
    return f"the connection broke ({type(error).__name__})"


def _is_distrust(error: Exception) -> bool:
    said = str(error)
    return "CERTIFICATE_VERIFY_FAILED" in said or "WRONG_VERSION_NUMBER" in said


def _names(error: Exception) -> frozenset[str]:
    """Return the names of an error's classes, so that the library need not be imported here."""
    return frozenset(kind.__name__ for kind in type(error).__mro__)
