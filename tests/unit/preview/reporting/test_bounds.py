"""A comment that fits: how detail goes, where a page is cut, and what is said of the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preview.reporting.bounds import COMMENT_BYTES, cut, fitting
from tests.unit.small_stack import properties

ALL = "make diff ARGS=--all"


def test_what_fits_is_left_alone():
    """Pages are printed one below the other, in full."""
    assert fitting([["a\n"], ["b\n"]], "", ALL, 10) == "a\n\nb\n"
    assert cut("a\nb\n", 4, ALL) == "a\nb\n"


def test_detail_goes_before_lines_are_cut():
    """The first version of all pages that fits together is taken; without a limit the first of each."""
    pages = [["x" * 50 + "\n", "x" * 5 + "\n"], ["y" * 5 + "\n"]]
    assert fitting(pages, "", ALL, 30) == "xxxxx\n\nyyyyy\n"
    assert fitting(pages, "Note.\n", ALL, None) == f"Note.\n\n{'x' * 50}\n\nyyyyy\n"


def test_a_cut_is_said():
    """Whole lines are kept, and a last line says how many are not and how to see them."""
    text = "".join(f"line {n}\n" for n in range(1000))
    expected = f"line 0\nline 1\nline 2\n\n… 997 more lines cut; `{ALL}` prints all of it\n"
    assert cut(text, 97, ALL) == expected


def test_every_page_keeps_its_beginning():
    """A page of many lines does not push the next one out; short pages stay whole."""
    pages = [["### one\n" + "- x\n" * 5000], ["### two: no changes\n"], ["### three\n" + "- y\n" * 5000]]
    text = fitting(pages, "", ALL, 4000)
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "### one",
        "### two: no changes",
        "### three",
    ]
    assert len(text.encode()) <= 4000
    assert text.count(f"more lines cut; `{ALL}`") == 2


@pytest.mark.parametrize("indent", ["", "  "])
def test_a_fence_is_closed(indent):
    """What follows a cut inside a code block is text again."""
    text = f"before\n{indent}```sh\n" + "echo\n" * 1000 + f"{indent}```\n"
    kept = cut(text, 400, ALL).splitlines()
    assert [line for line in kept if "```" in line] == [f"{indent}```sh", f"{indent}```"]
    assert kept[-2:] == ["", f"… {1003 - (len(kept) - 3):,} more lines cut; `{ALL}` prints all of it"]


def test_a_line_without_end_is_cut_too():
    """One line cannot fill the comment, and its inline code is closed."""
    text = "- `" + "x" * 100_000 + "`\nnext\n"
    first, second, *_ = cut(text, 5000, ALL).splitlines()
    assert (len(first), first[-2:], second) == (2002, "…`", "next")


@properties(200)
@given(
    st.lists(st.lists(st.text(st.characters(codec="utf-8"), max_size=300), max_size=60), min_size=1, max_size=8),
    st.integers(2_000, COMMENT_BYTES),
)
def test_the_limit_holds(pages, limit):
    """Whatever is written, in whatever alphabet, the comment is no larger than it may be."""
    texts = [["".join(f"{line}\n" for line in page)] for page in pages]
    assert len(fitting(texts, "", ALL, limit).encode()) <= limit
