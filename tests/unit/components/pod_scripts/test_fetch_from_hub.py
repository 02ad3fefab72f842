"""The download Job with the real clients of both hubs, against a hub on 127.0.0.1 that lies in every way we know.

The versions are those of requirements-dev.txt: huggingface_hub as in workshop/local/requirements.lock, beside vLLM, and
ModelScope's newest. Does not prove what another image's clients record, nor anything about Xet, which needs a server of
its own.
"""

import hashlib
import itertools
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.pod_scripts import fetch_weights
from tests.unit.components.pod_scripts.hostile_hub import HEAD, Answer, HostileHub, git_blob, serving
from tests.unit.components.pod_scripts.test_pod_scripts import (
    FIRST,
    INDEX,
    SECOND,
    lines,
    never_sleep,
    safetensors,
    tree,
    with_header,
)

NAME = f"acme/tiny@{HEAD}"
OTHER = "f" * 40
FILES = {
    INDEX: json.dumps({"weight_map": {"a": FIRST, "b": SECOND}}).encode(),
    FIRST: safetensors(b"one" * 100),
    SECOND: safetensors(b"two" * 200),
    "config.json": b"{}",
    "README.md": b"not wanted",
}
FLIPPED = FILES[FIRST][:-1] + b"!"
DROPPED = f"failed, a retry may help: 1 damaged file(s) of {NAME} dropped, to be downloaded again"


class Volume:
    """A volume to fetch to, and the Job that does."""

    def __init__(self, root: Path, hub: HostileHub) -> None:
        self.root, self.hub = root, hub
        self.volume = root / "models" / "acme--tiny"
        self.target, self.staging = self.volume / HEAD, self.volume / f".incoming-{HEAD}"
        clients = root / "bin"
        clients.mkdir()
        for name in ("hf", "modelscope"):
            (clients / name).write_text(f'#!/bin/sh\n"{Path(sys.executable).parent / name}" "$@"\n')
            (clients / name).chmod(0o755)

    def afterwards(self, client: str, words: str, shell: str) -> None:
        """Let something happen to the volume when a client has done what begins with these words."""
        real = Path(sys.executable).parent / client
        script = f'#!/bin/sh\n"{real}" "$@"\nstatus=$?\ncase "$*" in {words}*) {shell};; esac\nexit $status\n'
        (self.root / "bin" / client).write_text(script)

    def run(self, kind: str = "huggingface", **extra: str) -> int:
        """Run the Job; return its exit status."""
        base = {"MODEL_REPO": "acme/tiny", "MODEL_REVISION": HEAD, "HUB_KIND": kind, "HF_TOKEN": "hf_secret"}
        revision = extra.get("MODEL_REVISION", HEAD)
        base |= {"HF_ENDPOINT": self.hub.url, "MODELSCOPE_ENDPOINT": self.hub.url, "HOME": str(self.root)}
        base |= {"HF_HOME": str(self.root / "hf"), "TARGET_DIR": str(self.volume / revision)}
        base |= {"PATH": f"{self.root / 'bin'}{os.pathsep}{os.defpath}"}
        return fetch_weights.main(base | extra, itertools.count().__next__, never_sleep)


@pytest.fixture
def hub() -> Iterator[HostileHub]:
    """A hub with one model, honest until a test makes it lie."""
    with serving(HostileHub(dict(FILES))) as running:
        yield running


@pytest.fixture
def volume(tmp_path: Path, hub: HostileHub) -> Volume:
    """An empty volume."""
    return Volume(tmp_path, hub)


def on(start: str, number: int = 0, **answer: object):
    """A lie: another answer to what begins so, from the given time on that it is asked for."""
    seen = itertools.count()

    def lie(what: str, _answer: Answer) -> Answer | None:
        if not what.startswith(start) or next(seen) < number:
            return None
        return Answer(**({"body": b""} | answer))  # pyright: ignore[reportArgumentType]

    return lie


