"""The planner against published vLLM runs: verdicts, KV cache, needs, longest contexts, and a list of misses."""

from functools import cache
from statistics import median

import pytest

from benchmarks import accuracy
from benchmarks.accuracy import Case, Outcome, UnknownFlagError, read_cases, scored
from catalog import load_catalog

CASES = read_cases()
EXPECTED = [case for case in scored() if case.miss is None]
MISSES = [case for case in scored() if case.miss is not None]
JUDGED = [case for case in EXPECTED if case.judged]


@cache
def outcome(case_id: str) -> Outcome:
    """The planner's answer to a case, computed once; a flag it does not know is a failure that names it."""
    case = next(case for case in CASES if case.id == case_id)
    try:
        return accuracy.ask(case)
    except UnknownFlagError as error:
        pytest.fail(str(error))


def with_number(name: str) -> list[Case]:
    """The judged cases whose run logged this number."""
    return [case for case in JUDGED if name in case.numbers]


def by_id(cases: list[Case]):
    """Runs a test once per case."""
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.id)


def outside(each: Outcome) -> list[str]:
    """What is wrong about one outcome alone."""
    wrong = [] if each.right else ["verdict"]
    if not each.case.judged:
        return wrong
    error = each.kv_error
    if error is not None and not -accuracy.WORST_LIMIT <= error <= accuracy.ABOVE_LIMIT:
        wrong.append(f"KV {error:+.1f} %")
    limits = {"neededGib": accuracy.NEEDED_LIMIT, "maxContextTokens": accuracy.MAX_CONTEXT_LIMIT}
    return wrong + [name for name, limit in limits.items() if abs(each.errors.get(name, 0.0)) > limit]


def test_every_case_says_where_it_comes_from_and_why_it_is_not_scored():
    """Ids are unique, results known, models and GPUs catalogued or declared missing, exemptions explained."""
    catalog = load_catalog()
    assert len({case.id for case in CASES}) == len(CASES)
    for case in CASES:
        assert case.result in {"FIT", "FAIL", "REFUSE"}, case.id
        assert case.source, case.id
        assert case.gpu in catalog.gpus, case.id
        assert (case.model in catalog.models) == case.catalogued, case.id
        assert (case.scored and case.numbers_scored) or case.why, case.id
        assert case.scored or case.miss is None, case.id


def test_there_are_as_many_held_out_cases_as_promised():
    """At least twenty cases that were found afterwards are scored."""
    assert sum(case.held_out for case in scored()) >= 20


@by_id(EXPECTED)
def test_verdict(case: Case):
    """What started fits, what failed or is impossible is refused."""
    each = outcome(case.id)
    assert each.right, each.answer.reasons or f"said to fit: {each.answer.fit.memory}"


@by_id([case for case in JUDGED if {"kvCacheGib", "kvCacheTokens", "stateBlocks"} & set(case.numbers)])
def test_kv_cache(case: Case):
    """The KV cache is at most 3 % larger and 10 % smaller than what the run logged."""
    each = outcome(case.id)
    assert each.kv_error is not None, "no memory was computed"
    assert -accuracy.WORST_LIMIT <= each.kv_error <= accuracy.ABOVE_LIMIT, dict(each.errors)


@pytest.mark.parametrize("held_out", [False, True], ids=["given", "held-out"])
def test_median_kv_cache(held_out):
    """Half of the predictions are within 5 %, for the given and for the held-out cases; misses count."""
    cases = [case for case in scored() if case.judged and case.held_out == held_out]
    errors = accuracy.kv_errors(outcome(case.id) for case in cases)
    assert median(map(abs, errors)) <= accuracy.MEDIAN_LIMIT, sorted(errors)


@by_id(with_number("neededGib"))
def test_needed(case: Case):
    """What one sequence needs is within 1 % of what vLLM said."""
    assert abs(outcome(case.id).errors["neededGib"]) <= accuracy.NEEDED_LIMIT


@by_id(with_number("maxContextTokens"))
def test_longest_context(case: Case):
    """The longest context is within 3 % of vLLM's estimate."""
    assert abs(outcome(case.id).errors["maxContextTokens"]) <= accuracy.MAX_CONTEXT_LIMIT


@by_id(MISSES)
def test_a_listed_miss_is_still_missed(case: Case):
    """A case with a `miss` is still wrong: whoever mends it takes it off the list."""
    assert outside(outcome(case.id)), f"{case.id} is right now; delete its miss: {case.miss}"


@pytest.mark.parametrize("held_out", [False, True], ids=["given", "held-out"])
def test_misses_stay_within_what_is_allowed(held_out):
    """No miss is a false fit, and at most one is a false refusal that arithmetic could have avoided."""
    wrong = [outcome(case.id) for case in MISSES if case.held_out == held_out]
    assert not [each.case.id for each in wrong if not each.right and each.fits]
    refused = [each.case.id for each in wrong if not each.right and each.answer.fit.memory is not None]
    assert len(refused) <= accuracy.FALSE_REFUSALS_LIMIT
