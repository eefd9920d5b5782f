"""What the engine takes, gives and raises can be named by a program that imports `backapp_core`."""

import inspect
import typing
from importlib.metadata import version

import pytest

import backapp_core
from backapp_core import Engine, errors

VERBS = {
    name: value.fget if isinstance(value, property) else value
    for name, value in vars(Engine).items()
    if (not name.startswith("_") or name == "__init__")
    and (isinstance(value, property) or inspect.isfunction(value))
}


def classes_in(hint):
    """Yield every class of ours that an annotation speaks of."""
    if inspect.isclass(hint) and hint.__module__.startswith("backapp_core"):
        yield hint
    for part in typing.get_args(hint):
        yield from classes_in(part)


@pytest.mark.parametrize("verb", VERBS)
def test_annotations_of_a_verb_can_be_resolved_and_named(verb):
    hints = typing.get_type_hints(VERBS[verb])
    assert "return" in hints
    for hint in hints.values():
        for found in classes_in(hint):
            assert getattr(backapp_core, found.__name__, None) is found
            assert found.__name__ in backapp_core.__all__


def test_results_are_among_what_the_annotations_speak_of():
    # Otherwise the test above could pass by finding nothing.
    found = {
        one.__name__
        for verb in VERBS.values()
        for hint in typing.get_type_hints(verb).values()
        for one in classes_in(hint)
    }
    assert found >= {"RestorePlan", "ForgetPlan", "CheckReport", "Jobs", "PluginManager"}


def test_every_error_can_be_imported_from_the_package():
    named = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.BackappError)
    }
    assert len(named) > 30
    assert named <= set(backapp_core.__all__)


def test_package_knows_its_version():
    assert backapp_core.__version__ == version("backapp")


def test_misspelt_result_is_refused_as_by_any_module():
    from backapp_core.engine import results

    with pytest.raises(AttributeError, match="has no attribute 'RestorePlans'"):
        results.RestorePlans  # noqa: B018  # the look-up is what is tested
