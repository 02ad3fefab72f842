"""The direction of imports and the size of files, read from the source without running it.

Imports by name at run time (`importlib`, `runpy`) are not seen.
"""

import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from catalog import load_catalog
from components.pod_scripts import BESIDE, NAMES, source
from planning.capacity import flags
from tests.harness import ROOT

ENTRY = "catalog's command line"
# Which of our packages each may import; a package may always import itself.
ALLOWED = {
    "catalog": set(),
    # its command line is an entry point, which nothing else in the package knows
    ENTRY: {"catalog", "settings", "planning", "preview"},
    "settings": set(),
    "planning": {"catalog", "settings"},
    "components": {"catalog", "settings", "planning"},
    "__main__": {"catalog", "settings", "planning", "components"},
    "preview": {"catalog", "settings", "planning"},
    "workshop": {"catalog", "settings", "planning", "preview"},
}
# A script that runs inside pods knows nobody, and judges nodes in front of the cluster as it does inside.
JUDGE = "components.pod_scripts"
# The same for the rooms of planning; what lies beside them in its folder is a room of its own.
ROOMS = {
    "tasks": set(),
    "capacity": {"tasks"},
    "plan": {"capacity", "tasks"},
    "observe": {"capacity", "plan"},
    "stack": {"capacity", "near", "plan", "tasks"},
    "server": {"capacity", "near", "plan", "observe", "stack", "tasks"},
    "gateway": {"capacity", "plan", "stack", "tasks"},
    "questions": {"capacity", "near", "own_catalog", "plan", "stack", "server", "tasks"},
    "near": set(),
    "warnings": {"own_catalog", "plan", "stack"},
    "own_catalog": {"capacity", "near"},
    "overrides": {"gateway", "plan", "server", "stack"},
    "resolve": {"overrides", "capacity", "plan", "observe", "own_catalog", "stack", "server", "gateway", "warnings"},
    "parts": {"own_catalog", "plan", "resolve", "server", "stack"},
    "__main__": {"capacity", "near", "plan", "questions"},
    "__init__": {"plan", "resolve"},
}
OURS = {*ALLOWED, "policy", "tests"} - {ENTRY}
# What the workshops may touch of the product: a rendered stack, flags, the plan with the question of each task for
# a model, and how any command refuses and ends.
COMMANDS = {"settings.commandline", "settings.problems"}
TOUCHED = {
    "local": COMMANDS | {"preview.rendering", "planning.capacity.flags", "planning.tasks"},
    "simcluster": COMMANDS | {"preview.rendering", "planning.plan"},
}
# The ground floor of both renders a stack for them, and shows its page.
SHARED = {"settings.problems", "preview.rendering", "preview.reporting.report"}
# What a package may not import from elsewhere.
FORBIDDEN = {
    "planning": {"pulumi", "pulumi_kubernetes", "yaml", "pathlib", "os", "subprocess"},
    "catalog": {"pulumi", "pulumi_kubernetes"},
    "components": {"pathlib", "os", "subprocess"},
}
# Scripts that run inside pods belong to no package of the program.
POD_SCRIPTS = ROOT / "components" / "pod_scripts"
# What takes a stack file, or sections of it, as they are.
OUTERMOST = {"llm_stack", "parts"}
LONGEST_PROGRAM = 60
# Lines of a file and of a function of the product, docstrings and comments included.
LONGEST_FILE, LONGEST_FUNCTION = 300, 60
PRODUCT = ("__main__", "catalog", "settings", "planning", "components", "preview", "policy")
# Files that are longer, with the reason.
LONG_FILES = {
    "settings/schema.py": "the keys of a stack file in the order of its reference, which is printed from it",
    "components/pod_scripts/fetch_weights.py": "one file is what a pod runs; another byte runs its Job again",
    "components/pod_scripts/verify_nodes.py": "the same",
    "components/pod_scripts/compile_cache.py": "what one container writes the other reads, in one file",
}


