"""The workflows: what they may, whose code they run, and the script that comments, against a GitHub on this machine.

Does not prove that GitHub answers as this one does.
"""

import importlib.util
import io
import json
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from tests.harness import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
SCRIPT = ROOT / ".github/scripts/comment.py"
ACTION = re.compile(r"uses: ([\w.-]+/[\w./-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)$")


def parsed(file: Path) -> dict[str, Any]:
    """A workflow; `on` is no boolean there."""
    return yaml.load(file.read_text(), yaml.BaseLoader)


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every job of every workflow."""
    for file in WORKFLOWS:
        for name, job in parsed(file)["jobs"].items():
            yield f"{file.stem}.{name}", job


def test_actions_are_commits():
    """Every action is one commit, with its version beside it, and one version of each is used."""
    lines = [line.strip().removeprefix("- ") for file in WORKFLOWS for line in file.read_text().splitlines()]
    uses = [line for line in lines if line.startswith("uses:")]
    found = [match.groups() for line in uses if (match := ACTION.fullmatch(line))]
    assert (len(found), len(uses) > 5) == (len(uses), True)
    assert len({name for name, _, _ in found}) == len(set(found))


def test_permissions_are_those_of_jobs():
    """A workflow as a whole may nothing; only the job that comments may write, and only to pull requests."""
    assert [parsed(file)["permissions"] for file in WORKFLOWS] == [{}] * len(WORKFLOWS)
    rights = {name: job["permissions"] for name, job in jobs()}
    assert {name: kinds for name, kinds in rights.items() if "write" in kinds.values()} == {
        "comment.comment": {"actions": "read", "contents": "read", "pull-requests": "write"}
    }
    assert {name for name, kinds in rights.items() if kinds == {"contents": "read"}} == rights.keys() - {
        "comment.comment"
    }


def test_no_credentials_stay_in_a_checkout():
    """What runs later in a job cannot push."""
    steps = [step for _, job in jobs() for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
    assert len(steps) == len(list(jobs()))
    assert {step["with"]["persist-credentials"] for step in steps} == {"false"}


def test_code_of_a_pull_request_meets_no_secret():
    """What runs it is triggered by `pull_request`, names no secret and no token, and is not what comments."""
    for file in WORKFLOWS:
        workflow, text = parsed(file), file.read_text()
        if "pull_request" in workflow["on"]:
            assert ("secrets." in text, "github.token" in text) == (False, False)
        assert "pull_request_target" not in workflow["on"]
    (step, script) = parsed(ROOT / ".github/workflows/comment.yml")["jobs"]["comment"]["steps"]
    assert step["with"]["ref"] == "${{ github.event.repository.default_branch }}"
    assert script["run"] == f"python3 {SCRIPT.relative_to(ROOT)}"


def test_nothing_is_expanded_into_a_shell():
    """Names of branches are variables of the shell, never text of its script."""
    scripts = [step["run"] for _, job in jobs() for step in job["steps"] if "run" in step]
    assert [script for script in scripts if "${{" in script] == []


def test_zizmor_finds_nothing():
    """The static analyser for workflows has nothing to say, even when it is pedantic."""
    command = [Path(sys.executable).with_name("zizmor"), "--offline", "--color=never", "--persona=pedantic", "--quiet"]
    done = subprocess.run([*command, *WORKFLOWS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "No findings to report. Good job! (1 ignored)")


# ---- the comment -----------------------------------------------------------------------------------------------------


def script() -> Any:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("comment", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


COMMENT = script()
HEAD = {"sha": "a" * 40, "repo": {"id": 7}}
RUN = {
    "id": 5,
    "head_sha": HEAD["sha"],
    "head_branch": "feature/a&b",
    "head_repository": {"id": 7, "owner": {"login": "somebody"}},
    "html_url": "https://github.com/o/r/actions/runs/5",
}


def archive(text: str | bytes, name: str = "preview.md") -> bytes:
    """An artifact with one file."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as place:
        place.writestr(name, text)
    return held.getvalue()


