"""`python -m preview diff` in real git repositories: whose program renders what, what is said, and how it ends.

Does not prove that the engine would do what the comparison says; tests/engine/ does that for some changes.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from preview.__main__ import main
from tests.stacks.tiny_program import TINY

ROOT = Path(__file__).parents[2]
ONE = "config: {claims: {weights: 10Gi, old: 1Gi}}"
GIT = {
    "GIT_AUTHOR_NAME": "t",
    "GIT_AUTHOR_EMAIL": "t@example.com",
    "GIT_COMMITTER_NAME": "t",
    "GIT_COMMITTER_EMAIL": "t@example.com",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}


def git(directory: Path, *arguments: object) -> str:
    """What a git command prints; it has to succeed. Submodules may be cloned from folders."""
    command = ["git", "-C", str(directory), "-c", "protocol.file.allow=always", *map(str, arguments)]
    done = subprocess.run(command, env=os.environ | GIT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(directory: Path, message: str = "commit") -> str:
    """The hash of a commit with everything that lies in `directory`."""
    git(directory, "add", "--all", ".")
    git(directory, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(directory, "rev-parse", "HEAD")


def repository(directory: Path) -> Path:
    """An empty git repository with the branch `main`."""
    directory.mkdir(parents=True, exist_ok=True)
    git(directory, "init", "--quiet", "--initial-branch", "main")
    return directory


def project(directory: Path, main_program: str = ".", **stacks: str) -> Path:
    """A project with these stack files (name → text)."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "Pulumi.yaml").write_text(f"name: tiny\nruntime: python\nmain: {main_program}\n")
    for name, text in stacks.items():
        (directory / f"Pulumi.{name}.yaml").write_text(text)
    return directory


def program(directory: Path, text: str = TINY) -> Path:
    """A tiny program."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "__main__.py").write_text(text)
    return directory


def diff(capsys, directory: Path, *arguments: object, base: str = "HEAD") -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a comparison."""
    code = main(["diff", "--project", str(directory), "--base", base, *map(str, arguments)])
    return code, *capsys.readouterr()


def headings(output: str) -> list[str]:
    """One line per stack."""
    return [line for line in output.splitlines() if line.startswith("###")]


@pytest.fixture
def own(tmp_path):
    """A repository with one commit: a project of its own program, with the stack `one`."""
    directory = repository(tmp_path / "own")
    program(project(directory, one=ONE))
    commit(directory)
    return directory


def test_the_work_tree_against_a_commit(capsys, own):
    """Uncommitted files count; what is lost comes first, and nothing is left in the repository."""
    before = git(own, "status", "--porcelain")
    (own / "Pulumi.one.yaml").write_text("config: {claims: {weights: 5Gi, new: 1Gi}}")
    code, output, errors = diff(capsys, own, "--stack", "one")
    assert (code, errors, before) == (0, "", "")
    assert git(own, "worktree", "list", "--porcelain").count("worktree ") == 1
    assert git(own, "status", "--porcelain") == "M Pulumi.one.yaml"
    assert output.splitlines() == [
        "### one: 1 deleted, 1 changed, 1 added",
        "",
        "**Who will notice, and for how long**",
        "",
        (
            "- ⚠ **the update stops**: `PersistentVolumeClaim weights in here`: it shrinks from 10Gi to 5Gi, "
            "which the API "
            "server refuses"
        ),
        "",
        "| model | runs on | context | replicas | $/h |",
        "|---|---|---|---|---|",
        "| **total** | | | | **not known** |",
        "",
        "**Deleted**",
        "",
        "- `PersistentVolumeClaim old in here`",
        "  - retained: the object stays in the cluster, Pulumi forgets it",
        "",
        "**Changed in place**",
        "",
        "- `PersistentVolumeClaim weights in here`",
        "  - ⚠ it shrinks from 10Gi to 5Gi, which the API server refuses",
        "  - `spec.resources.requests.storage`: `10Gi` → `5Gi`",
        "",
        "**Added**",
        "",
        "- `PersistentVolumeClaim new in here`",
    ]


def test_all_stacks(capsys, own):
    """Unchanged, new, removed and refused stacks each have their heading; a refused one makes the exit code 2."""
    project(own, two="config: {claims: {x: 1Gi}}", zero="config: {refuse: not today}")
    code, output, errors = diff(capsys, own)
    assert (code, errors) == (2, "Pulumi.zero.yaml: __main__.py: not today\n")
    assert headings(output) == [
        "### one: no changes",
        "### two (new stack): 1 added",
        "### zero: refused by this change",
    ]
    (own / "Pulumi.one.yaml").unlink()
    (own / "Pulumi.zero.yaml").unlink()
    code, output, _ = diff(capsys, own)
    assert (code, headings(output)) == (0, ["### two (new stack): 1 added", "### Pulumi.one.yaml is removed"])
    assert diff(capsys, own, "--stack", "one")[:2] == (
        0,
        "### Pulumi.one.yaml is removed\n\nIts resources stay until somebody runs `pulumi destroy`.\n",
    )


