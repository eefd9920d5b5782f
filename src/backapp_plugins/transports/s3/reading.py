"""Reads a range of an object, and goes on where a connection ended early."""

from collections.abc import Generator

from backapp_core.plugin_api import TransferCut
from backapp_plugins.transports.s3.bucket import Bucket, Opened

_CHUNK_BYTES = 1 << 20


def chunks(
    bucket: Bucket, key: str, name: str, offset: int, length_bytes: int | None
) -> Generator[bytes]:
    """Yield one empty chunk when the object is opened, then its bytes.

    A connection that breaks is made again, for the bytes that are left of the very same object: up
    to 6 times without a byte in between.

    Raises:
        ObjectMissing: Before the first chunk, if there is no such object.
        TransferCut: If it does not help, or the object was replaced meanwhile.
    """
    if length_bytes == 0:
        bucket.head(key)
        yield b""
        return
    opened = bucket.get(key, _range(offset, length_bytes))
    left_bytes = opened.size_bytes
    try:
        if length_bytes is not None and left_bytes > length_bytes:
            raise TransferCut(f"of object '{name}' more came than was asked for")
        yield b""
        pauses = bucket.client.patience.pauses()
        most_bytes = min(_CHUNK_BYTES, bucket.client.sip_bytes)
        while left_bytes:
            try:
                chunk = _read(opened, min(most_bytes, left_bytes))
            except Exception as error:
                opened.close()
                pause_seconds = next(pauses, None)
                if pause_seconds is None:
                    raise TransferCut(f"object '{name}' came incompletely") from error
                bucket.client.patience.wait(pause_seconds)
                opened = _reopened(bucket, key, opened.etag, offset, left_bytes)
                continue
            pauses = bucket.client.patience.pauses()
            offset += len(chunk)
            left_bytes -= len(chunk)
            yield chunk
    finally:
        opened.close()


def _reopened(bucket: Bucket, key: str, etag: str, offset: int, left_bytes: int) -> Opened:
    opened = bucket.get(key, {**_range(offset, left_bytes), "IfMatch": f'"{etag}"'})
    if opened.size_bytes != left_bytes:
        opened.close()
        raise TransferCut(f"object '{key}' became another one while it was read")
    return opened


def _read(opened: Opened, count: int) -> bytes:
    chunk = opened.read(count)
    if not chunk:
        raise EOFError
    return chunk


def _range(offset: int, length_bytes: int | None) -> dict[str, str]:
    if length_bytes is None:
        return {"Range": f"bytes={offset}-"} if offset else {}
    return {"Range": f"bytes={offset}-{offset + length_bytes - 1}"}
