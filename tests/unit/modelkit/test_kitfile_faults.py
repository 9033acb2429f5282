from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.errors import Fault, InvalidError
from kitcar.modelkit.kitfile import Kitfile
from kitcar.modelkit.kitfile.path import Place, is_reference, place_of

HEAD = "manifestVersion: 1.0.0\n"


def faults(text: str) -> tuple[Fault, ...]:
    with pytest.raises(InvalidError) as caught:
        Kitfile.parse((HEAD + text).encode())
    assert caught.value.faults
    return caught.value.faults


def only(text: str) -> Fault:
    (fault,) = faults(text)
    return fault


def test_parse_reports_all_faults_of_a_file_together_in_the_order_of_lines() -> None:
    text = b"""\
manifestVersion: 1.0.0
packge: {name: x}
model:
  path: [a]
  parts:
  - path: /etc/x
  - pth: y
    type: a b
docs:
- path: http://x/y
- path: a
- path: ./a
code: foo
datasets:
- path: q
  remoteHash: f
  parameters: {1: 2, x: .nan, x: 3}
"""
    with pytest.raises(InvalidError) as caught:
        Kitfile.parse(text, "my/Kitfile")
    assert [(fault.line, fault.column) for fault in caught.value.faults] == [
        (2, 1),
        (4, 9),
        (6, 11),
        (7, 5),
        (8, 11),
        (10, 9),
        (12, 9),
        (13, 7),
        (16, 15),
        (17, 16),
        (17, 25),
        (17, 31),
    ]
    lines = str(caught.value).splitlines()
    assert lines[0] == "errors while validating my/Kitfile: "
    assert lines[1] == "  * line 2, column 1: field packge not found in the Kitfile (did you mean package?)"
    assert len(lines) == 13


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("dataset", "did you mean datasets?"),
        ("mcpservers", "did you mean mcpServers?"),
        ("ManifestVersion", "did you mean manifestVersion?"),
        ("xyzzy", "known here: manifestVersion, package, model, code, datasets, docs, prompts, mcpServers"),
        ("digest", "known here: manifestVersion, package, model, code, datasets, docs, prompts, mcpServers"),
    ],
)
def test_parse_of_an_unknown_key_hints_at_a_known_one(key: str, hint: str) -> None:
    fault = only(f"{key}: x\n")
    assert (fault.message, fault.hint, fault.line, fault.column) == (
        f"field {key} not found in the Kitfile",
        hint,
        2,
        1,
    )


def test_parse_of_digests_in_a_kitfile_is_refused() -> None:
    assert "field digest not found in docs[0]" in only("docs: [{path: a, digest: x}]\n").message