def test_the_program_of_the_commit_renders_the_commit(capsys, own):
    """A change of the program is a change of what is declared: each side is rendered by its own."""
    program(own, TINY.replace("ReadWriteMany", "ReadOnlyMany"))
    code, output, errors = diff(capsys, own)
    assert (code, errors, headings(output)) == (0, "", ["### one: 2 replaced"])


def test_a_project_outside_of_the_repository_of_its_program(capsys, tmp_path):
    """With the program beside the repository, both sides are rendered by it, which is said."""
    program(tmp_path / "stack")
    directory = project(repository(tmp_path / "own"), "../stack", one=ONE)
    commit(directory)
    (directory / "Pulumi.one.yaml").write_text(ONE.replace("1Gi", "2Gi"))
    code, output, errors = diff(capsys, directory)
    note, _, rest = output.partition("\n\n")
    assert (code, errors, headings(rest)) == (0, "", ["### one: 1 changed"])
    assert note == (
        "Note: the program ../stack lies outside of this repository: both sides are rendered by it as it is now."
    )


def test_an_installed_program(capsys, tmp_path):
    """A program that git ignores, such as a package in a virtual environment, renders both sides, which is said."""
    directory = project(repository(tmp_path / "own"), "env/site-packages/stack", one=ONE)
    (directory / ".gitignore").write_text("env/\n")
    program(directory / "env/site-packages/stack")
    commit(directory)
    (directory / "Pulumi.one.yaml").write_text(ONE.replace("1Gi", "2Gi"))
    code, output, errors = diff(capsys, directory)
    assert (code, errors, headings(output)) == (0, "", ["### one: 1 changed"])
    assert output.startswith(
        "Note: the program env/site-packages/stack is not tracked by git: both sides are rendered by"
    )


@pytest.fixture
def with_submodule(tmp_path):
    """A repository whose program is a submodule, with one commit."""
    upstream = program(repository(tmp_path / "upstream"))
    commit(upstream)
    directory = project(repository(tmp_path / "own"), "vendor/stack", one=ONE)
    git(directory, "submodule", "--quiet", "add", upstream, "vendor/stack")
    commit(directory)
    return directory


def test_a_submodule(capsys, with_submodule):
    """Each side is rendered by the commit of the submodule that it names; what is compared is the work tree."""
    program(with_submodule / "vendor/stack", TINY.replace("ReadWriteMany", "ReadOnlyMany"))
    commit(with_submodule / "vendor/stack")
    code, output, errors = diff(capsys, with_submodule)
    assert (code, errors, headings(output)) == (0, "", ["### one: 2 replaced"])
    commit(with_submodule)
    assert headings(diff(capsys, with_submodule)[1]) == ["### one: no changes"]


def test_a_submodule_whose_commit_is_not_here(capsys, with_submodule, tmp_path):
    """What cannot be rendered is no comparison: exit code 1 and one line with what to do."""
    clone = tmp_path / "clone"
    program(tmp_path / "upstream", TINY + "# newer\n")
    commit(tmp_path / "upstream")
    git(with_submodule / "vendor/stack", "pull", "--quiet", "origin", "main")
    base = git(with_submodule, "rev-parse", "HEAD")
    commit(with_submodule)
    git(tmp_path, "clone", "--quiet", f"file://{with_submodule}", clone)
    git(tmp_path, "clone", "--quiet", "--depth", 1, f"file://{tmp_path / 'upstream'}", clone / "vendor/stack")
    code, output, errors = diff(capsys, clone, base=base)
    said = (
        f"no comparison with {base}: the commit of its submodule vendor/stack is not here; git -C vendor/stack fetch\n"
    )
    assert (code, output, errors) == (1, "", said)


def test_a_folder_of_a_repository_with_many(capsys, tmp_path):
    """Project and program may lie anywhere in a repository, and be reached through a link."""
    root = repository(tmp_path / "many")
    program(root / "platform/stack")
    directory = project(root / "teams/search", "../../platform/stack", one=ONE)
    commit(root)
    (directory / "Pulumi.one.yaml").write_text(ONE.replace("1Gi", "2Gi"))
    (tmp_path / "link").symlink_to(directory)
    for place in (directory, tmp_path / "link"):
        code, output, errors = diff(capsys, place)
        assert (code, errors, headings(output)) == (0, "", ["### one: 1 changed"])


def test_a_project_that_is_new(capsys, tmp_path):
    """Where the commit has no such project, everything in it is added."""
    root = repository(tmp_path / "many")
    program(root / "stack")
    commit(root)
    code, output, errors = diff(capsys, project(root / "new", "../stack", one=ONE))
    assert (code, errors, headings(output)) == (0, "", ["### one (new stack): 2 added"])


