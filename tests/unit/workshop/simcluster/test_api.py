"""What a client makes of an API server's answers; the server itself is tests/cluster's business."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from workshop.simcluster import api
from workshop.simcluster.api import Api, ApiError, Endpoint, Unreachable

STARTING = {
    "kind": "Status",
    "reason": "ServiceUnavailable",
    "message": "the request has been made before all known HTTP paths have been installed, please try again",
}


class Answering(Api):
    """A client whose server gives one answer, after it was away so many times."""

    def __init__(self, status: int, answer: Mapping[str, str], patience_s: float = 0, away: int = 0) -> None:
        self._endpoint, self._patience_s = Endpoint(6443, Path("ca"), Path("crt"), Path("key")), patience_s
        self._answer, self.away = (status, json.dumps(answer).encode()), away

    def _exchange(
        self,
        method: str,  # noqa: ARG002 - the client's own signature
        target: str,  # noqa: ARG002 - as above
        data: str | None,  # noqa: ARG002 - as above
        headers: Mapping[str, str],  # noqa: ARG002 - as above
    ) -> tuple[int, bytes]:
        if self.away:
            self.away -= 1
            raise Unreachable("away")
        return self._answer


def test_a_server_that_is_still_starting_is_asked_again():
    """503 is no refusal: it comes for every path while the server starts."""
    with pytest.raises(Unreachable) as refused:
        Answering(503, STARTING).request("GET", "/apis/apps/v1")
    assert str(refused.value) == f"the API server on port 6443 is not ready: {STARTING['message']}"


@pytest.mark.parametrize("status", [400, 404, 409, 429, 500])
def test_a_refusal_is_the_servers_own_word(status: int):
    """Status, reason and message are kept; whether to ask again is the caller's to say."""
    with pytest.raises(ApiError) as refused:
        Answering(status, {"reason": "Because", "message": "no"}).request("GET", "/x")
    assert (refused.value.status, refused.value.reason, str(refused.value)) == (status, "Because", "no")


def test_an_answer_is_decoded():
    """JSON becomes data."""
    assert Answering(200, {"a": "b"}).request("GET", "/x") == {"a": "b"}


def test_a_patient_client_waits_for_a_server_that_is_away(monkeypatch: pytest.MonkeyPatch):
    """It asks again until it is answered; without patience, or when that is over, the caller is told."""
    monkeypatch.setattr(api, "POLL_S", 0.001)
    assert Answering(200, {"a": "b"}, patience_s=60, away=3).request("GET", "/x") == {"a": "b"}
    for patience_s in (0, 0.01):
        with pytest.raises(Unreachable, match=r"^away$"):
            Answering(200, {}, patience_s, away=10**6).request("GET", "/x")
