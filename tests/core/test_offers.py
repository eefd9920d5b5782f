from pathlib import Path

import pytest
from attrs import evolve, frozen

from backapp_core.errors import InvalidAddress, PluginMisbehaved
from backapp_core.offers import vetted
from backapp_core.ports.archivers import ArchiverKind
from backapp_core.ports.notifiers import NotifierKind
from backapp_core.ports.scanners import ScannerKind
from backapp_core.ports.schedulers import SchedulerKind
from backapp_core.ports.store_kinds import StoreKind
from backapp_core.ports.transports import TransportKind
from backapp_core.testing.fakes import MemoryBucket, MemoryTransport, make_surroundings


@frozen
class Nothing:
    pass


def answer(*_):
    return None


KINDS = {
    "scanner": ScannerKind("a", Nothing, answer),
    "archiver": ArchiverKind("a", Nothing, answer, answer, answer),
    "transport": TransportKind("a", frozenset({"a", "", "*"}), Nothing, answer, answer),
    "scheduler": SchedulerKind("a", answer),
    "notifier": NotifierKind("a", Nothing, answer),
    "store": StoreKind("a", frozenset({"a"}), answer),
}
FUNCTIONS = [
    (role, name)
    for role in KINDS
    for name in ("open", "parse", "create", "recognises")
    if hasattr(KINDS[role], name)
]


def vet(role, **fields):
    return vetted(evolve(KINDS[role], **fields), type(KINDS[role]), role=role, plugin="strange")


@pytest.mark.parametrize("role", KINDS)
@pytest.mark.parametrize("name", ["", 5, None, "two words", "line\nend"])
def test_kind_without_a_proper_name_is_refused(role, name):
    with pytest.raises(PluginMisbehaved, match=r"'strange' offers a .* whose name is") as caught:
        vet(role, name=name)
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(("role", "field"), FUNCTIONS)
def test_function_of_a_kind_that_cannot_be_called_is_refused(role, field):
    with pytest.raises(PluginMisbehaved, match=f"'strange' .* 'a' whose {field} cannot be called"):
        vet(role, **{field: "open"})


@pytest.mark.parametrize("options", [5, "text", int, Path])
def test_options_of_a_transport_are_an_attrs_class_or_none(options):
    with pytest.raises(PluginMisbehaved, match="whose options are"):
        vet("transport", options=options)
    assert vet("transport", options=Nothing).options is Nothing


@pytest.mark.parametrize("role", ["transport", "store"])
@pytest.mark.parametrize(
    "schemes",
    ["abc", {"abc"}, ["abc"], None, *map(frozenset, [(), {5}, {"S3"}, {"s3:"}, {"s3://"}])],
    ids=repr,
)
def test_schemes_that_are_no_set_of_lower_case_schemes_are_refused(role, schemes):
    with pytest.raises(PluginMisbehaved, match=r"'strange' offers a .* 'a' whose schemes are"):
        vet(role, schemes=schemes)


@pytest.mark.parametrize("scheme", ["", "*"])
def test_store_opens_no_plain_path_and_not_whatever_nobody_claims(scheme):
    with pytest.raises(PluginMisbehaved, match="whose schemes are"):
        vet("store", schemes=frozenset({scheme}))


@pytest.mark.parametrize("role", ["scanner", "archiver", "notifier", "transport"])
def test_settings_that_are_no_class_are_refused(role):
    with pytest.raises(PluginMisbehaved, match="'a' whose settings are 5; they must be an attrs"):
        vet(role, settings=5)


@pytest.mark.parametrize("role", ["scanner", "archiver", "notifier"])
def test_settings_that_plain_data_cannot_be_parsed_into_are_refused(role):
    with pytest.raises(PluginMisbehaved, match="they must be an attrs class"):
        vet(role, settings=dict)


@pytest.mark.parametrize(("role", "name"), FUNCTIONS)
def test_answer_of_a_wrong_type_names_plugin_and_function(role, name):
    text = f"plugin 'strange' returned NoneType from '{name}' of its {role} 'a'; it must return"
    with pytest.raises(PluginMisbehaved, match=text):
        getattr(vet(role), name)()


@pytest.mark.parametrize(("role", "name"), FUNCTIONS)
@pytest.mark.parametrize("error", [ZeroDivisionError("line\none"), SystemExit(7)], ids=repr)
def test_exception_of_a_stranger_names_plugin_and_function(role, name, error):
    def wrong(*_):
        raise error

    text = f"plugin 'strange' raised {type(error).__name__} in '{name}' of its {role} 'a': "
    with pytest.raises(PluginMisbehaved, match=text) as caught:
        getattr(vet(role, **{name: wrong}), name)("address")
    assert caught.value.message.isprintable()
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [InvalidAddress("no"), KeyboardInterrupt(), MemoryError()])
def test_what_a_plugin_may_raise_passes(error):
    def refuse(*_):
        raise error

    with pytest.raises(type(error)) as caught:
        vet("transport", parse=refuse).parse("a:b")
    assert caught.value is error


def test_right_answers_pass_as_they_are(tmp_path: Path):
    settings, opened = Nothing(), MemoryTransport(MemoryBucket())
    kind = vet("transport", parse=lambda _: settings, open=lambda *_: opened)
    assert kind.parse("a:b") is settings
    assert kind.open(settings, make_surroundings(tmp_path)) is opened
    assert (kind.name, kind.schemes) == ("a", KINDS["transport"].schemes)