def test_shallow_detached_and_linked_work_trees(capsys, own, tmp_path):
    """A clone of one commit, a detached HEAD, another work tree and a hook's environment all compare."""
    base = git(own, "rev-parse", "HEAD")
    (own / "Pulumi.one.yaml").write_text(ONE.replace("1Gi", "2Gi"))
    commit(own)
    shallow, linked = tmp_path / "shallow", tmp_path / "linked"
    git(tmp_path, "clone", "--quiet", "--depth", 1, f"file://{own}", shallow)
    git(own, "worktree", "add", "--quiet", "--detach", linked)
    assert headings(diff(capsys, linked, base=base)[1]) == ["### one: 1 changed"]
    assert headings(diff(capsys, linked, base="main~1")[1]) == ["### one: 1 changed"]
    assert headings(diff(capsys, shallow)[1]) == ["### one: no changes"]
    assert diff(capsys, shallow, base=base) == (
        64,
        "",
        (
            f"python -m preview: there is no commit '{base}' here; this clone is shallow: git fetch --unshallow, or "
            "fetch that one commit\n"
        ),
    )
    git(shallow, "fetch", "--quiet", "--depth", 1, "origin", base)
    assert headings(diff(capsys, shallow, base=base)[1]) == ["### one: 1 changed"]


def test_inside_of_a_hook(capsys, own, monkeypatch):
    """The variables that git sets for its hooks lead nowhere else."""
    monkeypatch.setenv("GIT_DIR", "/nowhere/.git")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    assert diff(capsys, own) == (0, "### one: no changes\n", "")


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("no-such-commit", "there is no commit 'no-such-commit' here; fetch it first"),
        ("mian", "there is no commit 'mian' here; did you mean 'main'?"),
        ("release", "there is no commit 'release' here; did you mean 'origin/release'?"),
        ("", "there is no commit '' here; fetch it first"),
        ("HEAD:Pulumi.yaml", "there is no commit 'HEAD:Pulumi.yaml' here; fetch it first"),
    ],
)
def test_a_commit_that_does_not_exist(capsys, own, base, expected):
    """A misspelt branch has its neighbour named, one of the remote its full name; exit code 64."""
    git(own, "update-ref", "refs/remotes/origin/release", "HEAD")
    assert diff(capsys, own, base=base) == (64, "", f"python -m preview: {expected}\n")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["diff"], "the following arguments are required: --base"),
        (["diff", "--base", "HEAD", "--stack", "two"], "no stack 'two' on either side; stacks: one"),
    ],
)
def test_wrong_usage(capsys, own, monkeypatch, arguments, expected):
    """What is wrong with the command line is said in one line; exit code 64."""
    monkeypatch.chdir(own)
    code = main(arguments)
    output, errors = capsys.readouterr()
    assert (code, output, errors.splitlines()[0]) == (64, "", f"python -m preview: {expected}")


def test_without_a_repository(capsys, tmp_path, monkeypatch):
    """A project that no git knows has no past."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    directory = program(project(tmp_path / "own", one=ONE))
    assert diff(capsys, directory) == (
        64,
        "",
        f"python -m preview: the project is not in a git repository; there is nothing to compare {directory} with\n",
    )


def test_without_any_commit(capsys, tmp_path):
    """A repository that was just made has nothing to compare with either."""
    directory = program(project(repository(tmp_path / "own"), one=ONE))
    expected = "python -m preview: there is no commit 'HEAD' here; fetch it first\n"
    assert diff(capsys, directory) == (64, "", expected)


def test_a_base_that_is_refused(capsys, own):
    """There is nothing to compare with: exit code 1, although this side is fine."""
    (own / "Pulumi.one.yaml").write_text("config: {refuse: not today}")
    commit(own)
    (own / "Pulumi.one.yaml").write_text(ONE)
    code, output, errors = diff(capsys, own)
    said = "Pulumi.one.yaml: no comparison: `HEAD` is refused, so there is nothing to compare with\n"
    assert (code, errors) == (1, said)
    assert output == "### one: refused by `HEAD`; nothing to compare with\n\n- `__main__.py`: not today\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {"__main__.py": "import planning\n", "planning/__init__.py": ""},
            "`HEAD` cannot be previewed: it is older than the preview",
        ),
        ({"__main__.py": "raise ValueError('a bug')\n"}, "`HEAD` cannot be previewed: ValueError: a bug"),
        ({"Pulumi.one.yaml": "config: {a: ["}, "`HEAD` is refused, so there is nothing to compare with"),
    ],
)
def test_a_base_that_cannot_be_rendered(capsys, own, files, expected):
    """A base older than the preview, one that crashes, one that is no YAML: exit code 1 and one line."""
    for name, text in files.items():
        (own / name).parent.mkdir(exist_ok=True)
        (own / name).write_text(text)
    commit(own)
    git(own, "checkout", "--quiet", "HEAD~1", "--", ".")
    shutil.rmtree(own / "planning", ignore_errors=True)
    code, _, errors = diff(capsys, own)
    assert (code, errors) == (1, f"Pulumi.one.yaml: no comparison: {expected}\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "name: tiny\nmain: gone\n",
            "its Pulumi.yaml names the program gone, which is neither in that commit nor here",
        ),
        ("[]", "Pulumi.yaml: must be a mapping of keys"),
    ],
)
def test_a_base_whose_project_cannot_be_read(capsys, own, text, expected):
    """The project of the commit may be broken, too."""
    (own / "Pulumi.yaml").write_text(text)
    commit(own)
    project(own)
    assert diff(capsys, own) == (1, "", f"no comparison with HEAD: {expected}\n")


STACK = """
config:
  llm-stack:cluster: {context: NAME, identifier: NAME-1}
  llm-stack:gpuPools: {l4: {gpu: nvidia-l4, nodes: 3, gpusPerNode: 1, pricePerNodeHourUsd: 0.8}}
  llm-stack:weights: {storageClass: rwx}
  llm-stack:models: {small: {model: Qwen/Qwen3-0.6B, pool: l4, contextTokens: 8192, replicas: REPLICAS}}
  llm-stack:gateway: {existingSecret: llm-keys}
