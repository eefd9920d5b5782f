import pytest
from attrs import evolve, frozen
from hypothesis import given
from hypothesis import strategies as st

from backapp_core.engine.addresses import open_transport, parse_address, without_secret
from backapp_core.errors import InvalidAddress, InvalidSettings, TransportUnavailable
from backapp_core.events import LogLine, Recording
from backapp_core.hookspecs import hookimpl
from backapp_core.manager import PluginManager
from backapp_core.ports.transports import TransportKind
from backapp_core.testing.fakes import make_surroundings
from backapp_plugins.transports import folder, fsspec_url


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
    ("text", "way_out"),
    [
        ("me@nas:/srv/backup", r"sftp:me@nas:/srv/backup; .*\./me@nas:/srv/backup"),
        ("my_remote:backup", r"write \./my_remote:backup"),
        ("two words:x", r"write \./two words:x"),
        ("9p:x", r"write \./9p:x"),
    ],
)
def test_what_nobody_means_as_a_folder_is_refused_with_the_way_out(text, way_out):
    with pytest.raises(InvalidAddress, match=way_out):
        parse_address(text)
    assert parse_address(f"./{text}").text == f"./{text}"
    assert parse_address(f"local:{text}").text == text


@pytest.mark.parametrize(
    "text",
    ["s3:", "s3:host/bucket", "s3:https://host/bucket", "rclone:foo:bar", "b2:x:y", "nas:/srv/x"],
)
def test_scheme_that_no_transport_claims_is_never_a_folder(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    plugins = PluginManager([("fsspec", "", fsspec_url), ("folder", "", folder)])
    with pytest.raises(InvalidAddress, match=r"not installed; .* write \./.* or local:"):
        open_transport(plugins, text, make_surroundings(tmp_path / "around"))
    with open_transport(plugins, f"local:{text}", make_surroundings(tmp_path / "around")) as named:
        assert named.folder == tmp_path / text


def test_memory_is_said_to_last_no_longer_than_the_program(tmp_path):
    events = Recording()
    plugins = PluginManager([("fsspec", "", fsspec_url)])
    open_transport(plugins, "memory://x", make_surroundings(tmp_path, events=events)).close()
    assert "gone when this program ends" in events.of(LogLine)[0].text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sftp://me:secret@host/x", "sftp://me:***@host/x"),
        ("sftp:me:secret@host:/x", "sftp:me:***@host:/x"),
        ("sftp:me:se@cret@host:x", "sftp:me:***@host:x"),
        ("sftp:me:secret@[::1]:x", "sftp:me:***@[::1]:x"),
        ("sftp:host:x@y", "sftp:host:x@y"),
        ("sftp:me@host:/x:y@z:", "sftp:me@host:/x:y@z:"),
        ("smb://me:se@cret@host/x@y", "smb://me:***@host/x@y"),
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


@frozen
class Colours:
    """What the settings file may say of the transport below."""

    colour: str = "none"


@frozen
class Painted:
    address: str
    options: Colours = Colours()


class Painter:
    @hookimpl
    def backapp_transports(self):
        def opened(settings, surroundings):
            raise TransportUnavailable(f"{settings.address} in {settings.options.colour}")

        return [
            TransportKind("paint", frozenset({"paint"}), Painted, Painted, opened, options=Colours)
        ]


@pytest.mark.parametrize(
    ("tables", "said"),
    [({}, "in none"), ({"paint": {}}, "in none"), ({"paint": {"colour": "red"}}, "in red")],
)
def test_what_the_settings_say_of_a_transport_reaches_it(tmp_path, tables, said):
    plugins = PluginManager([("painter", "", Painter())])
    surroundings = evolve(make_surroundings(tmp_path), transports=tables)
    with pytest.raises(TransportUnavailable, match=said):
        open_transport(plugins, "paint:x", surroundings)


@pytest.mark.parametrize(
    ("tables", "fault"),
    [
        ({"paint": {"color": "red"}}, "color"),
        ({"paint": {"colour": 5}}, "colour"),
        ({"s4": {}}, r"transports\.s4: no installed transport .* known are: paint"),
        ({"far": {}}, r"transports\.far: "),
    ],
)
def test_what_the_settings_say_wrong_of_a_transport_is_refused(tmp_path, tables, fault):
    plugins = PluginManager([("painter", "", Painter()), ("places", "", Places())])
    surroundings = evolve(make_surroundings(tmp_path), transports=tables)
    with pytest.raises(InvalidSettings, match=fault):
        open_transport(plugins, "paint:x", surroundings)
