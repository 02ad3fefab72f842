"""The Job that fills a bucket, against a hub on 127.0.0.1 that lies, and a store in memory.

That the real clients of S3 leave no object behind when a stream fails is proved in tests/local/test_object_store.py.
"""

import hashlib
import io
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from components.pod_scripts import fill_store
from tests.unit.components.pod_scripts.hostile_hub import HEAD, Answer, HostileHub, serving
from tests.unit.components.pod_scripts.test_fetch_from_hub import FILES, FLIPPED, NAME, OTHER
from tests.unit.components.pod_scripts.test_pod_scripts import FIRST, INDEX, SECOND, lines, safetensors, with_header

URL = f"s3://models/llm/acme--tiny/{HEAD}"
WANTED = {name: content for name, content in FILES.items() if name != "README.md"}
TOKEN = "hf_doNotPrintMe"
REMEDY = "nothing there is overwritten: remove it, or name another folder"


class MemoryStore:
    """A folder of a bucket: name → (bytes, note); an upload whose stream fails leaves nothing."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.order: list[str] = []
        self.opened: list[str] = []

    def sizes(self) -> dict[str, int]:
        """All there is."""
        return {name: len(content) for name, (content, _) in self.objects.items()}

    def note(self, name: str) -> str:
        """As it was put."""
        return self.objects[name][1]

    def open(self, name: str) -> Any:
        """Its bytes."""
        self.opened.append(name)
        return io.BytesIO(self.objects[name][0])

    def put(self, name: str, stream: Any, size: int, digest: str) -> None:
        """Read to its end, as clients of stores do."""
        pieces = []
        while piece := stream.read(100):
            pieces.append(piece)
        content = b"".join(pieces)
        assert len(content) == size
        self.objects[name] = (content, digest)
        self.order.append(name)

    @property
    def contents(self) -> dict[str, bytes]:
        """All that is there."""
        return {name: content for name, (content, _) in self.objects.items()}


@pytest.fixture
def hub() -> Iterator[HostileHub]:
    """A hub with one model, honest until a test makes it lie."""
    with serving(HostileHub(dict(FILES))) as running:
        yield running


@pytest.fixture
def store() -> MemoryStore:
    """An empty one."""
    return MemoryStore()


def run(hub: HostileHub, store: MemoryStore, **extra: str) -> int:
    """Run the Job; return its exit status."""
    told = {"MODEL_REPO": "acme/tiny", "MODEL_REVISION": HEAD, "TARGET_URL": URL, "HF_ENDPOINT": hub.url}
    return fill_store.main(told | {"HF_TOKEN": TOKEN} | extra, lambda _url, _environ: store, pause_s=0)


def manifest_of(files: Mapping[str, bytes]) -> dict[str, Any]:
    """What says what is there."""
    entries = {n: {"bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()} for n, c in sorted(files.items())}
    return {"repo": "acme/tiny", "revision": HEAD, "commit": HEAD, "files": entries}


def last(capsys: pytest.CaptureFixture[str]) -> str:
    """How it ended."""
    return lines(capsys)[-1]


def test_an_honest_hub_is_published_as_it_is(hub: HostileHub, store: MemoryStore, capsys) -> None:
    """What is there are the hub's bytes without what was not asked for, each with its hash, and the manifest last."""
    assert run(hub, store) == 0
    assert last(capsys) == f"published {NAME} at {URL}"
    contents = store.contents
    assert json.loads(contents.pop("manifest.json")) == manifest_of(WANTED)
    assert contents == WANTED
    assert {name: note for name, (content, note) in store.objects.items()} == {
        name: hashlib.sha256(content).hexdigest() for name, content in store.contents.items()
    }
    assert store.order[-1] == "manifest.json"


def test_the_token_is_the_hubs_alone(hub: HostileHub, store: MemoryStore, capsys) -> None:
    """Who the hub sends us to for large files is asked without it, and no output has it."""
    assert run(hub, store) == 0
    assert {(host.partition(":")[0], token) for host, token in hub.told} == {
        ("127.0.0.1", f"Bearer {TOKEN}"),
        ("localhost", None),
    }
    assert TOKEN not in capsys.readouterr().out


