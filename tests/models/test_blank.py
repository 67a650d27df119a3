"""The checklist for a new model stays in step with the contract."""

import inspect

import pytest

from headrace.core.operation import PollOperation
from headrace.models.blank import BlankModel
from headrace.models.contract import Model
from headrace.models.reactor import Readiness

# What the contract gives a model to call; all else that is public is there to be implemented.
GIVEN = {
    "complete",
    "complete_cancelled",
    "connect",
    "goes_on",
    "make_pool",
    "perform",
    "perform_soon",
    "start_operation",
    "stop_operation",
}
ARGUMENTS = {
    "submit": (None,),
    "cancel": (None,),
    "wait": (0.0,),
    "forget": (3,),
    "lend": (3,),
    "takes_file": (0,),
}


def verbs(found):
    """The public callables that *found* itself defines."""
    return {
        name
        for name, value in vars(found).items()
        if not name.startswith("_") and (callable(value) or isinstance(value, classmethod))
    }


def test_blank_has_every_verb_of_the_contract_and_nothing_else():
    assert verbs(BlankModel) == verbs(Model) - GIVEN


def test_blank_declares_all_that_a_model_declares():
    declared = {name for name in vars(Model) if not name.startswith("_")} - verbs(Model)
    data = {name for name in declared if not inspect.isdatadescriptor(vars(Model)[name])}
    assert data <= set(vars(BlankModel))
    assert set(BlankModel.capabilities) == set(Readiness.capabilities)


@pytest.mark.parametrize("verb", sorted(verbs(Model) - GIVEN))
def test_blank_explains_each_verb_and_does_nothing(verb):
    method = getattr(BlankModel(), verb)
    assert method.__doc__
    arguments = ARGUMENTS.get(verb, ())
    if verb in ("submit", "cancel"):
        arguments = (PollOperation(0, 1),)
    with pytest.raises(NotImplementedError):
        method(*arguments)