def sources(package: str) -> list[Path]:
    """Python files of a package, pod scripts left out."""
    if package == "__main__":
        return [ROOT / "__main__.py"]
    entry = [ROOT / "catalog" / "__main__.py", *sorted((ROOT / "catalog" / "commands").rglob("*.py"))]
    if package == ENTRY:
        return entry
    if package == "catalog":
        return [file for file in sorted((ROOT / package).rglob("*.py")) if file not in entry]
    return [file for file in sorted((ROOT / package).rglob("*.py")) if POD_SCRIPTS not in file.parents]


def imports(text: str) -> set[str]:
    """Full names of everything a source imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def tops(text: str) -> set[str]:
    """Top-level packages a source imports; scripts of pods are in none."""
    return {name.partition(".")[0] for name in imports(text) if not f"{name}.".startswith(f"{JUDGE}.")}


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_go_one_way(package: str):
    """A package imports only what stands before it in the flow of data."""
    allowed = {package, *ALLOWED[package]}
    wrong = {
        f"{file.relative_to(ROOT)}: {name}"
        for file in sources(package)
        for name in tops(file.read_text(encoding="utf-8")) & OURS - allowed
    }
    assert wrong == set()
    assert sources(package)


def test_nothing_uses_the_command_line_of_the_catalogue():
    """Commands are the border: neither the rest of the catalogue nor another package imports one."""
    packages = [package for package in ALLOWED if package != ENTRY]
    names = {name for package in packages for file in sources(package) for name in imports(file.read_text("utf-8"))}
    assert {name for name in names if f"{name}.".startswith(("catalog.commands.", "catalog.__main__."))} == set()


@pytest.mark.parametrize("workshop", TOUCHED)
def test_workshops_stand_apart(workshop: str):
    """A workshop touches the product at few places and the other workshop nowhere; what they share knows neither."""
    ground = sorted((ROOT / "workshop").glob("*.py"))
    shared = {f"workshop.{file.stem}" for file in ground}
    allowed = (f"workshop.{workshop}", *TOUCHED[workshop], *shared)
    wrong = {
        f"{file.relative_to(ROOT)}: {name}"
        for files, places in ((sources(f"workshop/{workshop}"), allowed), (ground, (*shared, *SHARED)))
        for file in files
        for name in imports(file.read_text(encoding="utf-8"))
        if name.partition(".")[0] in OURS and name != "workshop"
        if not any(f"{name}.".startswith(f"{place}.") for place in places)
    }
    assert wrong == set()


def test_the_rooms_of_planning_are_those_of_the_table():
    """No module or folder of planning is without its line of what it may import."""
    assert {path.stem for path in (ROOT / "planning").iterdir() if path.suffix == ".py" or path.is_dir()} - {
        "__pycache__"
    } == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_between_rooms_go_one_way(room: str):
    """A room of planning imports only the rooms below it; the sum of memory knows the catalogue alone."""
    place = ROOT / "planning" / room
    files = sorted(place.glob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    names = {file: imports(file.read_text(encoding="utf-8")) for file in files}
    wrong = {
        f"{file.name}: {name}"
        for file in files
        for name in names[file]
        if name.startswith("planning.")
        and name.split(".")[1] not in {room, *ROOMS[room]}
        and name.split(".")[1] in ROOMS
    }
    if room == "capacity":
        wrong |= {f"{file.name}: {name}" for file in files for name in names[file] if name.startswith("settings")}
    assert wrong == set()
    assert files


def test_rendering_knows_no_report():
    """What renders a stack is used by workshops and tests, which need no report of it."""
    found = {
        f"{file.name}: {name}"
        for file in sources("preview/rendering")
        for name in imports(file.read_text(encoding="utf-8"))
        if name.startswith("preview.reporting")
    }
    assert found == set()
    assert sources("preview/rendering")


@pytest.mark.parametrize("package", FORBIDDEN)
def test_pure_packages_stay_pure(package: str):
    """Planning knows neither Pulumi nor files, the catalogue no Pulumi, components no files."""
    wrong = {
        f"{file.relative_to(ROOT)}: {name}"
        for file in sources(package)
        for name in tops(file.read_text(encoding="utf-8")) & FORBIDDEN[package]
        # the command line of the planner is at the border, and only there
        if file.name != "__main__.py" or name.startswith("pulumi")
    }
    assert wrong == set()


def shared_names(texts: Iterable[str]) -> set[str]:
    """Names that more than one class of these sources has; what begins with `_` is its file's own."""
    names = Counter(
        node.name
        for text in texts
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    return {name for name, count in names.items() if count > 1}


def test_no_class_has_the_name_of_another():
    """The name of a class says which it is, whichever package it is read in."""
    packages = ("catalog", "settings", "planning", "components", "preview")
    texts = [file.read_text(encoding="utf-8") for package in packages for file in sources(package)]
    assert shared_names(texts) == set()
    assert len(texts) > 100


def test_shared_names_are_really_found():
    """In one source and across two, inner classes too; not private ones."""
    assert shared_names(["class A:\n    class B: ...\nclass _C: ...", "class B: ...\nclass _C: ...\nclass D: ..."]) == {
        "B"
    }


def test_only_one_place_reads_the_configuration():
    """`pulumi.Config` and the runtime's configuration are touched by settings/load.py alone."""
    readers = {
        str(file.relative_to(ROOT))
        for package in ("__main__", "catalog", "settings", "planning", "components")
        for file in sources(package)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Attribute) and node.attr in ("Config", "get_stack"))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pulumi.runtime"))
    }
    assert readers == {"settings/load.py"}