@pytest.mark.parametrize("key", ["? [a, b]\n", "? {a: b}\n"])
def test_parse_of_a_key_that_is_no_text_is_refused(key: str) -> None:
    assert "not found in the Kitfile" in only(f"{key}: x\n").message


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("package: name\n", "cannot unmarshal !!str `name` into package", "a mapping was expected"),
        ("code: {path: a}\n", "cannot unmarshal !!map into code", "a list was expected"),
        ("docs:\n- a\n", "cannot unmarshal !!str `a` into docs[0]", "a mapping was expected"),
        ("package:\n  authors: Ada\n", "cannot unmarshal !!str `Ada` into package.authors", "a list was expected"),
        (
            "package: {name: [a]}\n",
            "cannot unmarshal !!seq into package.name",
            "a text was expected",
        ),
        (
            "package: a text that is rather long\n",
            "cannot unmarshal !!str `a text ...` into package",
            "a mapping was expected",
        ),
    ],
)
def test_parse_of_the_wrong_form_says_what_was_expected(text: str, message: str, hint: str) -> None:
    fault = only(text)
    assert (fault.message, fault.hint) == (message, hint)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "code: [{path: 'http://h/x'}]",
            "invalid path for code (http://h/x): HTTP urls are not supported in paths (http://h/x)",
        ),
        ("docs: [{path: 's3://b/k'}]", "invalid path for doc (s3://b/k): only local paths are permitted"),
        ("datasets: [{path: 'reg.io/a:v1'}]", "invalid path for dataset (reg.io/a:v1): only local paths are permitted"),
        ("prompts: [{path: 'ftp://h/x'}]", "invalid path for prompt (ftp://h/x): unrecognized URL in path: ftp://h/x"),
        (
            "model: {path: 's3://b/k'}",
            "invalid path for model: only local paths and ModelKit references are permitted",
        ),
        (
            "model: {path: m, parts: [{path: 'a:b'}]}",
            "invalid path for model part (a:b): only local paths are permitted",
        ),
        (
            "model: {path: m, parts: [{name: p, path: a, type: -x}]}",
            "modelpart p has invalid type (must be alphanumeric with dots, dashes, and underscores)",
        ),
        (
            "model: {path: m, parts: [{name: p, path: a, type: " + "x" * 65 + "}]}",
            "modelpart p type is too long (must be fewer than 64 characters)",
        ),
        ("docs: [{path: /etc/x}]", "absolute paths are not supported in a Kitfile (path /etc/x in docs layer 0)"),
        ("prompts: [{path: /etc/x}]", "absolute paths are not supported in a Kitfile (path /etc/x in prompt layer 0)"),
        ("docs: [{path: a/../../x}]", "paths must be within context directory (path ../x in docs layer 0)"),
        ('docs: [{path: "a\\0b"}]', "a path cannot hold a NUL character (docs layer 0)"),
        ("code: [{path: .}, {description: x}]", "code layer 0 and code layer 1 use the same path ."),
        (
            "model: {name: m, path: a}\ndocs: [{path: ./a/}]\ncode: [{path: a}]",
            "model m, code layer 0 and docs layer 0 use the same path a",
        ),
        ("docs: [{path: a}]\nprompts: [{path: a}]", "docs layer 0 and prompt layer 0 use the same path a"),
        ("model: {name: m}\ncode: [{path: .}]", "model m and code layer 0 use the same path ."),
        ("datasets: [{path: d, remoteHash: x}]", "remote hash is only applicable when remotePath is set"),
        (
            "datasets: [{path: d, remotePath: 's3://b/k'}]",
            "remoteHash is required when remote dataset paths are used (s3://b/k)",
        ),
        (
            "datasets: [{path: d, remotePath: x}]",
            "only S3 URLs and ModelKit references are supported for remote dataset paths (x)",
        ),
        (
            "datasets: [{path: d, remotePath: 'https://x'}]",
            "only S3 URLs and ModelKit references are supported for remote dataset paths (https://x)",
        ),
        (
            "datasets: [{path: d, remotePath: 'r.io/a:1'}]\ncode: [{path: d/x}]",
            "code layer 0 uses a path (d/x) that is within the path for a remote dataset",
        ),
        ("mcpServers: [{path: a.mcpb}]", "mcpServer with path a.mcpb must have a name"),
        (
            "mcpServers: [{name: a, path: a.mcpb}, {name: a, path: b.mcpb}]",
            "duplicate mcpServer name a: names must be unique",
        ),
        (
            "mcpServers: [{name: a, path: a.zip}]",
            "invalid path for mcpServer (a.zip): path must point to a single .mcpb file",
        ),
        ("model: {path: m, parameters: .inf}", ".inf cannot be stored: JSON has no such number"),
        ("model: {path: m, parameters: {1: a}}", "the key !!int `1` is not a text; JSON has no other keys"),
        ("model: {path: m, parameters: {[a]: a}}", "the key !!seq is not a text; JSON has no other keys"),
        ("model: {path: m, parameters: !!int x}", "cannot decode !!str `x` as a !!int"),
        ("model: {path: m, parameters: !!binary '*'}", "!!binary value contains invalid base64 data"),
        (
            "model: {path: m, parameters: !!binary /w==}",
            "!!binary value is no text in UTF-8, which is all that can be stored",
        ),
        ("package: {name: a, name: b}", 'mapping key "name" already defined at line 2'),
        ("model: {path: m, parameters: {<<: 1}}", "map merge requires map or sequence of maps as the value"),
    ],
)
def test_parse_of_a_broken_rule_is_refused_in_kits_words(text: str, message: str) -> None:
    assert only(text).message == message