def instead(what: str, headers: dict[str, str]):
    """A lie: the honest answer to HEAD and GET of a file, with some headers changed."""

    def lie(asked: str, answer: Answer) -> Answer | None:
        if asked in (f"head {what}", f"get {what}"):
            answer.headers |= headers
        return None

    return lie


KINDS = pytest.mark.parametrize("kind", ["huggingface", "modelscope"])


@KINDS
def test_an_honest_hub_is_published_as_it_is(volume: Volume, kind: str, capsys) -> None:
    """What is published are the hub's bytes without what was not asked for; the manifest has their hashes."""
    assert volume.run(kind) == 0
    said = ["checksums agree with the hub's", "hashed 4 of 4 files", f"published {NAME} at {volume.target}"]
    assert lines(capsys)[-3:] == said
    published = tree(volume.target)
    manifest = json.loads(published.pop("manifest.json"))
    wanted = {name: content for name, content in FILES.items() if name != "README.md"}
    assert published == wanted
    assert manifest == {
        "repo": "acme/tiny",
        "revision": HEAD,
        "commit": HEAD,
        "files": {n: {"bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()} for n, c in sorted(wanted.items())},
    }


SECOND_LISTINGS = {
    "error": {"status": 500},
    "not found": {"status": 404},
    "truncated": {"body": b'[{"type": "file", "path": "config.js', "cut": 100},
    "not JSON": {"body": b"<html>maintenance</html>"},
    "empty": {"body": b"[]"},
    "of another shape": {"body": b'{"error": "no"}'},
}


@pytest.mark.parametrize("answer", SECOND_LISTINGS.values(), ids=SECOND_LISTINGS)
@pytest.mark.parametrize("damaged", [True, False])
def test_a_failed_second_listing_publishes_nothing(volume: Volume, answer: dict, damaged: bool) -> None:
    """Whatever comes instead of the list of files, damaged or not: nothing is published."""
    volume.hub.lie = on("tree", 1, **answer)
    if damaged:
        volume.hub.delivered[FIRST] = FLIPPED
    assert (volume.run(), volume.target.exists()) == (1, False)


def test_a_second_listing_that_comes_later_heals_the_download(volume: Volume) -> None:
    """What is staged stays; the damaged shard in it is dropped by the next run, and brought by the one after."""
    volume.hub.lie = on("tree", 1, status=500)
    volume.hub.delivered[FIRST] = FLIPPED
    runs = [volume.run()]
    volume.hub.lie, volume.hub.delivered = lambda _what, _answer: None, {}
    runs += [volume.run(), volume.run()]
    assert (runs, tree(volume.target)[FIRST]) == ([1, 1, 0], FILES[FIRST])
    assert volume.hub.count(f"cdn {SECOND}") == 1


@pytest.mark.parametrize("answer", [{"status": 404}, {"body": b"<html>"}, {"body": b'{"Data": {"Files": []}}'}])
def test_a_failed_second_listing_of_modelscope_publishes_nothing(volume: Volume, answer: dict) -> None:
    """The same for ModelScope."""
    volume.hub.lie = on("files", 1, **answer)
    assert (volume.run("modelscope"), volume.target.exists()) == (1, False)


def test_a_listing_that_grows_is_not_believed(volume: Volume, capsys) -> None:
    """A file that only the second listing has was left out of the download; the next run brings it."""
    first = dict(FILES)
    volume.hub.files = {name: content for name, content in first.items() if name != "config.json"}

    def grow(what: str, _answer: Answer) -> None:
        if what.startswith("tree") and volume.hub.count("tree") == 2:
            volume.hub.files = first

    def lie(what: str, answer: Answer) -> Answer | None:
        grow(what, answer)
        return Answer(json.dumps(volume.hub.tree()).encode()) if what.startswith("tree") else None

    volume.hub.lie = lie
    assert volume.run() == 1
    differ = f"the hub's two listings of {NAME} differ: 4 files, then 5, 3 of the 3 that are staged"
    assert lines(capsys)[-1] == f"failed, a retry may help: {differ}"
    assert volume.run() == 0
    assert tree(volume.target)["config.json"] == b"{}"


@KINDS
def test_bytes_that_are_not_those_promised_are_dropped_and_heal(volume: Volume, kind: str) -> None:
    """A CDN that delivers other bytes of the same length is asked again by the next run, and never published."""
    volume.hub.delivered[FIRST] = FLIPPED
    assert (volume.run(kind), volume.target.exists()) == (1, False)
    volume.hub.delivered = {}
    assert volume.run(kind) == 0
    assert tree(volume.target)[FIRST] == FILES[FIRST]


def test_the_promise_is_what_the_answer_said_whatever_the_listings_say(volume: Volume, capsys) -> None:
    """Bytes that both listings vouch for, but the answer's own hash does not, are not published."""
    promised = hashlib.sha256(FILES[FIRST]).hexdigest()
    volume.hub.files[FIRST] = FLIPPED
    volume.hub.lie = instead(FIRST, {"X-Linked-Etag": f'"{promised}"'})
    assert volume.run() == 1
    dropped = f"dropping {FIRST}: its hash is not {promised}, which the hub promised"
    assert lines(capsys)[-2:] == [dropped, DROPPED]


def test_small_files_keep_the_promise_of_git(volume: Volume, capsys) -> None:
    """Files outside LFS are promised by their blob's SHA-1."""
    volume.hub.delivered["config.json"] = b"[]"
    assert volume.run() == 1
    assert lines(capsys)[-2:] == ["dropping config.json: its checksum is not the hub's", DROPPED]


ETAGS = {
    "quoted": (f'"{git_blob(b"{}")}"', 0),
    "weak": (f'W/"{git_blob(b"{}")}"', 0),
    "plain SHA-1": (hashlib.sha1(b"{}", usedforsecurity=False).hexdigest(), 0),
    "MD5": (hashlib.md5(b"{}", usedforsecurity=False).hexdigest(), 0),
    "no hash": ('"65f-1a2b3c"', 0),  # then the listing's promise stands alone
    "another MD5": ("d" * 32, 1),
    "another SHA-1": ("d" * 40, 1),
}


@pytest.mark.parametrize(("etag", "status"), ETAGS.values(), ids=ETAGS)
def test_etags_of_mirrors_are_read_as_the_hashes_they_are(volume: Volume, etag: str, status: int) -> None:
    """Caches in front of a hub give other hashes, weak ones or none: a hash is compared, anything else is not one."""
    volume.hub.lie = instead("config.json", {"ETag": etag})
    assert volume.run() == status


def test_a_file_without_any_promise_is_refused(volume: Volume, capsys) -> None:
    """With no hash in its answer and no listing kept by the client there is nothing to compare with."""
    volume.hub.lie = instead("config.json", {"ETag": '"65f-1a2b3c"'})
    volume.afterwards("hf", "download", f'rm -r "{volume.staging}/.cache/huggingface/trees"')
    assert volume.run() == 2
    assert lines(capsys)[-1] == f"refused: the hub promises no hash of config.json, so {NAME} cannot be checked"


def test_modelscope_files_without_a_hash_are_refused(volume: Volume, capsys) -> None:
    """A listing of ModelScope that promises no SHA-256 for a file is nothing to publish by."""

    def lie(what: str, _answer: Answer) -> Answer | None:
        if not what.startswith("files"):
            return None
        listing = volume.hub.modelscope()
        del listing["Data"]["Files"][0]["Sha256"]
        return Answer(json.dumps(listing).encode())

    volume.hub.lie = lie
    assert volume.run("modelscope") == 2
    assert lines(capsys)[-1] == f"refused: the hub promises no hash of 1 file(s) of {NAME}"


@pytest.mark.parametrize("name", [FIRST, "config.json"])
def test_the_commit_that_came_is_the_commit_asked_for(volume: Volume, capsys, name: str) -> None:
    """Of one file or of all: another commit in the hub's answer is refused, and not taken for staged afterwards."""
    volume.hub.lie = instead(name, {"X-Repo-Commit": OTHER})
    assert (volume.run(), volume.target.exists()) == (2, False)
    assert lines(capsys)[-1] == f"refused: the hub gave other commits for {NAME}: it is of commit {OTHER}"
    volume.hub.lie = lambda _what, _answer: None
    assert volume.run() == 0


def test_a_branch_is_published_as_the_one_commit_it_was(volume: Volume) -> None:
    """Unpinned, the manifest says which commit came, and the second listing is that commit's, not the branch's."""
    assert volume.run(MODEL_REVISION="main") == 0
    assert json.loads(tree(volume.volume / "main")["manifest.json"])["commit"] == HEAD
    assert [what for what in volume.hub.asked if what.startswith(("tree", "info"))] == [
        "info main",
        f"tree {HEAD}",
        f"tree {HEAD}",
    ]


def test_a_branch_that_moved_between_two_attempts_is_never_mixed(volume: Volume) -> None:
    """What only the older commit had is dropped, what changed is fetched anew, and the newer commit is published."""
    volume.hub.files["old.json"] = b"gone in the next commit"
    volume.hub.lie = on("tree", 1, status=500)
    assert volume.run(MODEL_REVISION="main") == 1
    volume.hub.lie, volume.hub.commit = (lambda _what, _answer: None), OTHER
    del volume.hub.files["old.json"]
    volume.hub.files["config.json"] = b'{"new": 1}'
    runs = [volume.run(MODEL_REVISION="main") for _ in range(2)]
    published = tree(volume.volume / "main")
    assert (runs, json.loads(published["manifest.json"])["commit"]) == ([1, 0], OTHER)
    assert (published["config.json"], "old.json" in published) == (b'{"new": 1}', False)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("huggingface", "download"),
        ("huggingface", '"cache verify"'),
        ("modelscope", "download"),
        ("modelscope", '"cache verify"'),
    ],
)
def test_a_shard_that_changes_on_the_volume_is_not_published(volume: Volume, kind: str, words: str) -> None:
    """A byte that flips after the download, or after the hub's checksums agreed, is noticed before publication."""
    flip = f"printf '!' | dd of='{volume.staging / FIRST}' bs=1 seek=465 conv=notrunc 2>/dev/null"
    volume.afterwards(fetch_weights.CLIENTS[kind], words, flip)
    assert (volume.run(kind), volume.target.exists()) == (1, False)