def test_pydantic_and_the_loader_stop_at_the_border_of_the_components():
    """Components get parts of the plan: none but the outermost know settings or the catalogue, and none pydantic."""
    wrong = {
        f"{file.relative_to(ROOT)}: {name}"
        for file in sources("components")
        for name in imports(file.read_text(encoding="utf-8"))
        if name.partition(".")[0] in ({"pydantic"} if file.stem in OUTERMOST else {"settings", "catalog", "pydantic"})
    }
    assert wrong == set()


CATALOG = load_catalog()
ENGINE = CATALOG.vllm
# The one module in which options of the engine are written.
OPTIONS_MODULE = "planning/capacity/flags.py"
# A path that Open WebUI has, too.
OTHERS_WORDS = {"planning/gateway/chat_ui.py": {"/health"}}
# Options of other programs that are written like some of the engine's: planner, LiteLLM, router, hub client.
OTHERS_OPTIONS = {
    "planning/__main__.py": {
        "--enforce-eager",
        "--gpu-memory-utilization",
        "--kv-cache-dtype",
        "--language-model-only",
        "--max-num-batched-tokens",
        "--max-num-seqs",
        "--model",
    },
    "planning/questions/calibrate.py": {"--kv-cache-dtype", "--model"},
    "components/_litellm_pod.py": {"--config", "--host", "--port"},
    "components/_router.py": {"--api-key"},
    "planning/server/router.py": {"--host", "--port"},
    "preview/reporting/bundle_script.py": {"--revision"},
}


def engine_options() -> set[str]:
    """Every long spelling of every option that the engine has or had."""
    return {name for name in (*ENGINE.spellings, *ENGINE.removed_options) if name.startswith("--")}


def engine_words() -> re.Pattern[str]:
    """What else is the engine's own: metrics, variables, paths, its provider, and how it reads weights and buckets."""
    loading, health = ENGINE.loading, ENGINE.health
    anywhere = {
        *ENGINE.variables.values(),
        *ENGINE.uncompiled.variables,
        *(store.prefix for store in CATALOG.stores.values()),
        health.api_key_env,
        health.address_env,
        health.litellm_provider,
        loading.streamed,
        loading.variables,
    }
    alone = {health.path, health.metrics_path, loading.files, loading.memory_limit, loading.distributed}
    return re.compile(
        rf"vllm:[a-z]|VLLM_[A-Z]|\b({'|'.join(sorted(map(re.escape, anywhere)))})"
        rf"|^({'|'.join(sorted(map(re.escape, alone)))})$"
    )


OPTIONS, WORDS = engine_options(), engine_words()


