"""Puts the text that the workflow `preview` handed on into one comment of its pull request.

Runs in the workflow `comment`, with a token that may comment. Everything in the artifact is somebody else's text: a
little of it is read, none of it decides where it goes, and nothing in it can call people or pass for another comment.
Needs nothing but Python.
"""

import io
import json
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from preview.reporting.bounds import AROUND_BYTES, COMMENT_BYTES, cut

MARKER = "<!-- llm-stack: preview -->"
# Who the token of a workflow is.
AUTHOR = "github-actions[bot]"
MEMBER = "preview.md"
ARTIFACT = re.compile(r"preview-([1-9][0-9]{0,9})")
MOST_BYTES = 2 * 2**20
PAGE = 100
TIMEOUT_S = 30
# Characters that a terminal or a reader could be misled by: controls, and those that change the direction of text.
HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# `@name` outside of a word calls that person or team; a joiner of no width in between does not.
MENTION = re.compile(r"(?<![\w`/@])@(?=[A-Za-z0-9])")


class Api:
    """GitHub's REST interface for one repository."""

    def __init__(self, address: str, repository: str, token: str) -> None:
        self.base = f"{address.rstrip('/')}/repos/{repository}"
        self.headers = {
            "Authorization": f"Bearer {token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
            "User-Agent": "llm-stack",
        }

    def call(self, path: str, method: str = "GET", content: Any = None) -> Any:
        """The answer to a request, as data."""
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self.base + path, data, self.headers, method=method)
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return json.load(answer)

    def pages(self, path: str, field: str | None = None) -> Iterator[Any]:
        """All entries of a list, however many pages it has."""
        number = 1
        while True:
            answer = self.call(f"{path}{'&' if '?' in path else '?'}per_page={PAGE}&page={number}")
            entries = answer[field] if field else answer
            yield from entries
            if len(entries) < PAGE:
                return
            number += 1

    def download(self, artifact: int) -> bytes:
        """The bytes of an artifact. They lie elsewhere, where the token has no business."""
        request = urllib.request.Request(f"{self.base}/actions/artifacts/{artifact}/zip", headers=self.headers)
        try:
            answer = urllib.request.build_opener(_Stay).open(request, timeout=TIMEOUT_S)
        except urllib.error.HTTPError as moved:
            place = moved.headers.get("Location")
            if place is None or not 300 <= moved.code < 400:
                raise
            answer = urllib.request.urlopen(place, timeout=TIMEOUT_S)
        with answer:
            content = answer.read(MOST_BYTES + 1)
        return content if len(content) <= MOST_BYTES else b""


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any) -> None:
        return None


def handed_on(api: Api, run: int) -> tuple[int | None, str]:
    """(number of a pull request as the artifact claims it, text); None and nothing where there is no such artifact."""
    for artifact in api.pages(f"/actions/runs/{run}/artifacts", "artifacts"):
        if (match := ARTIFACT.fullmatch(artifact["name"])) and not artifact["expired"]:
            return int(match[1]), text_of(api.download(artifact["id"]))
    return None, ""


def text_of(archive: bytes) -> str:
    """The one file that is looked for, as text; nothing where it is not there or larger than anything we make."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as held, held.open(MEMBER) as member:
            content = member.read(MOST_BYTES + 1)
    except (zipfile.BadZipFile, KeyError, RuntimeError, NotImplementedError, OSError, EOFError, ValueError):
        return ""
    return content.decode(errors="replace") if len(content) <= MOST_BYTES else ""


def pull_request(api: Api, event: Any, claimed: int | None) -> int | None:
    """The open pull request whose newest commit was rendered; the artifact only chooses among several such.

    None where there is none: it was closed, or somebody has pushed again, and that run will comment.
    """
    run = event["workflow_run"]
    head = f"{run['head_repository']['owner']['login']}:{run['head_branch']}"
    query = urllib.parse.quote(head, safe="")
    found = [
        pull["number"]
        for pull in api.pages(f"/pulls?state=open&head={query}")
        if pull["head"]["sha"] == run["head_sha"]
        and (pull["head"]["repo"] or {}).get("id") == run["head_repository"]["id"]
    ]
    if claimed in found:
        return claimed
    return found[0] if len(found) == 1 else None


def body(text: str, link: str) -> str:
    """The comment: the marker first, then the text, without what could call people or hide something."""
    shown = MENTION.sub("@\u2060", HIDDEN.sub("", text)).strip()
    shown = shown or "Nothing was rendered; the log of the run says why."
    head = f"{MARKER}\nWhat this pull request would change, as its own code says ([run]({link})).\n\n"
    return head + cut(f"{shown}\n", COMMENT_BYTES - AROUND_BYTES // 2, "make diff ARGS=--all")


def put(api: Api, number: int, text: str) -> str:
    """Edits the comment that is there, or makes one; says which."""
    for comment in api.pages(f"/issues/{number}/comments"):
        ours = (comment["user"] or {}).get("login") == AUTHOR and (comment["body"] or "").startswith(MARKER)
        if ours:
            api.call(f"/issues/comments/{comment['id']}", "PATCH", {"body": text})
            return f"edited comment {comment['id']} of pull request {number}"
    made = api.call(f"/issues/{number}/comments", "POST", {"body": text})
    return f"made comment {made['id']} of pull request {number}"


def main() -> int:
    """Comments on the pull request of the run that the event is about; 0 also where there is nothing to do."""
    event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
    api = Api(os.environ["GITHUB_API_URL"], os.environ["GITHUB_REPOSITORY"], os.environ["GITHUB_TOKEN"])
    claimed, text = handed_on(api, event["workflow_run"]["id"])
    number = pull_request(api, event, claimed)
    if number is None:
        sys.stdout.write("no open pull request has this commit as its newest; nothing to do\n")
        return 0
    sys.stdout.write(put(api, number, body(text, event["workflow_run"]["html_url"])) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