@KINDS
def test_a_file_nobody_delivered_is_not_published(volume: Volume, kind: str) -> None:
    """Something else in the staging directory is dropped, and the rest is published by the next run."""
    volume.staging.mkdir(parents=True)
    (volume.staging / "extra.json").write_bytes(b"{}")
    assert [volume.run(kind), volume.run(kind)] == [1, 0]
    assert "extra.json" not in tree(volume.target)


def test_a_record_that_is_lost_is_made_anew(volume: Volume) -> None:
    """A file whose record is missing or unreadable is downloaded again, not believed."""
    volume.afterwards("hf", "download", f'rm -f "{volume.staging}/.cache/huggingface/download/config.json.metadata"')
    assert volume.run() == 1
    volume.afterwards("hf", "nothing", "true")
    assert volume.run() == 0


def test_a_client_that_records_nothing_is_refused(volume: Volume, capsys) -> None:
    """Without a single record there is no promise that could be kept."""
    volume.afterwards("hf", "download", f'rm -r "{volume.staging}/.cache"')
    assert volume.run() == 2
    refused = f"`hf` of this image has recorded no hash for {NAME}, so nothing can be checked"
    assert lines(capsys)[-1] == f"refused: {refused}"


@pytest.mark.parametrize("size", [1, 465, 467])
def test_a_size_that_lies_publishes_nothing(volume: Volume, size: int) -> None:
    """A length that is not that of the bytes is noticed by the client; nothing is published."""
    volume.hub.lie = instead(FIRST, {"X-Linked-Size": str(size)})
    assert (volume.run(), volume.target.exists()) == (1, False)


