import pytest

from backapp_core.errors import DuplicatePlugin, PluginError, PluginMisbehaved, UnknownPlugin
from backapp_core.hookspecs import hookimpl
from backapp_core.manager import PluginManager
from backapp_core.ports.schedulers import SchedulerKind
from backapp_core.ports.store_kinds import StoreKind
from backapp_core.ports.transports import TransportKind


def transport(name, *schemes):
    claims = frozenset(schemes or {name})
    return TransportKind(name, claims, str, str, lambda settings, _: settings)


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
            one=offering("backapp_transports", [transport("a", "b")]),
            two=offering("backapp_transports", [transport("a", "c")]),
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
    with pytest.raises(DuplicatePlugin, match="'one' offers more than one transport called 'a'"):
        managing(one=offering("backapp_transports", [transport("a"), transport("a")]))


@pytest.mark.parametrize("scheme", ["s3", "", "*"])
def test_scheme_that_two_claim_is_a_duplicate(scheme):
    with pytest.raises(DuplicatePlugin, match="'one' and 'two' both offer a transport for the"):
        managing(
            one=offering("backapp_transports", [transport("a", scheme)]),
            two=offering("backapp_transports", [transport("b", "own", scheme)]),
        )


def test_scheme_that_two_stores_claim_is_a_duplicate():
    kinds = [StoreKind(name, frozenset({"sqlite"}), lambda *_: None) for name in ("a", "b")]
    with pytest.raises(DuplicatePlugin, match="'one' offers more than one store for the scheme"):
        managing(one=offering("backapp_stores", kinds))


def test_one_module_under_two_names_is_a_duplicate():
    plugin = offering("backapp_transports", [transport("a")])
    with pytest.raises(DuplicatePlugin, match="'one' and 'two' are the same module"):
        managing(one=plugin, two=plugin)


def test_two_plugins_of_one_name_are_duplicates():
    with pytest.raises(DuplicatePlugin, match="two plugins are called 'one'"):
        PluginManager([("one", "", offering("backapp_stores", [])) for _ in range(2)])


def test_plugin_without_hooks_is_told_of_the_mark():
    plugin = type("Plugin", (), {"backapp_transports": lambda self: []})()
    with pytest.raises(PluginMisbehaved, match="backapp_transports is not marked with @hookimpl"):
        managing(one=plugin)
    with pytest.raises(PluginMisbehaved, match="'one' has no hooks: it offers nothing"):
        managing(one=object())


def test_misspelt_hook_is_named_with_what_may_be_meant_and_without_a_path():
    with pytest.raises(PluginMisbehaved) as caught:
        managing(one=offering("backapp_transprots", []))
    assert "backapp_transprots, perhaps backapp_transports is meant" in caught.value.message
    assert "plugins.disabled" in caught.value.message
    assert "<" not in caught.value.message


def test_hook_that_asks_for_arguments_does_not_fit():
    plugin = type("Plugin", (), {"backapp_stores": hookimpl(lambda self, url: [])})()
    with pytest.raises(PluginMisbehaved, match="'one' has a hook that does not fit"):
        managing(one=plugin)


def test_disabling_what_is_not_installed_is_refused():
    with pytest.raises(UnknownPlugin, match=r"names 'transports\.foldr'.*transports\.folder"):
        PluginManager.load(disabled=["transports.foldr"])


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
    assert manager.store_for("sqlite").name == "sql"
    with pytest.raises(UnknownPlugin, match="mysql"):
        manager.store_for("mysql")


def test_disabled_plugins_are_not_loaded():
    names = {offer.plugin for offer in PluginManager.load().notifiers.offers}
    fewer = PluginManager.load(disabled=names)
    assert names
    assert fewer.notifiers.kinds == []
    assert fewer.transports.kinds