def spelled(text: str) -> tuple[set[str], set[str]]:
    """(options, other words) of the engine in the strings of a source; comments and docstrings may name them."""
    tree = ast.parse(text)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    strings = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]
    options = {option for string in strings for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", string)}
    return options & OPTIONS, {string for string in strings if WORDS.search(string)}


def test_no_word_of_an_engine_stands_outside_of_the_catalogue():
    """Options are written in one module, and everything else comes from the engine's file."""
    found = {
        str(file.relative_to(ROOT)): spelled(file.read_text(encoding="utf-8"))
        for package in ("planning", "components", "preview", "settings", "__main__")
        for file in sources(package)
    }
    assert {file: words for file, (_, words) in found.items() if words} == OTHERS_WORDS
    options = {file: options for file, (options, _) in found.items() if options and file != OPTIONS_MODULE}
    assert options == OTHERS_OPTIONS


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("a = ['--max-num-seqs', 'x']", {"--max-num-seqs"}, set()),
        ("a = f'--max-num-seqs={n} or --no-enable-lora'", {"--max-num-seqs", "--no-enable-lora"}, set()),
        ("def f():\n    'Write --max-num-seqs, VLLM_USE_V1.'  # --dtype", set(), set()),
        ("a = '--set=x', '---dtype', '--our-own', '/health/readiness', 'a.safetensors'", set(), set()),
        ("a = 'sum(vllm:num_requests_running)', '/health'", set(), {"sum(vllm:num_requests_running)", "/health"}),
        ("a = 'VLLM_USE_V1', 'AWS_REGION', 'LOGNAME'", set(), {"VLLM_USE_V1", "AWS_REGION", "LOGNAME"}),
        ("a = 'runai_streamer', 'RUNAI_STREAMER_X'", set(), {"runai_streamer", "RUNAI_STREAMER_X"}),
        ("a = 'hosted_vllm/m', 'safetensors'", set(), {"hosted_vllm/m", "safetensors"}),
    ],
)
def test_words_of_an_engine_are_really_found(text: str, options: set[str], words: set[str]):
    """In plain and formatted strings, alone and in a sentence; not in docstrings, nor what is only alike."""
    assert spelled(text) == (options, words)


def test_every_option_that_is_written_is_one_of_the_engine_and_used():
    """A name that a newer engine drops, or that nothing asks for any more, does not stay in the module of options."""
    written = {name: value for name, value in vars(flags).items() if str(value).startswith("--")}
    texts = [file.read_text(encoding="utf-8") for file in sources("planning")]
    used = {node.attr for text in texts for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)}
    own = ast.walk(ast.parse((ROOT / OPTIONS_MODULE).read_text(encoding="utf-8")))
    used |= {node.id for node in own if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    assert set(written.values()) <= OPTIONS
    assert set(written) <= used
    assert len(set(written.values())) == len(written)


def handed_lists(text: str) -> list[str]:
    """Parameters and fields of a source that take a list of problems, for somebody else to write into."""
    found = []
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg]
                places = [(f"{name}({one.arg})", one.annotation) for one in every if one]
            case ast.ClassDef(name=name):
                fields = [item for item in node.body if isinstance(item, ast.AnnAssign)]
                places = [(f"{name}.{ast.unparse(item.target)}", item.annotation) for item in fields]
            case _:
                continue
        found += [place for place, kind in places if kind and re.search(LIST_OF_PROBLEMS, ast.unparse(kind))]
    return found


LIST_OF_PROBLEMS = r"\b(list|MutableSequence)\[([\w.]+\.)?Problem\]"


def test_problems_are_returned():
    """No function writes into a list that it is given: who asked for problems puts together what is returned."""
    files = [*sources("planning"), *sources("settings")]
    found = {str(file.relative_to(ROOT)): handed_lists(file.read_text(encoding="utf-8")) for file in files}
    assert {name: where for name, where in found.items() if where} == {}
    assert len(found) > 50


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def f(a, problems: list[Problem]): ...", ["f(problems)"]),
        ("def f(*, found: 'list[Problem] | None' = None): ...", ["f(found)"]),
        ("class Site:\n    problems: list[problems.Problem]", ["Site.problems"]),
        ("def f(said: Sequence[Problem]) -> list[Problem]:\n    found: list[Problem] = []", []),
    ],
)
def test_handed_lists_are_really_found(text: str, expected: list[str]):
    """Parameters of any kind and fields; not what is returned, kept for oneself, or only read."""
    assert handed_lists(text) == expected


