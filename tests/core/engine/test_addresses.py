import pytest
from hypothesis import given
from hypothesis import strategies as st

from backapp_core.engine.addresses import open_transport, parse_address, without_secret
from backapp_core.errors import InvalidAddress, TransportUnavailable
from backapp_core.hookspecs import hookimpl
from backapp_core.manager import PluginManager
from backapp_core.ports.transports import TransportKind
from backapp_core.testing.fakes import make_surroundings
from backapp_plugins.transports import fsspec_url


@pytest.mark.parametrize(
    ("text", "scheme", "understood"),
    [
        ("/srv/backup", "", "/srv/backup"),
        ("backup", "", "backup"),
        ("./a:b/c", "", "./a:b/c"),
        ("/srv/with:colon", "", "/srv/with:colon"),
        ("local:/srv/backup", "", "/srv/backup"),
        ("local:odd:name", "", "odd:name"),
        (r"C:\backup", "", r"C:\backup"),
        ("C:/backup", "", "C:/backup"),
        ("c:backup", "", "c:backup"),
        (r"\\server\share\backup", "", r"\\server\share\backup"),
        ("file:///srv/backup", "file", "file:///srv/backup"),
        ("MEMORY://x/Y", "memory", "memory://x/Y"),
        ("s3:https://host/bucket/prefix", "s3", "s3:https://host/bucket/prefix"),
        ("s3:host/bucket", "s3", "s3:host/bucket"),
        ("sftp:user@host:/srv/x", "sftp", "sftp:user@host:/srv/x"),
        ("SFTP:host:/srv/a:b", "sftp", "sftp:host:/srv/a:b"),
        ("sftp:user@host:backup", "sftp", "sftp:user@host:backup"),
        ("sftp://user@host:2222/srv/x", "sftp", "sftp://user@host:2222/srv/x"),
    ],
)
def test_forms_of_addresses(text, scheme, understood):
    address = parse_address(text)
    assert (address.scheme, address.text) == (scheme, understood)


@pytest.mark.parametrize("text", ["", "  ", "a\nb", "a\0b", "local:"])
def test_what_has_no_meaning_is_refused(text):
    with pytest.raises(InvalidAddress):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sftp://me:secret@host/x", "sftp://me:***@host/x"),
        ("s3:https://key:sec/ret@host/x", "s3:https://key:sec/ret@host/x"),
        ("sftp://me@host:22/x", "sftp://me@host:22/x"),
        ("/srv/a:b@c", "/srv/a:b@c"),
    ],
)
def test_passwords_are_not_shown(text, shown):
    assert without_secret(text) == shown
    assert parse_address(text).shown == shown


@given(st.text(max_size=60))
def test_any_text_is_understood_or_refused(text):
    try:
        address = parse_address(text)
    except InvalidAddress:
        return
    assert address.scheme == address.scheme.lower()


class Places:
    """A transport that only notes what it is given."""

    @hookimpl
    def backapp_transports(self):
        def opened(address, surroundings):
            raise TransportUnavailable(f"asked for {address}")

        return [TransportKind("far", frozenset({"sftp"}), str, str, opened)]


@pytest.mark.parametrize("text", ["sftp:me@host:x", "sftp:me@host:/x", "sftp://me@host/x"])
def test_what_stands_after_a_scheme_is_the_transports_to_parse(tmp_path, text):
    plugins = PluginManager([("places", "", Places())])
    with pytest.raises(TransportUnavailable, match=f"^asked for {text}$"):
        open_transport(plugins, text, make_surroundings(tmp_path))


@pytest.mark.parametrize("text", ["sftp:", "sftp:host", "sftp://", "sftp:me@host", "sftp:/srv/x"])
def test_sftp_address_that_names_no_place_is_refused_with_the_way_out(tmp_path, text):
    plugins = PluginManager([("fsspec", "", fsspec_url)])
    with pytest.raises(InvalidAddress, match=r"an sftp address .*sftp://user@host"):
        open_transport(plugins, text, make_surroundings(tmp_path))
