import datetime as dt
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.oci.encoding import encode, sort_keys

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)


@pytest.mark.parametrize(
    ("value", "text"),
    # What Go 1.26's json.Marshal prints for the same values.
    [
        (1.5e30, "1.5e+30"),
        (1.0, "1"),
        (0.1, "0.1"),
        (1e21, "1e+21"),
        (1e20, "100000000000000000000"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (1.234e-9, "1.234e-9"),
        (1.2345678901234568e23, "1.2345678901234569e+23"),
        (-2.5e-10, "-2.5e-10"),
        (5e-324, "5e-324"),
        (100.5, "100.5"),
        (0.0, "0"),
        (-0.0, "-0"),
        ("a<b>&c\u2028\u2029 é", '"a\\u003cb\\u003e\\u0026c\\u2028\\u2029 é"'),
        ('\x00\x01\b\f\n\r\t"\\/\x7f', '"\\u0000\\u0001\\b\\f\\n\\r\\t\\"\\\\/\x7f"'),
        ({"b": [], "a": {}}, '{"b":[],"a":{}}'),
        ((1, True, None), "[1,true,null]"),
    ],
)
def test_encode_writes_what_go_writes(value, text):
    assert encode(value).decode() == text


@given(VALUES)
def test_encode_is_read_back_as_the_same_value(value):
    # A float without a fraction is written like an integer, so both are read as floats.
    assert json.loads(encode(value), parse_int=float) == json.loads(json.dumps(value), parse_int=float)
    assert json.loads(encode(value, indent=2)) == json.loads(encode(value))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_encode_float_is_read_back_exactly(value):
    assert float(json.loads(encode(value))) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_encode_what_json_lacks_is_refused(value):
    with pytest.raises(ValueError, match="no JSON form"):
        encode(value)


def test_encode_indented_looks_like_go_marshal_indent():
    assert encode({"a": [1, {}], "b": {}, "c": "x"}, indent=2).decode() == (
        '{\n  "a": [\n    1,\n    {}\n  ],\n  "b": {},\n  "c": "x"\n}'
    )


def test_encode_other_values_are_written_as_text():
    assert encode(dt.date(2026, 1, 2)) == b'"2026-01-02"'


def test_sort_keys_sorts_at_every_depth():
    assert encode(sort_keys({"b": [{"z": 1, "y": 2}], "a": 0})) == b'{"a":0,"b":[{"y":2,"z":1}]}'