class GitHub:
    """As much of GitHub as the script asks for; remembers what was written, and who brought a token where."""

    def __init__(self) -> None:
        self.pulls: list[dict[str, Any]] = [{"number": 3, "head": HEAD}]
        self.comments: list[dict[str, Any]] = []
        self.artifact = archive("### prod: no changes\n")
        self.artifacts = [{"id": 9, "name": "preview-3", "expired": False}]
        self.written: list[tuple[str, str, dict[str, Any]]] = []
        self.tokens: list[tuple[str, str | None]] = []
        github = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self, content: Any, code: int = 200) -> None:
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self) -> None:
                place = urlsplit(self.path)
                query = {key: values[0] for key, values in parse_qs(place.query).items()}
                github.tokens.append((place.path, self.headers["Authorization"]))
                first = (int(query.get("page", 1)) - 1) * 100
                if place.path == "/repos/o/r/actions/artifacts/9/zip":
                    self.send_response(302)
                    self.send_header("Location", f"{github.address}/blob")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                if place.path == "/repos/o/r/pulls":
                    assert (query["state"], query["head"]) == ("open", "somebody:feature/a&b")
                known = {
                    "/repos/o/r/actions/runs/5/artifacts": {"artifacts": github.artifacts[first : first + 100]},
                    "/repos/o/r/issues/3/comments": github.comments[first : first + 100],
                    "/repos/o/r/pulls": github.pulls[first : first + 100],
                    "/blob": github.artifact,
                }
                self.answer(known.get(place.path, {}), 200 if place.path in known else 404)

            def do_POST(self) -> None:
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                github.written.append((self.command, self.path, content))
                self.answer({"id": 1})

            def do_PATCH(self) -> None:
                self.do_POST()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its own name
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def github() -> Iterator[GitHub]:
    """GitHub on this machine."""
    there = GitHub()
    yield there
    there.server.shutdown()
    there.server.server_close()