"""
CHANGES = {
    "replicas": STACK.replace("REPLICAS", "{min: 3, max: 3}"),
    "context": STACK.replace("8192, replicas: REPLICAS", "4096, replicas: {min: 2, max: 2}"),
    "added": STACK.replace("REPLICAS}}", "{min: 2, max: 2}}, new: {model: Qwen/Qwen3-1.7B, pool: l4}}"),
    "database": STACK.replace("REPLICAS", "{min: 2, max: 2}").replace(
        "llm-keys}", "llm-keys, database: {existingSecret: llm-db}}"
    ),
}


@pytest.fixture(scope="module")
def users(tmp_path_factory):
    """A user's repository: this project as a submodule, and a stack file and cluster per change, uncommitted."""
    place = tmp_path_factory.mktemp("users")
    upstream, directory = repository(place / "upstream"), repository(place / "own")
    for package in ("catalog", "components", "planning", "preview", "settings"):
        shutil.copytree(ROOT / package, upstream / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "__main__.py", upstream)
    commit(upstream)
    described = yaml.safe_load((ROOT / "Pulumi.yaml").read_text()) | {"main": "vendor/llm-stack"}
    (directory / "Pulumi.yaml").write_text(yaml.safe_dump(described))
    for name in CHANGES:
        before = STACK.replace("REPLICAS", "{min: 2, max: 2}")
        (directory / f"Pulumi.{name}.yaml").write_text(before.replace("NAME", name))
    git(directory, "submodule", "--quiet", "add", upstream, "vendor/llm-stack")
    commit(directory)
    for name, text in CHANGES.items():
        (directory / f"Pulumi.{name}.yaml").write_text(text.replace("NAME", name))
    return directory


def test_the_real_program_as_a_submodule(users):
    """From the user's folder, with the submodule's preview: who notices, which entries are missing, then the rest."""
    command = [sys.executable, "-m", "preview", "diff", "--project", users, "--base", "HEAD"]
    done = subprocess.run(command, cwd=users / "vendor/llm-stack", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    pages = {page.splitlines()[0].partition(":")[0]: page for page in done.stdout.split("### ")[1:]}
    assert pages.keys() == CHANGES.keys()
    assert (
        "**Who will notice: nobody who uses it**\n\n- **nobody**: `vllm-small` runs with 3 replicas, no longer 2\n"
        in (pages["replicas"])
    )
    assert "**Must be there" not in pages["replicas"] + pages["context"]
    assert pages["context"].split("\n\n")[2].splitlines() == [
        "- **users of `small`**: prompt and answer together may have up to 4,096 tokens, no longer up to 8,192",
        (
            "- **nobody**: the pods of `small` are replaced one by one, a new one first; streams that run have 3 min "
            "to end"
        ),
    ]
    assert "- `Secret llm-keys in llm-serving`, also with `vllm-new`\n" in pages["added"]
    assert "for entry in vllm-new; do\n" in pages["added"]
    assert "3.4 GiB of weights of Qwen/Qwen3-1.7B are fetched first" in pages["added"]
    assert "keys, teams and budgets come from Secret llm-db, no longer from nowhere" in pages["database"]
    assert "- `Secret llm-db in llm-serving`, with `database-url`\n" in pages["database"]
    assert ': "${DATABASE_URL:?' in pages["database"]