def test_pod_scripts_use_the_standard_library_only():
    """What runs in other people's images imports what is in Python itself; also what the image is there for.

    One Job's scripts stand beside each other and are several, so that each can be read.
    """
    scripts = [file for file in sorted(POD_SCRIPTS.glob("*.py")) if file.name != "__init__.py"]
    wrong = {
        f"{file.name}: {name}"
        for file in scripts
        for name in tops(file.read_text())
        if name not in sys.stdlib_module_names
    }
    of_the_image = {
        "buckets.py: azure",
        "buckets.py: boto3",
        "buckets.py: botocore",
        "buckets.py: fetch_weights",
        "buckets.py: google",
        "check_shards.py: check_store",
        "check_store.py: runai_model_streamer",
        "copy_store.py: buckets",
        "copy_store.py: copy_weights",
        "copy_store.py: fetch_weights",
        "fetch_adapter.py: fetch_proven",
        "fetch_adapter.py: fetch_weights",
        "fetch_proven.py: fetch_weights",
        "fetch_proven.py: prove_weights",
        "fill_store.py: buckets",
        "fill_store.py: fetch_weights",
        "fill_store.py: hub_files",
        "fill_store.py: prove_weights",
        "gateway_at_zero.py: litellm",
        "gateway_at_zero.py: prometheus_client",
        "gateway_audit.py: litellm",
        "gateway_auth.py: litellm",
        "gateway_hooks.py: litellm",
        "gateway_hooks.py: redis",
        "gateway_migrate.py: litellm",
        "gateway_migrate.py: prisma",
        "gateway_providers.py: litellm",
        "gateway_surface.py: litellm",
        "gateway_surface.py: prometheus_client",
        "gateway_teams.py: gateway_admin",
        "hub_files.py: fetch_weights",
        "prove_weights.py: check_store",
    }
    assert (wrong, len(scripts)) == (of_the_image, 23)


def test_a_script_has_beside_it_what_it_imports():
    """The table of the scripts is what their files import as they begin, and what those do."""
    imported = {
        name: {top for top in NAMES if re.search(rf"^(from {top} import|import {top}$)", source(name), re.MULTILINE)}
        for name in NAMES
    }
    for _ in NAMES:
        imported = {name: tops.union(*(imported[top] for top in tops)) for name, tops in imported.items()}
    assert {name: set(beside) for name, beside in BESIDE.items()} == {
        name: tops for name, tops in imported.items() if tops
    }


def code_lines(text: str) -> int:
    """Lines that hold code: no blank lines, comments or docstrings."""
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    strings = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    lines = {line for token in tokens if token.type not in layout for line in range(token.start[0], token.end[0] + 1)}
    return len(lines - strings)


def test_the_program_is_short():
    """__main__.py has at most 60 lines of code and no condition on the stack's name."""
    text = (ROOT / "__main__.py").read_text(encoding="utf-8")
    assert code_lines(text) <= LONGEST_PROGRAM
    assert not [node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.If, ast.IfExp))]