def test_parts_of_a_killed_download_are_neither_kept_nor_published(volume: Volume) -> None:
    """What an earlier client left half done is removed, and the file is fetched whole."""
    part = volume.staging / ".cache" / "huggingface" / "download" / "abc.incomplete"
    part.parent.mkdir(parents=True)
    part.write_bytes(FLIPPED)
    (volume.staging / f"{FIRST}.incomplete").write_bytes(FLIPPED)
    assert volume.run() == 0
    assert set(tree(volume.target)) == {*FILES, "manifest.json"} - {"README.md"}


@KINDS
def test_a_damaged_shard_of_the_repository_itself_is_refused(volume: Volume, kind: str, capsys) -> None:
    """With the hash that was promised the fault is the hub's own: one line, and no retry."""
    volume.hub.files[FIRST] = with_header(b"[" * 100_000)
    assert (volume.run(kind), volume.target.exists()) == (2, False)
    said = lines(capsys)
    refused = f"refused: {FIRST} of {NAME} is what the hub promises, and damaged: its header does not parse"
    assert (said[-1], len(said)) == (refused, 3)


@pytest.mark.parametrize(("environment", "status"), [({"HF_HUB_DISABLE_XET": "1"}, 0), ({}, 2)])
def test_a_mirror_without_chunk_servers_is_read_with_xet_off(volume: Volume, environment: dict, status: int) -> None:
    """A mirror hands on that files are in Xet, and has nothing to fetch them from: off, the client takes the file."""
    volume.hub.xet = True
    assert volume.run(**environment) == status
    assert (volume.hub.count("cdn") == 2) == (status == 0)


