"""How many whole contexts must fit at once: in a stack, in the calculator, and in the choice of GPUs."""

import json

from planning.__main__ import main
from planning.capacity.asked import Asked
from planning.capacity.budget import Parallelism
from planning.questions.calculator import FitQuestion, answer
from tests.unit.small_stack import CATALOG, planned, refusals, serving

A10 = {"gpu": "nvidia-a10", "nodes": 1, "gpusPerNode": 4, "provisioning": {"kind": "labelled"}}


def ask(concurrency: int, gpus: int, context: int | None = 32768):
    """The answer for Qwen3-14B on A10s."""
    return answer(FitQuestion("Qwen/Qwen3-14B", "nvidia-a10", gpus, Asked(context, concurrency=concurrency)), CATALOG)


def test_more_contexts_at_once_take_more_gpus():
    """One context of 32,768 tokens is held by two A10s, four at once need three in as many stages."""
    found = [ask(count, 4).fit.parallelism for count in (1, 4)]
    assert found == [Parallelism(2), Parallelism(1, 3)]


def test_too_many_contexts_are_refused_with_the_number_that_fits():
    """Two A10s hold 1.74 contexts of 32,768 tokens: the refusal says so."""
    said = ask(4, 2)
    assert (said.fit.fits, said.reasons) == (
        False,
        ("2 × nvidia-a10 holds 1.74 sequences of 32768 tokens at once, concurrency asks for 4",),
    )


def test_a_context_left_to_us_is_shared_by_all():
    """The longest context is the one that fits as often as is asked."""
    memory = ask(4, 2, context=0).fit.memory
    assert memory is not None
    assert (memory.context_tokens, memory.max_concurrency >= 4) == (13312, True)


def test_a_stack_asks_for_it_too():
    """models.NAME.concurrency decides the GPUs of a server, or is refused with what would fit."""
    four = planned(serving(A10, contextTokens=32768, concurrency=4)).servers[0]
    assert (four.parallelism, four.memory.max_concurrency >= 4) == (Parallelism(1, 3), True)
    pair = {**A10, "gpusPerNode": 2}
    (said,) = refusals(serving(pair, contextTokens=32768, concurrency=4))
    assert said.partition("; use ")[0].partition(": ")[2] == (
        "pool 'a10' holds 1.74 sequences of 32768 tokens at once, concurrency asks for 4"
    )


def test_the_table_of_all_gpus_asks_for_it_too(capsys):
    """`--gpu all` passes it on: no GPU of the table holds fewer contexts at once than are asked for."""
    assert main(["--model", "Qwen/Qwen3-14B", "--gpu", "all", "--concurrency", "4", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row for row in rows if row["fits"] and row["max_concurrency"] < 4] == []
