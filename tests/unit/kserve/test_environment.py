"""A container's environment, as a kubelet makes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.errors import NotFoundError
from kitcar.kserve.environment import environment, expand, expand_all
from kitcar.kserve.values import Container, Entries, EnvFrom, EnvVar, KeyRef, Objects

SECRET = Entries("Secret", "kit-secret", "demo", {"KIT_USER": "ada", "KIT_PASSWORD": "secret"})
OBJECTS = Objects(entries=(SECRET,))


def test_environment_sources_in_order_later_ones_win() -> None:
    container = Container(
        env=(EnvVar("A", "1"), EnvVar("B", "$(A)-$(KIT_USER)-$(LATER)"), EnvVar("LATER", "2"), EnvVar("A", "3")),
        env_from=(EnvFrom("Secret", "kit-secret"), EnvFrom("Secret", "kit-secret", "P_")),
    )
    found = environment(container, OBJECTS, "demo")
    assert found["B"] == "1-ada-$(LATER)"
    assert found["A"] == "3"
    assert found["P_KIT_PASSWORD"] == "secret"


def test_environment_key_of_a_secret_is_taken() -> None:
    container = Container(env=(EnvVar("U", "", KeyRef("Secret", "kit-secret", "KIT_USER")),))
    assert environment(container, OBJECTS, "demo") == {"U": "ada"}


def test_environment_variable_that_is_given_needs_no_source_and_is_seen_by_others() -> None:
    container = Container(
        env=(EnvVar("U", "", KeyRef("Secret", "nowhere", "X")), EnvVar("V", "$(U)-$(KIT_USER)")),
        env_from=(EnvFrom("Secret", "kit-secret"),),
    )
    found = environment(container, OBJECTS, "demo", {"U": "me", "KIT_USER": "eve", "MORE": "$(U)"})
    assert found == {"U": "me", "V": "me-eve", "KIT_USER": "eve", "KIT_PASSWORD": "secret", "MORE": "$(U)"}


@pytest.mark.parametrize("name", ["kit-secret", "nowhere"])
def test_environment_optional_source_that_is_missing_sets_nothing(name: str) -> None:
    container = Container(
        env=(EnvVar("U", "", KeyRef("Secret", name, "OTHER", optional=True)),),
        env_from=(EnvFrom("ConfigMap", "nowhere", optional=True),),
    )
    assert environment(container, OBJECTS, "demo") == {}


@pytest.mark.parametrize(
    ("container", "says"),
    [
        (
            Container(env=(EnvVar("U", "", KeyRef("Secret", "kit-secret", "X")),)),
            "couldn't find key X in Secret demo/kit-secret",
        ),
        (
            Container(env=(EnvVar("U", "", KeyRef("ConfigMap", "kit-secret", "X")),)),
            "ConfigMap demo/kit-secret not found",
        ),
        (Container(env_from=(EnvFrom("Secret", "other"),)), "Secret demo/other not found"),
    ],
)
def test_environment_source_that_is_missing_is_not_found(container: Container, says: str) -> None:
    with pytest.raises(NotFoundError, match=says):
        environment(container, OBJECTS, "demo")


@pytest.mark.parametrize(
    ("text", "result"),
    [("$(A)", "1"), ("$$(A)", "$(A)"), ("$(B)", "$(B)"), ("$A", "$A"), ("$$$(A)", "$1"), ("a$", "a$"), ("$(A", "$(A")],
)
def test_expand_follows_the_rules_of_kubernetes(text: str, result: str) -> None:
    assert expand(text, {"A": "1"}) == result


@given(st.text().filter(lambda text: "$" not in text))
def test_expand_text_without_dollars_is_itself(text: str) -> None:
    assert expand_all([text], {"A": "1"}) == (text,)
