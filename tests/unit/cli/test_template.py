"""The Go templates that people give to `list --format`."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.cli.template import Template
from kitcar.errors import InvalidError, KitcarError, UnsupportedError

ITEM = {
    "Repo": "reg.example:5000/team/iris",
    "Digest": "sha256:ab",
    "Tags": ["v1", "v2"],
    "ModelName": "iris",
    "Size": "1.0 KiB",
    "Author": "<none>",
}


def rendered(text: str) -> str:
    return Template.parse(text).render(ITEM)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("{{ .Repo }}", "reg.example:5000/team/iris"),
        ("{{.Repo}}@{{.Digest}}", "reg.example:5000/team/iris@sha256:ab"),
        ("{{ .Tags }}", "[v1 v2]"),
        ("{{ range .Tags }}{{ . }};{{ end }}", "v1;v2;"),
        (
            "{{ range .Tags }}{{ $.Repo }}:{{ . }} {{ end }}",
            "reg.example:5000/team/iris:v1 reg.example:5000/team/iris:v2 ",
        ),
        ("{{ range $i, $t := .Tags }}{{ if $i }},{{ end }}{{ $t }}{{ end }}", "v1,v2"),
        ("{{ range $t := .Tags }}<{{ $t }}>{{ end }}", "<v1><v2>"),
        ("{{ index .Tags 0 }}", "v1"),
        ("{{ len .Tags }}", "2"),
        ('{{ join .Tags "," }}', "v1,v2"),
        ("{{ json .Tags }}", '["v1","v2"]'),
        ("{{ .ModelName | json }}", '"iris"'),
        ('{{ printf "%-6s|%s" .ModelName .Size }}', "iris  |1.0 KiB"),
        ('{{ printf "%v %d" .Tags 3 }}', "[v1 v2] 3"),
        ("{{ if .ModelName }}yes{{ else }}no{{ end }}", "yes"),
        ('{{ if eq .Author "<none>" }}nobody{{ end }}', "nobody"),
        ('{{ if eq .Author "x" }}a{{ else if ne .Size "" }}b{{ else }}c{{ end }}', "b"),
        ("{{ if and .Repo (not .Tags) }}a{{ else }}b{{ end }}", "b"),
        ("{{ with .ModelName }}[{{ . }}]{{ end }}", "[iris]"),
        ("a {{- /* gone */ -}} b", "ab"),
        ("a  {{- .ModelName -}}  b", "airisb"),
        ("{{ $n := .ModelName }}{{ $n }}!", "iris!"),
        ('{{ "a\\tb" }}{{ `c\\d` }}', "a\tbc\\d"),
        ("{{ upper .ModelName }}", "IRIS"),
        ("{{ slice .Digest 7 9 }}", "ab"),
        ("{{ true }}", "true"),
        ('{{ or "" .ModelName }}', "iris"),
    ],
)
def test_template_renders_as_go_does(text: str, expected: str) -> None:
    assert rendered(text) == expected


def test_template_range_over_nothing_renders_else() -> None:
    assert Template.parse("{{ range .Tags }}x{{ else }}none{{ end }}").render({"Tags": []}) == "none"


@pytest.mark.parametrize(
    "text",
    [
        "{{ .Repo",
        "{{ if .Repo }}",
        "{{ end }}",
        "{{ .Nope }}",
        "{{ }}",
        "{{ $x }}",
        "{{ index .Tags 9 }}",
        "{{ (.Repo }}",
        "{{ .Repo .Size }}",
        "{{ range .Repo }}{{ end }}",
        "{{ .Repo.Name }}",
        "{{ len }}",
    ],
)
def test_template_that_is_wrong_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="template"):
        rendered(text)


@pytest.mark.parametrize("text", ["{{ title .Repo }}", '{{ template "x" }}', "{{ .Repo ; }}"])
def test_template_with_unknown_means_is_refused(text: str) -> None:
    with pytest.raises(UnsupportedError):
        rendered(text)


@given(st.text(alphabet='{}.- RepoTags|()$:="rangeifend0', max_size=40))
def test_template_any_text_renders_or_is_refused(text: str) -> None:
    with contextlib.suppress(KitcarError):
        assert isinstance(rendered(text), str)


@given(st.text().filter(lambda text: "{{" not in text))
def test_template_text_without_actions_renders_as_it_is(text: str) -> None:
    assert rendered(text) == text