DENIALS = {
    "gated": ("tree", {"status": 403, "headers": {"X-Error-Code": "GatedRepo"}}, 2),
    "gated file": (f"head {FIRST}", {"status": 403, "headers": {"X-Error-Code": "GatedRepo"}}, 2),
    "no such repository": ("tree", {"status": 404, "headers": {"X-Error-Code": "RepoNotFound"}}, 2),
    "no such revision": ("tree", {"status": 404, "headers": {"X-Error-Code": "RevisionNotFound"}}, 2),
    "wrong token": ("tree", {"status": 401}, 2),
    "forbidden": ("tree", {"status": 403}, 2),
    "no such API": ("tree", {"status": 404}, 2),
    "overloaded": ("tree", {"status": 503}, 1),
    "another site": ("tree", {"body": b"<html>log in</html>"}, 1),
    "expired address": (f"cdn {FIRST}", {"status": 403}, 1),
    "lost object": (f"cdn {FIRST}", {"status": 404}, 1),
}


@pytest.mark.parametrize(("what", "answer", "status"), DENIALS.values(), ids=DENIALS)
def test_only_what_may_heal_is_retried(volume: Volume, what: str, answer: dict, status: int) -> None:
    """A no of the hub ends the Job; a server in trouble, a page in its place or a CDN that fails is tried again."""
    volume.hub.lie = on(what, **answer)
    assert (volume.run(), volume.target.exists()) == (status, False)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_no_of_modelscope_is_not_retried(volume: Volume, status: int) -> None:
    """The same for ModelScope, whose client says it in its own words."""
    volume.hub.lie = on("files", status=status)
    assert volume.run("modelscope") == 2


def test_what_the_hub_says_moves_no_cursor_and_removes_no_file(volume: Volume, capsys) -> None:
    """Messages of the hub reach the log without control characters, and name nothing to be dropped outside staging."""
    outside = volume.volume / "other"
    outside.mkdir(parents=True)
    (outside / "kept").write_bytes(b"kept")
    message = f"\x1b[2J ../other/kept: expected {'a' * 64} (sha256), got {'b' * 64}"
    volume.hub.lie = on("tree", 1, status=500, headers={"X-Error-Message": message})
    assert volume.run() == 1
    assert ("\x1b" in "".join(lines(capsys)), (outside / "kept").read_bytes()) == (False, b"kept")


def test_the_clients_under_test_are_the_ones_pinned() -> None:
    """Both are installed beside this Python."""
    assert [shutil.which(name, path=str(Path(sys.executable).parent)) is not None for name in ("hf", "modelscope")] == [
        True,
        True,
    ]