def test_what_is_published_is_left_alone(hub: HostileHub, store: MemoryStore, capsys) -> None:
    """A folder that is complete asks the hub for nothing."""
    assert run(hub, store) == 0
    hub.asked.clear()
    before = dict(store.objects)
    assert (run(hub, store), last(capsys)) == (0, f"{URL} already holds {NAME}")
    assert (hub.asked, store.objects) == ([], before)


def test_what_came_before_it_was_killed_is_kept(hub: HostileHub, store: MemoryStore) -> None:
    """Whole objects with our note are neither fetched nor uploaded again, and of them only the head is read."""
    assert run(hub, store) == 0
    first = dict(store.objects)
    del store.objects["manifest.json"], store.objects[SECOND]
    hub.asked.clear()
    store.order.clear()
    assert run(hub, store) == 0
    assert (store.objects, store.order) == (first, [SECOND, "manifest.json"])
    assert (hub.count(f"get {FIRST}"), hub.count(f"get {SECOND}")) == (0, 1)


def test_what_somebody_else_brought_is_read_before_it_is_kept(hub: HostileHub, store: MemoryStore, capsys) -> None:
    """An object without our note is hashed where it is; a right one is kept as it is."""
    store.objects[FIRST] = (FILES[FIRST], "")
    assert run(hub, store) == 0
    assert f"{FIRST}: there already" in lines(capsys)
    assert (store.objects[FIRST], FIRST in store.order) == ((FILES[FIRST], ""), False)


WRONG = {
    "another size": (FIRST, b"short", "", f"is there with 5 bytes, the hub's has {len(FILES[FIRST])}"),
    "other bytes": (FIRST, FLIPPED, "", "is there and not what the hub promises"),
    "another note": (FIRST, FILES[FIRST], "f" * 64, "is there and not what the hub promises"),
    "a changed small file": ("config.json", b"[]", "", "is there and not what the hub promises"),
}


@pytest.mark.parametrize("case", WRONG)
def test_nothing_is_overwritten(hub: HostileHub, store: MemoryStore, capsys, case: str) -> None:
    """An object that is not what the hub promises is refused, and stays."""
    name, content, note, said = WRONG[case]
    store.objects[name] = (content, note)
    assert (run(hub, store), last(capsys)) == (2, f"refused: {name} {said}; {REMEDY}")
    assert (store.objects[name], "manifest.json" in store.objects) == ((content, note), False)


def test_a_shard_of_something_else_is_refused_first(hub: HostileHub, store: MemoryStore, capsys) -> None:
    """A server would load every safetensors file that it finds there."""
    store.objects["other.safetensors"] = (b"", "")
    said = f"refused: other.safetensors is there and not of {NAME}; a server would load it: remove it"
    assert (run(hub, store), last(capsys), store.order) == (2, said, [])


