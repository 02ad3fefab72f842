"""Problems and refusals: how they read, and which known word is offered for an unknown one."""

import pytest

from settings.problems import Problem, Refused, nearest


def test_a_problem_reads_as_path_and_message():
    """One line, the path first, as written in the stack file."""
    assert str(Problem("models.m.replicas", "min (3) must not exceed max (2)")) == (
        "models.m.replicas: min (3) must not exceed max (2)"
    )


def test_a_refusal_keeps_the_order_and_says_nothing_twice():
    """Every problem is on a line of its own, in the order found; one found twice is said once."""
    first, second = Problem("b", "one"), Problem("a", "two")
    refused = Refused([first, second, first])
    assert refused.problems == (first, second)
    assert str(refused) == "b: one\na: two"


@pytest.mark.parametrize(
    ("word", "known", "said"),
    [
        ("tensorParalel", ["tensorParallel", "pipelineParallel"], "; did you mean 'tensorParallel'?"),
        ("Nvidia-A10", ["nvidia-a10", "nvidia-a10g"], "; did you mean 'nvidia-a10'?"),
        ("qwen/qwen3-14b", ["Qwen/Qwen3-14B", "Qwen/Qwen3-4B"], "; did you mean 'Qwen/Qwen3-14B'?"),
        ("x", ["nodes", "gpu"], "; known: gpu, nodes"),
        ("x", [f"key{number:02}" for number in range(16)], "; known: " + ", ".join(f"key{n:02}" for n in range(16))),
        ("x", [f"key{n:02}" for n in range(17)], "; known: " + ", ".join(f"key{n:02}" for n in range(16)) + ", …"),
        ("x", [], ""),
        ("", ["nodes"], "; known: nodes"),
    ],
)
def test_the_nearest_known_word_is_offered(word, known, said):
    """The closest word whatever its case; where none is close, the first twelve known ones, sorted."""
    assert nearest(word, known) == said
