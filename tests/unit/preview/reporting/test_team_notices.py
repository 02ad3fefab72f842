"""Notices of a change of teams, from the documents of both sides."""

from typing import Any

import pytest

from preview.reporting.team_notices import of_teams

TEAM: dict[str, Any] = {
    "models": ["m"],
    "fallbacks": ["n"],
    "requests_per_minute": 100,
    "tokens_per_minute": None,
    "per_model": {"m": {"requests_per_minute": 10, "tokens_per_minute": None}},
    "monthly_budget_usd": 500,
    "secret": "llm-team-search",
    "keys": [{"alias": "search-app-1"}, {"alias": "search-app-2"}],
}


def side(teams: Any) -> dict[str, Any]:
    """A document with these teams."""
    return {"gateway": {"teams": teams}}


def notices(before: Any, after: Any) -> list[str]:
    """As they are printed."""
    return [str(notice) for notice in of_teams(side(before), side(after))]


@pytest.mark.parametrize("before", [None, {}])
def test_new_teams_take_nothing_from_anybody(before: Any):
    """Nor does a document of an older version, which has no teams."""
    assert notices(before, {"search": TEAM}) == []
    assert list(of_teams({"gateway": {}}, side({"search": TEAM}))) == []


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({}, []),
        ({"keys": [{"alias": "search-app-2"}, {"alias": "search-app-3"}]}, [
            "**users of the key `search-app-1`**: it ends, and they get 401",
        ]),
        ({"models": ["m", "n"], "fallbacks": []}, []),
        ({"fallbacks": []}, ["**team `search`**: may no longer ask n, and gets 403"]),
        ({"secret": "search-keys"}, [
            ("**team `search`**: its keys are those in Secret search-keys, no longer those in llm-team-search: others "
            "get 401"),
        ]),
        ({"requests_per_minute": 50}, [
            "**team `search`**: has 50 requests per minute, no longer 100; beyond it gets 429",
        ]),
        ({"requests_per_minute": None, "monthly_budget_usd": 600}, []),
        ({"tokens_per_minute": 7000}, [
            "**team `search`**: has 7,000 tokens per minute, no longer any number of; beyond it gets 429",
        ]),
        ({"per_model": {"n": {"requests_per_minute": 5, "tokens_per_minute": None}}}, [
            "**team `search`**: has 5 requests per minute for n, no longer any number of; beyond it gets 429",
        ]),
        ({"monthly_budget_usd": 20}, [
            "**team `search`**: may use up $20.00 a month, no longer $500.00; then it gets 429",
        ]),
    ],
)  # fmt: skip
def test_what_a_team_loses_is_said(changed: dict[str, Any], wanted: list[str]):
    """Less than before, and nothing of what is more."""
    assert notices({"search": TEAM}, {"search": {**TEAM, **changed}}) == wanted


def test_a_team_that_goes_takes_its_keys_along():
    """Each has its own line, because each has its own users."""
    ended = [f"**users of the key `search-app-{number}`**: it ends, and they get 401" for number in (1, 2)]
    assert notices({"search": TEAM}, {}) == ended


def test_keys_stay_valid_when_nothing_is_said_of_teams_any_more():
    """The Job that would end them is gone with them."""
    assert notices({"search": TEAM}, None) == [
        (
            "**holders of virtual keys**: `gateway.teams` is left out, so keys of its teams stay valid as they are; "
            "`teams: {}` would end them"
        )
    ]