MANIFESTS = {
    "of another revision": (
        json.dumps({**manifest_of(WANTED), "revision": OTHER}),
        f"the folder holds acme/tiny@{OTHER}, not {NAME}: give every revision a folder of its own",
    ),
    "not JSON": (
        "{",
        "manifest.json is there and does not parse; nothing there is overwritten: remove it",
    ),
    "of other files": (
        json.dumps(manifest_of({**WANTED, "extra.json": b"{}"})),
        f"the manifest.json in {URL} is of other files; nothing there is overwritten: remove it",
    ),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_a_manifest_of_something_else_is_refused(hub: HostileHub, store: MemoryStore, capsys, case: str) -> None:
    """It is not replaced, whatever it says."""
    text, said = MANIFESTS[case]
    store.objects["manifest.json"] = (text.encode(), "")
    assert (run(hub, store), last(capsys)) == (2, f"refused: {said}")
    assert store.objects["manifest.json"] == (text.encode(), "")


def test_a_lost_object_comes_back_under_its_manifest(hub: HostileHub, store: MemoryStore) -> None:
    """Where a manifest of the same files is there already, what is missing is brought, and it stays."""
    assert run(hub, store) == 0
    first = dict(store.objects)
    del store.objects[FIRST]
    store.order.clear()
    assert (run(hub, store), store.objects, store.order) == (0, first, [FIRST])


@pytest.mark.parametrize("name", [FIRST, "config.json"])
def test_a_flipped_bit_makes_no_object(hub: HostileHub, store: MemoryStore, capsys, name: str) -> None:
    """Bytes that are not those promised never become an object, and a retry that gets the right ones finishes."""
    hub.delivered[name] = FLIPPED if name == FIRST else b"[]"
    assert run(hub, store) == 1
    assert last(capsys).startswith(f"failed, a retry may help: {name} came damaged: its hash is not ")
    assert (name in store.objects, "manifest.json" in store.objects) == (False, False)
    hub.delivered.clear()
    assert (run(hub, store), set(store.objects)) == (0, {*WANTED, "manifest.json"})


def test_a_listing_that_lies_with_its_shard_is_found_by_the_delivery(hub: HostileHub, store: MemoryStore) -> None:
    """What the listing promises and what the delivery promises both have to be so."""
    hub.delivered[FIRST] = FLIPPED

    def lie(what: str, answer: Answer) -> Answer | None:
        if what.startswith("tree"):
            true, false = (hashlib.sha256(content).hexdigest().encode() for content in (FILES[FIRST], FLIPPED))
            return Answer(answer.body.replace(true, false))
        return None

    hub.lie = lie
    assert (run(hub, store), FIRST in store.objects) == (1, False)


@pytest.mark.parametrize("name", [FIRST, "config.json"])
def test_a_foreign_commit_is_refused(hub: HostileHub, store: MemoryStore, capsys, name: str) -> None:
    """A file that is delivered as of another commit than the one that was asked for stops the Job for good."""

    def lie(what: str, answer: Answer) -> Answer | None:
        return Answer(answer.body, answer.status, answer.headers | {"X-Repo-Commit": OTHER}) if name in what else None

    hub.lie = lie
    said = f"refused: the hub gave {name} of commit {OTHER!r} for {NAME}"
    assert (run(hub, store), last(capsys), "manifest.json" in store.objects) == (2, said, False)


def test_a_hub_that_names_no_commit_is_refused(hub: HostileHub, store: MemoryStore, capsys) -> None:
    """Silence is no proof."""

    def lie(_what: str, answer: Answer) -> Answer | None:
        answer.headers.pop("X-Repo-Commit", None)
        return None

    hub.lie = lie
    assert run(hub, store) == 2
    assert "of commit 'none'" in last(capsys)


def test_a_file_that_is_cut_off_is_continued(hub: HostileHub, store: MemoryStore) -> None:
    """The rest is asked for from where it broke off; the proof is of the whole."""
    seen = itertools.count()

    def lie(what: str, _answer: Answer) -> Answer | None:
        if what == f"cdn {SECOND}" and not next(seen):
            return Answer(FILES[SECOND][:150], cut=len(FILES[SECOND]) - 150)
        return None

    hub.lie = lie
    assert (run(hub, store), store.contents[SECOND], hub.count(f"cdn {SECOND}")) == (0, FILES[SECOND], 2)


def test_who_cannot_continue_fails_for_now(hub: HostileHub, store: MemoryStore, capsys) -> None:
    """A CDN that has the whole or nothing is asked a few times, and the Job again."""
    hub.whole = True

    def lie(what: str, _answer: Answer) -> Answer | None:
        if what == f"cdn {SECOND}":
            return Answer(FILES[SECOND][:150], cut=len(FILES[SECOND]) - 150)
        return None

    hub.lie = lie
    assert run(hub, store) == 1
    said = f"failed, a retry may help: {SECOND} is cut off at byte 150 of {len(FILES[SECOND])}"
    assert last(capsys) == f"{said}: localhost answers 200 for {NAME}"


REFUSALS = {
    "pickles and code": ({"weights.safetensors.py": b""}, None),
    "a damaged header": ({FIRST: with_header(b"{" * 40)}, "damaged: its header does not parse"),
    "a missing shard": ({SECOND: None}, f"lacks {SECOND}, which {INDEX} names"),
    "too few bytes": ({}, "has 1232 bytes of safetensors, at least 9999 were promised"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_no_checkpoint_is_not_published(hub: HostileHub, store: MemoryStore, capsys, case: str) -> None:
    """The rules are those of a download; what the hub promises is no reason to serve it."""
    changes, said = REFUSALS[case]
    for name, content in changes.items():
        if content is None:
            del hub.files[name]
        else:
            hub.files[name] = content
    code = run(hub, store, **({"EXPECTED_BYTES": "9999"} if case == "too few bytes" else {}))
    if said is None:
        assert (code, set(store.objects)) == (0, {*WANTED, "manifest.json"})
        return
    assert (code, "manifest.json" in store.objects) == (2, False)
    assert said in last(capsys)


def test_a_deep_header_is_a_refusal_and_no_accident(hub: HostileHub, store: MemoryStore, capsys) -> None:
    """JSON that is nested beyond what Python reads ends in one line."""
    hub.files[FIRST] = with_header(b"[" * 200_000)
    assert run(hub, store) == 2
    assert last(capsys).endswith("damaged: its header does not parse")


def test_a_second_listing_that_differs_publishes_nothing(hub: HostileHub, store: MemoryStore, capsys) -> None:
    """A hub that says something else afterwards has no manifest written."""
    seen = itertools.count()

    def lie(what: str, _answer: Answer) -> Answer | None:
        return Answer(b"[]") if what.startswith("tree") and next(seen) else None

    hub.lie = lie
    assert (run(hub, store), last(capsys)) == (1, f"failed, a retry may help: the hub's two listings of {NAME} differ")
    assert "manifest.json" not in store.objects


@pytest.mark.parametrize(
    "name", ["a/../../x.json", "/x.json", "a//b.json", "a/../b.json", "a\nb.json"]
)  # fmt: skip
def test_no_name_leads_out_of_the_folder(hub: HostileHub, store: MemoryStore, capsys, name: str) -> None:
    """A listing decides what is uploaded, not where."""
    hub.files[name] = b"{}"
    said = f"refused: the hub lists {name!r}, which is no name of a file"
    assert (run(hub, store), last(capsys), store.objects) == (2, said, {})


@pytest.mark.parametrize(
    ("status", "code"), [(401, 2), (403, 2), (404, 2), (429, 1), (500, 1), (503, 1)]
)  # fmt: skip
def test_a_refusal_of_the_hub_is_final_and_a_fault_is_not(
    hub: HostileHub, store: MemoryStore, capsys, status: int, code: int
) -> None:
    """Who may not have it, or asks for what is not there, is told so at once."""
    hub.lie = lambda what, _answer: Answer(b"", status) if what.startswith("tree") else None
    assert run(hub, store) == code
    assert f"127.0.0.1 answers {status}" in last(capsys)


def test_a_branch_is_no_folder(hub: HostileHub, store: MemoryStore, capsys) -> None:
    """What moves has no place of its own in a bucket."""
    assert run(hub, store, MODEL_REVISION="main") == 2
    assert last(capsys) == "refused: MODEL_REVISION is 'main', which does not match [0-9a-f]{40}"


def test_a_store_that_fails_is_asked_again(hub: HostileHub, store: MemoryStore, capsys, monkeypatch) -> None:
    """Rights may come late, so whatever a client says is worth a retry; its words are told."""

    def fail(*_given: object) -> None:
        raise PermissionError("AccessDenied")

    monkeypatch.setattr(store, "put", fail)
    assert run(hub, store) == 1
    assert last(capsys) == "failed, a retry may help: PermissionError in fail: AccessDenied"


def test_pages_of_a_listing_are_read_to_the_end(hub: HostileHub, store: MemoryStore) -> None:
    """The hub lists a thousand at a time and says where it goes on."""

    def lie(what: str, answer: Answer) -> Answer | None:
        if not what.startswith("tree"):
            return None
        entries = json.loads(answer.body)
        if hub.asked.count(what) % 2:
            link = {"Link": f'<{hub.url}/api/models/acme/tiny/tree/{HEAD}?cursor=x>; rel="next"'}
            return Answer(json.dumps(entries[:2]).encode(), headers=link)
        return Answer(json.dumps(entries[2:]).encode())

    hub.lie = lie
    assert (run(hub, store), set(store.objects)) == (0, {*WANTED, "manifest.json"})


def test_an_empty_file_is_proven_too(hub: HostileHub, store: MemoryStore) -> None:
    """Nothing has a hash as well."""
    hub.files["merges.txt"] = b""
    assert (run(hub, store), store.contents["merges.txt"]) == (0, b"")


def test_shapes_of_checkpoints_are_those_of_a_download(hub: HostileHub, store: MemoryStore) -> None:
    """One file without an index is one, whatever its name."""
    hub.files = {"only.safetensors": safetensors(b"x" * 300), "config.json": b"{}"}
    assert (run(hub, store), set(store.objects)) == (0, {*hub.files, "manifest.json"})