@pytest.fixture
def comment(github, tmp_path):
    """A function that runs the script as its workflow does; returns exit code, output, and what was written."""

    def run() -> tuple[int, str, list[tuple[str, str, dict[str, Any]]]]:
        event = tmp_path / "event.json"
        event.write_text(json.dumps({"workflow_run": RUN}))
        environment = {
            "GITHUB_EVENT_PATH": str(event),
            "GITHUB_API_URL": github.address,
            "GITHUB_REPOSITORY": "o/r",
            "GITHUB_TOKEN": "secret-token",
            "no_proxy": "127.0.0.1",
        }
        done = subprocess.run(
            [sys.executable, SCRIPT], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert "secret-token" not in done.stdout + done.stderr
        return done.returncode, done.stdout + done.stderr, github.written

    return run


def by(author: str, text: str, number: int = 1) -> dict[str, Any]:
    """A comment that is there."""
    return {"id": number, "user": {"login": author}, "body": text}


def test_the_first_comment_is_made(comment):
    """Where there is none of ours, one is made, with the marker, the text and a link to the run."""
    code, said, written = comment()
    assert (code, said) == (0, "made comment 1 of pull request 3\n")
    text = (
        f"{COMMENT.MARKER}\nWhat this pull request would change, as its own code says ([run]({RUN['html_url']})).\n\n"
        "### prod: no changes\n"
    )
    assert written == [("POST", "/repos/o/r/issues/3/comments", {"body": text})]


def test_ours_is_edited_and_nobody_elses(comment, github):
    """It is found by author and marker, on whatever page; nobody else's is, nor another one of the bot's."""
    ours = f"{COMMENT.MARKER}\nold"
    github.comments = [by("somebody", f"{n}") for n in range(230)]
    github.comments += [
        by("somebody", ours, 2),
        by(COMMENT.AUTHOR, f"> {ours}", 3),
        {"id": 4, "user": None, "body": None},
    ]
    github.comments += [by(COMMENT.AUTHOR, ours, 5), by(COMMENT.AUTHOR, ours, 6)]
    code, said, written = comment()
    assert (code, said) == (0, "edited comment 5 of pull request 3\n")
    assert [(method, path) for method, path, _ in written] == [("PATCH", "/repos/o/r/issues/comments/5")]


@pytest.mark.parametrize(
    "pulls",
    [
        [],
        [{"number": 3, "head": {**HEAD, "sha": "b" * 40}}],
        [{"number": 3, "head": {**HEAD, "repo": {"id": 8}}}],
        [{"number": 3, "head": {**HEAD, "repo": None}}],
        [{"number": 4, "head": HEAD}, {"number": 5, "head": HEAD}],
    ],
)
def test_the_artifact_does_not_decide_where_it_goes(comment, github, pulls):
    """Nothing is written for a closed pull request, for an older commit, for another fork, or on a guess."""
    github.pulls = pulls
    code, said, written = comment()
    assert (code, said, written) == (0, "no open pull request has this commit as its newest; nothing to do\n", [])


def test_two_pull_requests_of_one_commit(comment, github):
    """Among those that the run may belong to, the artifact's name says which."""
    github.pulls = [{"number": 2, "head": HEAD}, {"number": 3, "head": HEAD}]
    assert comment()[1] == "made comment 1 of pull request 3\n"


def test_the_token_goes_to_github_only(comment, github):
    """Where the bytes of an artifact lie, nobody is told the token."""
    comment()
    assert {path: token for path, token in github.tokens if path == "/blob"} == {"/blob": None}
    assert {token for path, token in github.tokens if path != "/blob"} == {"Bearer secret-token"}


@pytest.mark.parametrize(
    "content",
    [
        b"no archive",
        archive("x", "other.md"),
        archive("x", "../preview.md"),
        archive(b"x" * (3 * 2**20)),
        archive("  \n"),
        b"x" * (3 * 2**20),
    ],
)
def test_an_artifact_that_is_none(comment, github, content):
    """Whatever was uploaded in its place, a bomb included, the comment says that nothing was rendered."""
    github.artifact = content
    code, _, ((_, _, sent),) = comment()
    assert (code, sent["body"].splitlines()[-1]) == (0, "Nothing was rendered; the log of the run says why.")


def test_without_an_artifact(comment, github):
    """A run that ended before it could upload anything is said, too; other artifacts are none of ours."""
    github.artifacts = [{"id": 8, "name": "logs", "expired": False}, {"id": 9, "name": "preview-3", "expired": True}]
    code, _, ((_, _, sent),) = comment()
    assert (code, "Nothing was rendered" in sent["body"]) == (0, True)


def test_text_is_only_text(comment, github):
    """Nobody is called, nothing is hidden, and digests can still be copied."""
    digest = "image@sha256:" + "0" * 64
    github.artifact = archive(f"hello @team and (@me) \x1b[31m\u202e\x00`{digest}` mail a@b.c\n")
    _, _, ((_, _, sent),) = comment()
    assert sent["body"].splitlines()[-1] == f"hello @\u2060team and (@\u2060me) [31m`{digest}` mail a@b.c"


def test_a_long_text_is_cut(comment, github):
    """A comment is never larger than GitHub takes, whoever rendered it."""
    github.artifact = archive("### prod\n" + "- ä line\n" * 100_000)
    _, _, ((_, _, sent),) = comment()
    assert 60_000 < len(sent["body"].encode()) <= 65_536
    assert re.search(r"\n… [0-9,]+ more lines cut; `make diff ARGS=--all` prints all of it\n$", sent["body"])


def test_an_error_of_github_is_an_error(comment, github):
    """A run that could not comment is red, so that somebody looks."""
    github.pulls = [{"number": 4, "head": HEAD}]
    code, said, written = comment()
    assert (code, "404" in said, written) == (1, True, [])