@pytest.mark.parametrize(
    "text",
    [
        "model: {path: 'reg.io/a/b:v1'}\ncode: [{path: .}]",
        "datasets: [{path: d, remotePath: 's3://b/k', remoteHash: x}, {path: d/e}]",
        "datasets: [{path: d, remotePath: 'r.io/a:1'}, {path: d2}]\ncode: [{path: dd/x}]",
        "docs: [{path: a..b}, {path: v1..v2/x}, {path: '...'}, {path: a b}]",
        "model: {path: pytorch_model.bin}\ndocs: [{path: pytorch_model.bin.index.json}]",
        "model: {path: m, parts: [{path: a, type: x.y_z-1}, {path: b, type: " + "x" * 64 + "}]}",
    ],
)
def test_parse_of_what_is_allowed_gives_a_kitfile(text: str) -> None:
    assert Kitfile.parse((HEAD + text).encode()).entries()


def test_fault_of_a_member_that_is_not_written_points_at_its_entry() -> None:
    fault = only("mcpServers:\n- path: a.mcpb\n")
    assert (fault.line, fault.column) == (3, 3)


def test_fault_in_a_file_with_byte_order_mark_counts_columns_without_it() -> None:
    with pytest.raises(InvalidError) as caught:
        Kitfile.parse("\ufeffbad: 1\n".encode())
    assert (caught.value.faults[0].line, caught.value.faults[0].message) == (1, "field bad not found in the Kitfile")


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("", Place.LOCAL),
        ("a/b.c", Place.LOCAL),
        ("c d:e f", Place.LOCAL),
        ("1x:y z", Place.LOCAL),
        ("a#b:c d", Place.LOCAL),
        ("x\x01http://", Place.LOCAL),
        ("///x", Place.LOCAL),
        ("s3://bucket/key", Place.S3),
        ("S3:key with blanks", Place.S3),
        ("reg.io/a/b:v1", Place.REFERENCE),
        ("a:b", Place.REFERENCE),
        ("a:v1,v2", Place.REFERENCE),
        ("a@sha256:" + "0" * 64, Place.REFERENCE),
        ("sha256:" + "0" * 64, Place.REFERENCE),
    ],
)
def test_place_of_a_path_is_told_as_kit_does(path: str, place: Place) -> None:
    assert place_of(path) is place
    assert is_reference(path) is (place is Place.REFERENCE)


@pytest.mark.parametrize("path", ["http://x", "HTTPS:x y", "//host/x", "mailto:a b", "c:\\x"])
def test_place_of_an_unknown_url_is_refused(path: str) -> None:
    with pytest.raises(InvalidError):
        place_of(path)


words = st.sampled_from(
    [
        "manifestVersion",
        "package",
        "model",
        "path",
        "parts",
        "docs",
        "parameters",
        "a",
        "1",
        "é",
        "&a",
        "*a",
        "<<",
        "!!",
    ]
) | st.sampled_from([*":-[]{}|>'\"#?,~% \n\t\0", ": ", "- ", "  ", "---"])


@given(st.lists(words, max_size=25).map("".join) | st.text(max_size=60))
def test_parse_of_any_text_gives_a_kitfile_or_our_error(text: str) -> None:
    with contextlib.suppress(InvalidError):
        kitfile = Kitfile.parse(text.encode("utf-8", "replace"))
        assert Kitfile.parse(kitfile.to_yaml()) == kitfile


@given(st.binary(max_size=60))
def test_parse_of_any_bytes_gives_a_kitfile_or_our_error(text: bytes) -> None:
    with contextlib.suppress(InvalidError):
        assert isinstance(Kitfile.parse(text), Kitfile)


shapes = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["path", "name", "parts", "x", "remotePath", "parameters"]), inner, max_size=4
        )
    ),
    max_leaves=10,
)
sections = st.sampled_from(
    ["manifestVersion", "package", "model", "code", "datasets", "docs", "prompts", "mcpServers", "x"]
)


@given(st.dictionaries(sections, shapes, max_size=5))
def test_parse_of_any_document_gives_a_kitfile_or_faults_with_places(document: object) -> None:
    found: tuple[Fault, ...] = ()
    try:
        Kitfile.parse(json.dumps(document).encode())
    except InvalidError as error:
        found = error.faults or (Fault("an error without faults"),)
    assert all(fault.line and fault.column for fault in found)
