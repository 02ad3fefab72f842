"""What the page of a model says of its context; how it looks is in the pictures of the README."""

from dataclasses import replace

from preview.reporting.model_page import _held
from tests.unit.small_stack import server, serving


def test_requests_at_once_follow_from_the_cache_or_from_what_is_let_in():
    """Of the cache what it holds, and the limit where that is less; without one, the limit alone."""
    found = server(serving())
    tokens, times = found.memory.kv_cache_tokens, found.memory.max_concurrency
    held = f"; KV cache {tokens:,} tokens = {times:.1f} × 32,768"
    assert _held(found) == held
    assert _held(replace(found, max_num_seqs=1)) == f"{held}, at most 1 at once"
    without = replace(found, memory=replace(found.memory, kv_cache_tokens=0, max_concurrency=256))
    assert _held(without) == ", at most 256 at once"
