import pytest

from backapp_core.errors import DuplicatePlugin, PluginError, PluginMisbehaved, UnknownPlugin
from backapp_core.hookspecs import hookimpl
from backapp_core.manager import PluginManager
from backapp_core.ports.schedulers import SchedulerKind
from backapp_core.ports.stores import StoreKind
from backapp_core.ports.transports import TransportKind


def transport(name, *schemes):
    return TransportKind(name, frozenset(schemes), str, str, lambda settings, _: settings)


def offering(hook, answer):
    """Make a plugin whose only hook returns ``answer``, or raises it."""

    def function(self):
        if isinstance(answer, BaseException):
            raise answer
        return answer

    function.__name__ = hook
    return type("Plugin", (), {hook: hookimpl(function)})()


def managing(**plugins):
    return PluginManager([(name, f"{name} 1.0", plugin) for name, plugin in plugins.items()])


def test_kinds_come_in_order_of_their_names_with_their_origin():
    manager = managing(
        two=offering("backapp_transports", [transport("b", "b"), transport("a", "a")]),
        one=offering("backapp_transports", [transport("c", "c")]),
    )
    assert [kind.name for kind in manager.transports.kinds] == ["a", "b", "c"]
    assert [(o.plugin, o.distribution) for o in manager.transports.offers] == [
        ("two", "two 1.0"),
        ("two", "two 1.0"),
        ("one", "one 1.0"),
    ]
    assert manager.archivers.kinds == []


def test_unknown_name_lists_what_there_is():
    manager = managing(one=offering("backapp_transports", [transport("a"), transport("b")]))
    with pytest.raises(UnknownPlugin, match="there is no transport called 'c'; installed: a, b"):
        manager.transports.get("c")
    with pytest.raises(UnknownPlugin, match="there is no store called 'c'; installed: none"):
        manager.stores.get("c")


def test_duplicate_name_names_both_and_the_way_out():
    with pytest.raises(DuplicatePlugin) as caught:
        managing(
            one=offering("backapp_transports", [transport("a")]),
            two=offering("backapp_transports", [transport("a")]),
        )
    message = caught.value.message
    assert "'one'" in message
    assert "'two'" in message
    assert "transport called 'a'" in message
    assert "plugins.disabled" in message


def test_one_name_may_be_offered_in_two_roles():
    managing(
        one=offering("backapp_transports", [transport("a")]),
        two=offering("backapp_schedulers", [SchedulerKind("a", lambda *_: None)]),
    )


def test_one_kind_twice_from_one_plugin_is_a_duplicate():
    with pytest.raises(DuplicatePlugin):
        managing(one=offering("backapp_transports", [transport("a"), transport("a")]))


@pytest.mark.parametrize(
    ("plugin", "text"),
    [
        (offering("backapp_transport", []), "hook that does not exist"),
        (offering("backapp_transports", ValueError("line\none")), "ValueError.*: line one"),
        (offering("backapp_transports", None), "returned NoneType.*sequence of TransportKind"),
        (offering("backapp_transports", "ab"), "returned str"),
        (offering("backapp_transports", {"a": 1}), "returned dict"),
        (offering("backapp_transports", [transport("a"), 7]), "with int.*TransportKind only"),
        (offering("backapp_stores", [transport("a")]), "with TransportKind.*StoreKind only"),
    ],
)
def test_what_breaks_the_contract_is_one_sentence_that_names_the_plugin(plugin, text):
    with pytest.raises(PluginMisbehaved, match=text) as caught:
        managing(fine=offering("backapp_transports", [transport("z")]), broken=plugin)
    assert "'broken'" in caught.value.message
    assert "\n" not in caught.value.message
    assert isinstance(caught.value, PluginError)


def test_claimed_scheme_goes_before_one_that_takes_any():
    manager = managing(
        any=offering("backapp_transports", [transport("aaa", "*")]),
        own=offering("backapp_transports", [transport("s3", "s3"), transport("folder", "")]),
    )
    assert manager.transport_for("s3").name == "s3"
    assert manager.transport_for("gs").name == "aaa"
    assert manager.transport_for("").name == "folder"


def test_plain_path_is_not_for_one_that_takes_any():
    manager = managing(any=offering("backapp_transports", [transport("any", "*")]))
    with pytest.raises(UnknownPlugin):
        manager.transport_for("")


def test_store_is_chosen_by_its_scheme():
    kind = StoreKind("sql", frozenset({"sqlite"}), lambda *_: None)
    manager = managing(one=offering("backapp_stores", [kind]))
    assert manager.store_for("sqlite") is kind
    with pytest.raises(UnknownPlugin, match="mysql"):
        manager.store_for("mysql")


def test_disabled_plugins_are_not_loaded():
    names = {offer.plugin for offer in PluginManager.load().notifiers.offers}
    fewer = PluginManager.load(disabled=names)
    assert names
    assert fewer.notifiers.kinds == []
    assert fewer.transports.kinds