def product() -> dict[str, str]:
    """Path → text of every Python file of the product, scripts of pods included."""
    files = [file for name in PRODUCT for file in (ROOT / name).rglob("*.py")] + [ROOT / "__main__.py"]
    return {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8") for file in files}


def long_functions(text: str, most: int = LONGEST_FUNCTION) -> list[str]:
    """Names of functions, inner ones and methods too, of more lines than that from `def` to the last."""
    return [
        node.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        if (node.end_lineno or node.lineno) - node.lineno + 1 > most
    ]


def test_no_file_of_the_product_is_long():
    """At most 300 lines; beyond, a file is about two things. What is longer is listed with its reason."""
    files = product()
    assert {name for name, text in files.items() if len(text.splitlines()) > LONGEST_FILE} == set(LONG_FILES)
    assert len(files) > 100


def test_no_function_of_the_product_is_long():
    """At most 60 lines: a reader sees all of it at once."""
    found = {name: long_functions(text) for name, text in product().items()}
    assert {name: functions for name, functions in found.items() if functions} == {}


def test_long_functions_are_really_found():
    """Methods, inner and asynchronous functions; the docstring counts, a decorator does not."""
    inner = 'class A:\n    @b\n    def c(self):\n        """One."""\n        return 1\n'
    asked = "async def d():\n    def e():\n        return (\n            1\n        )\n"
    assert [long_functions(text, 3) for text in (inner, asked, "def f(): ...\n")] == [[], ["d", "e"], []]
    assert long_functions(inner, 2) == ["c"]


# Built-in functions that compute with numbers.
COMPUTING = {"abs", "divmod", "max", "min", "pow", "round", "sum"}


def computed(text: str) -> list[str]:
    """Numbers that a source decides: constants of the module that are numbers, and arithmetic anywhere in it.

    A `+` counts where a number is written beside it; without one it may join text or lists.
    """
    tree = ast.parse(text)
    found = [
        ast.unparse(node)
        for node in tree.body
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None and _is_numbers(node.value)
    ]
    for node in ast.walk(tree):
        match node:
            case ast.BinOp(op=ast.BitOr()) | ast.AugAssign(op=ast.BitOr()):
                continue
            case ast.BinOp(op=ast.Add(), left=left, right=right):
                wrong = _is_numbers(left) or _is_numbers(right)
            case ast.AugAssign(op=ast.Add(), value=value):
                wrong = _is_numbers(value) and not isinstance(value, (ast.List, ast.Tuple))
            case ast.BinOp() | ast.AugAssign():
                wrong = True
            case ast.Call(func=ast.Name(id=name)):
                wrong = name in COMPUTING
            case _:
                continue
        found += [ast.unparse(node)] if wrong else []
    return found


def _is_numbers(node: ast.expr) -> bool:
    """Whether a value is a number, or nothing but numbers."""
    match node:
        case ast.Constant(value=value):
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        case ast.UnaryOp(operand=operand):
            return _is_numbers(operand)
        case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items) | ast.Dict(values=items):
            return bool(items) and all(_is_numbers(item) for item in items)
        case _:
            return False


def test_components_decide_no_numbers():
    """Thresholds, timeouts and sums come from the plan: no component has a number of its own, or computes one."""
    found = {file.name: computed(file.read_text(encoding="utf-8")) for file in sources("components")}
    assert {name: what for name, what in found.items() if what} == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PERIOD_S = 5", ["PERIOD_S = 5"]),
        ("PORTS: tuple = (443, 6443)", ["PORTS: tuple = (443, 6443)"]),
        ("A, B = 1, -2.5", ["A, B = (1, -2.5)"]),
        ("def f(x):\n    return 3 * x", ["3 * x"]),
        ("def f(x):\n    x += 1", ["x += 1"]),
        ("t = f'{x + 120}s'", ["x + 120"]),
        ("y = max(1, x)", ["max(1, x)"]),
        ("K = 'a' + 'b' + c\nd |= {'e': 3}\nf: int | None = None\ng += [h]\nREFUSED = {'codes': [2], 'a': 'b'}", []),
    ],
)
def test_numbers_are_really_found(text: str, expected: list[str]):
    """Constants, operators, numbers inside of texts and built-ins; not text, lists, unions and what is declared."""
    assert computed(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import yaml", {"yaml"}),
        ("from planning.plan import Plan", {"planning"}),
        ("def f():\n    import settings.load", {"settings"}),
    ],
)
def test_imports_are_really_found(text: str, expected: set[str]):
    """Plain, from- and inner imports are all seen."""
    assert tops(text) == expected


def test_code_lines_are_counted_as_promised():
    """Docstrings, comments and blank lines do not count; every line of a statement does."""
    assert code_lines('"""Doc\n\nstring."""\n\n# comment\nx = (\n    1\n)\n') == 3


def test_no_amount_is_written_into_a_component():
    """Neither as a number nor as a quantity or a duration in a string: `64Mi` and `10m` are decided in planning."""
    amount = re.compile(r"\d+(m|s|h|Ki|Mi|Gi)|\d{3,}")
    found = {
        f"{file.name}:{node.lineno}: {node.value}"
        for file in sources("components")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and amount.fullmatch(node.value)
    }
    assert found == set()
