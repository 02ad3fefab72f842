"""Which of two versions is the older one."""

import pytest

from planning.stack.versions import is_older, line, parse_version


@pytest.mark.parametrize(
    ("version", "needed", "expected"),
    [
        ("v0.32.9", "0.33", True),
        ("v0.33.0", "0.33", False),
        ("0.33.0rc1", "0.33", False),
        ("v0.9.2", "0.10.0", True),
        ("1.0", "0.33", False),
        ("by digest", "0.33", False),
        ("", "0.19", False),
    ],
)
def test_a_version_is_older_by_its_first_two_numbers(version, needed, expected):
    """Numbers are compared as such; what has none is not known to be old."""
    assert is_older(version, needed) is expected


def test_a_release_comes_after_what_led_to_it():
    """And zeros at the end say nothing."""
    assert sorted(["1.2.0", "1.2.0rc1", "1.1.9"], key=parse_version) == ["1.1.9", "1.2.0rc1", "1.2.0"]
    assert (parse_version("v1.2.0"), line(parse_version("v1.2.3"))) == (parse_version("1.2"), (1, 2))
