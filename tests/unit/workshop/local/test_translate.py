"""From a rendered container to a process: entrypoints, directories, addresses, ports, names of Services, secrets.

Does not prove that vLLM and LiteLLM take these arguments; tests/local does, with the real ones.
"""

import dataclasses
import sys
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.unit.small_stack import properties
from tests.unit.workshop.local.pods import (
    LITELLM,
    VLLM,
    config_map,
    container,
    deployment,
    from_secret,
    machine,
    rendered,
    service,
)
from workshop.local import translate
from workshop.local.objects import Rendered
from workshop.local.translate import (
    Machine,
    _expanded,
    _placed,
    command_of,
    files_with_names,
    service_names,
    undirected_ports,
)

# This machine's directories look like the container's: a project below /tmp, a cache with models in its path.
DIRECTORIES = {"models": "/tmp/home/.cache/models", "tmp": "/tmp/run/models/tmp", "config": "/tmp/run/config"}
VOLUMES = [
    {"name": "models", "persistentVolumeClaim": {"claimName": "weights"}},
    {"name": "tmp", "emptyDir": {}},
    {"name": "config", "configMap": {"name": "gateway"}},
]
MOUNTS = [
    {"mountPath": "/models", "name": "models"},
    {"mountPath": "/tmp", "name": "tmp"},
    {"mountPath": "/etc/litellm", "name": "config"},
]


def command(found: dict, *objects: dict, on: Machine | None = None):
    """What becomes of one container."""
    every: Rendered = rendered(deployment(found, pod={"volumes": VOLUMES}), *objects)
    workload = every.workloads[0]
    return command_of(every, workload, workload.containers[0], on or machine(directories=DIRECTORIES))


def mounting(**fields) -> dict:
    """A vLLM container with the three volumes."""
    return {"name": "main", "image": VLLM, "volumeMounts": MOUNTS, **fields}


def placed(text: str) -> str:
    """`text` of a container with the three volumes, on this machine."""
    workload = rendered(deployment(mounting(), pod={"volumes": VOLUMES})).workloads[0]
    return _placed(text, workload.containers[0], machine(directories=DIRECTORIES))


# ---- whole commands --------------------------------------------------------------------------------------------------


def test_a_vllm_server_as_rendered():
    """Entrypoint, model, directories, address and port are replaced, each is noted, and all else stays."""
    found = command(
        mounting(
            args=["/models/a/b", "--served-model-name=small", "--host=0.0.0.0", "--port=8000", "--max-model-len=8000"],
            ports=[{"name": "http", "containerPort": 8000}],
            env=[{"name": "HF_HOME", "value": "/tmp/hf"}, {"name": "VLLM_CPU_KVCACHE_SPACE", "value": "1"}],
        ),
        on=machine(directories=DIRECTORIES, ports={8000: 41000}, environment={"PATH": "/bin", "HOME": "/root"}),
    )
    assert found.argv == (
        "/venv/bin/python",
        "-m",
        "vllm.entrypoints.openai.api_server",
        "--model",
        "/tmp/home/.cache/models/a/b",
        "--served-model-name=small",
        "--host=127.0.0.1",
        "--port=41000",
        "--max-model-len=8000",
    )
    assert found.env == {
        "PATH": "/bin",
        "HF_HOME": "/tmp/run/models/tmp/hf",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "TMPDIR": "/tmp/run/models/tmp",
    }
    assert found.replaced == (
        ("HF_HOME", "/tmp/hf", "/tmp/run/models/tmp/hf"),
        ("TMPDIR", "not set; /tmp is the pod's own", "/tmp/run/models/tmp"),
        ("entrypoint", f"of {VLLM}", "/venv/bin/python -m vllm.entrypoints.openai.api_server"),
        ("argument", "/models/a/b", "--model /models/a/b"),
        ("argument", "/models/a/b", "/tmp/home/.cache/models/a/b"),
        ("argument", "--host=0.0.0.0", "--host=127.0.0.1"),
        ("argument", "--port=8000", "--port=41000"),
    )


def test_a_gateway_as_rendered():
    """Ports in arguments and variables, Redis by its Service, the proxy for names in its files."""
    found = command(
        {
            **mounting(image=LITELLM, args=["--config=/etc/litellm/config.yaml", "--port", "4000"]),
            "ports": [{"name": "http", "containerPort": 4000}, {"name": "metrics", "containerPort": 9000}],
            "env": [
                {"name": "GATEWAY_METRICS_PORT", "value": "9000"},
                {"name": "REDIS_HOST", "value": "redis.llm.svc.cluster.local"},
                {"name": "REDIS_PORT", "value": "6379"},
                {"name": "OTHER_PORT", "value": "9000"},
                from_secret("REDIS_PASSWORD", "keys", "redis"),
            ],
        },
        service("redis", 6379, 6379),
        service("vllm"),
        config_map("gateway", config__yaml="api_base: http://vllm.llm.svc.cluster.local:8000/v1\n"),
        on=machine(
            directories=DIRECTORIES,
            ports={4000: 41000, 9000: 41001},
            services={("redis", 6379): 42000, ("vllm", 8000): 42001},
            secrets={"keys": {"redis": "sk-hidden"}},
        ),
    )
    assert found.argv == (
        "/venv/bin/python",
        "/venv/bin/litellm",
        "--config=/tmp/run/config/config.yaml",
        "--port",
        "41000",
    )
    assert found.env == {
        "GATEWAY_METRICS_PORT": "41001",
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": "42000",
        "OTHER_PORT": "9000",
        "REDIS_PASSWORD": "sk-hidden",
        "TMPDIR": "/tmp/run/models/tmp",
        "http_proxy": "http://127.0.0.1:9999",
        "no_proxy": "127.0.0.1,localhost",
    }
    assert found.replaced == (
        ("GATEWAY_METRICS_PORT", "9000", "41001"),
        ("REDIS_HOST", "redis.llm.svc.cluster.local", "127.0.0.1"),
        ("REDIS_PORT", "6379", "42000"),
        ("TMPDIR", "not set; /tmp is the pod's own", "/tmp/run/models/tmp"),
        ("http_proxy", "not set; it knows the names of Services in gateway", "http://127.0.0.1:9999"),
        ("no_proxy", "not set; what runs beside it is reached directly", "127.0.0.1,localhost"),
        ("entrypoint", f"of {LITELLM}", "/venv/bin/python /venv/bin/litellm"),
        ("argument", "--config=/etc/litellm/config.yaml", "--config=/tmp/run/config/config.yaml"),
        ("argument", "4000", "41000"),
    )


def test_redis_gets_its_port_and_address_wherever_it_is_called():
    """A pod's own shell line stays; what it calls gets further arguments."""
    found = command(
        {
            "name": "redis",
            "image": "docker.io/library/redis:8.10.1-trixie",
            "command": ["sh", "-c", "printf 'dir /tmp' | exec redis-server -"],
            "ports": [{"name": "redis", "containerPort": 6379}],
            "volumeMounts": [{"mountPath": "/tmp", "name": "tmp"}],
        },
        on=machine(directories=DIRECTORIES, ports={6379: 43000}),
    )
    assert found.argv == ("sh", "-c", "printf 'dir /tmp/run/models/tmp' | exec redis-server -")
    programs = str(Path(translate.__file__).with_name("programs"))
    assert found.env["PATH"].partition(":")[0] == programs
    assert found.env["PORT_REDIS"] == "43000"
    assert {
        ("PATH", "not set; redis-server of this machine", found.env["PATH"]),
        ("PORT_REDIS", "not set; read by what is on PATH", "43000"),
    } <= set(found.replaced)


def test_urls_in_variables_get_the_ports_of_services():
    """Whatever name they call a Service by, with a password or a path; what is no Service, or no such port, stays."""
    names = {"database": 43001, "database.llm.svc": 43001, "database.llm.svc.cluster.local": 43001}
    on = machine(directories=DIRECTORIES, ports={}, services={("database", 5432): 43001}, secrets={"s": {"p": "hush"}})
    env = [
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "s", "key": "p"}}},
        *({"name": f"U{n}", "value": f"postgresql://me:$(PASSWORD)@{name}:5432/x"} for n, name in enumerate(names)),
        {"name": "OTHER", "value": "postgresql://me@database.elsewhere.svc:5432/x"},
        {"name": "PORT", "value": "http://database:80/x"},
        {"name": "END", "value": "http://database:5432"},
    ]
    found = command({"name": "main", "image": LITELLM, "env": env}, service("database", 5432, 5432), on=on)
    assert [found.env[f"U{n}"] for n in range(3)] == ["postgresql://me:hush@127.0.0.1:43001/x"] * 3
    assert found.env["OTHER"] == "postgresql://me@database.elsewhere.svc:5432/x"
    assert (found.env["PORT"], found.env["END"]) == ("http://database:80/x", "http://127.0.0.1:43001")
    assert "hush" not in str(found.replaced)


def test_litellm_with_a_database_gets_prisma():
    """And without one it does not."""
    prisma = {"PYTHONPATH": "/prisma", "PATH": "/prisma/bin:/bin"}
    env = [{"name": "DATABASE_URL", "value": "postgresql://x/y"}]
    on = machine(directories=DIRECTORIES, ports={}, prisma=prisma)
    with_it = command({"name": "main", "image": LITELLM, "env": env}, on=on)
    without = command({"name": "main", "image": LITELLM}, on=on)
    assert {name: with_it.env[name] for name in prisma} == prisma
    assert "PYTHONPATH" not in without.env


@pytest.mark.parametrize("program", ["python", "python3"])
def test_a_pods_own_python_is_that_of_the_environment(program):
    """A script of the pod sees the packages its image has."""
    found = command(mounting(command=[program, "/models/x.py"], args=["--all"]))
    assert (found.argv, found.replaced[1:]) == (
        ("/venv/bin/python", "/tmp/home/.cache/models/x.py", "--all"),
        (
            ("command", program, "/venv/bin/python"),
            ("argument", "/models/x.py", "/tmp/home/.cache/models/x.py"),
        ),
    )


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["org/model", "--x"], ("--model", "org/model", "--x")),
        (["--model", "org/model"], ("--model", "org/model")),
        ([], ()),
    ],
)
def test_the_first_argument_of_vllm_is_its_model(args, expected):
    """An option there, unless it is one already."""
    assert command(mounting(args=args)).argv[3:] == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"args": ["/tmp/model"]},
            ("/tmp/x/bin/python", "-m", "vllm.entrypoints.openai.api_server", "--model", "/d/model"),
        ),
        ({"command": ["python3", "/tmp/a.py"]}, ("/tmp/x/bin/python", "/d/a.py")),
        ({"command": ["/tmp/tool", "-v"]}, ("/d/tool", "-v")),
    ],
)
def test_a_project_below_a_directory_of_the_container_runs_its_own_programs(fields, expected):
    """What stands for the image is of this machine already: only what is rendered is looked at for directories."""
    assert (
        command(mounting(**fields), on=machine(venv="/tmp/x", directories={**DIRECTORIES, "tmp": "/d"})).argv
        == expected
    )


def test_a_process_gets_little_of_this_machine():
    """Only what any process needs; what the pod sets itself wins."""
    environment = {"PATH": "/bin", "LANG": "C", "SSL_CERT_FILE": "/ca", "HTTP_PROXY": "x", "OPENAI_API_KEY": "mine"}
    found = command({**mounting(env=[{"name": "LANG", "value": "de"}]), "volumeMounts": []},
                    on=machine(environment=environment))  # fmt: skip
    assert found.env == {"PATH": "/bin", "LANG": "de", "SSL_CERT_FILE": "/ca"}


# ---- directories -----------------------------------------------------------------------------------------------------

MODELS, TMP = DIRECTORIES["models"], DIRECTORIES["tmp"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/models", MODELS),
        ("/models/a", f"{MODELS}/a"),
        ("--path=/models", f"--path={MODELS}"),
        ("a:/models:/tmp", f"a:{MODELS}:{TMP}"),
        ("ls '/models' \"/tmp\" (/tmp);", f"ls '{MODELS}' \"{TMP}\" ({TMP});"),
        ('{"dir": "/models", "x": ["/tmp"]}', f'{{"dir": "{MODELS}", "x": ["{TMP}"]}}'),
        ("cat </tmp>/models&&cd /tmp|x `ls /tmp`", f"cat <{TMP}>{MODELS}&&cd {TMP}|x `ls {TMP}`"),
        ("a\n/tmp\nb", f"a\n{TMP}\nb"),
        # no whole component
        ("/models2", "/models2"),
        ("/models-old/a", "/models-old/a"),
        ("/models.bak", "/models.bak"),
        ("/var/models", "/var/models"),
        ("./models ../models ~/models", "./models ../models ~/models"),
        (
            "-/models $HOME/models ${X}/models $(pwd)/models */tmp",
            "-/models $HOME/models ${X}/models $(pwd)/models */tmp",
        ),
        ("org/models", "org/models"),
        # URLs
        ("http://host/models", "http://host/models"),
        ("http://host:80/models/x", "http://host:80/models/x"),
        ("http://[::1]/models", "http://[::1]/models"),
        ("http://host/x?dir=/models", "http://host/x?dir=/models"),
        ("s3://models/models", "s3://models/models"),
        ("file:///models/x", "file:///models/x"),
        ('{"url": "http://host/models", "dir": "/models"}', f'{{"url": "http://host/models", "dir": "{MODELS}"}}'),
    ],
)
def test_a_path_is_replaced_as_a_whole_component_only(text, expected):
    """Alone or at the beginning of a longer one, in shell lines and JSON; never in other paths, names or URLs."""
    assert placed(text) == expected


def test_the_longest_mount_wins():
    """A volume in a volume is a directory of its own."""
    mounts = [{"mountPath": "/a", "name": "models"}, {"mountPath": "/a/b", "name": "tmp"}]
    assert command(mounting(command=["ls"], args=["/a/b/c", "/a/bc", "/a"], volumeMounts=mounts)).argv == (
        "ls",
        f"{TMP}/c",
        f"{MODELS}/bc",
        MODELS,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.0.0.0", "127.0.0.1"),
        ("--host=0.0.0.0", "--host=127.0.0.1"),
        ("http://0.0.0.0:80/x", "http://127.0.0.1:80/x"),
        ("http://0.0.0.0/x", "http://127.0.0.1/x"),
        ("10.0.0.0.0", "10.0.0.0.0"),
        ("0.0.0.0.1", "0.0.0.0.1"),
        ("20.0.0.0", "20.0.0.0"),
        ("0.0.0.00", "0.0.0.00"),
        ("0x0y0z0", "0x0y0z0"),
        # a network, not an address to listen on
        ("0.0.0.0/0", "0.0.0.0/0"),
    ],
)
def test_processes_listen_on_loopback_only(text, expected):
    """All addresses become one; what only looks alike stays."""
    assert placed(text) == expected


@properties(300)
@given(st.text(st.sampled_from("/models tmp.-_=:\"'(),;0$\n"), max_size=40))
@example("models tmp etc/litellm")
def test_text_without_a_mounted_path_or_address_stays(text):
    """Whatever else it holds."""
    assume(not any(path in text for path in ("/models", "/tmp", "/etc/litellm", "0.0.0.0")))
    assert placed(text) == text


# without 0.0.0.0, which is an address wherever it stands
WORD = st.text(st.sampled_from("abcz9_.-"), min_size=1, max_size=8)


@properties(300)
@given(st.sampled_from(["/models", "/tmp", "/etc/litellm"]), WORD, WORD)
def test_longer_names_and_paths_stay(path, before, behind):
    """A path with something glued to it is another one, in front and behind, in a URL too."""
    text = f"{path}{behind} {before}{path} /{before}{path}/{behind} https://{before}{path}/{behind}"
    assert placed(text) == text


@properties(300)
@given(st.sampled_from([("/models", MODELS), ("/tmp", TMP), ("/etc/litellm", DIRECTORIES["config"])]), WORD)
def test_a_directory_of_this_machine_is_put_in_once(pair, name):
    """Though it contains paths of the container itself."""
    path, here = pair
    assert placed(f"--x={path}/{name}") == f"--x={here}/{name}"


# ---- variables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(B)", "x1y2"),
        ("$(NO)", "$(NO)"),
        ("$A ${A}", "$A ${A}"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$$$$", "$$"),
        ("$(A", "$(A"),
        ("$(date +%s)", "$(date +%s)"),
        ("$(a.b-c)", "3"),
    ],
)
def test_variables_are_expanded_as_kubernetes_does(text, expected):
    """`$(NAME)` where it is known, two dollars are one, and what a shell expands is left to it."""
    assert _expanded(text, {"A": "1", "B": "2", "a.b-c": "3"}) == expected


def test_variables_see_those_before_them():
    """In order; a later one is not known yet. Arguments see all."""
    env = [{"name": "B", "value": "$(A)"}, {"name": "A", "value": "1"}, {"name": "C", "value": "$(A)$(B)"}]
    found = command({**mounting(command=["x", "$(C)"], env=env), "volumeMounts": []})
    assert (found.env, found.argv) == ({"B": "$(A)", "A": "1", "C": "1$(A)"}, ("x", "1$(A)"))


def test_a_variable_with_a_directory_is_expanded_as_it_is():
    """Its value is a directory of this machine already, and is not taken for one of the container's."""
    env = [{"name": "ROOT", "value": "/models/x"}, {"name": "FILE", "value": "$(ROOT)/f"}]
    found = command(mounting(command=["ls"], args=["$(FILE)"], env=env))
    assert (found.env["FILE"], found.argv) == (f"{MODELS}/x/f", ("ls", f"{MODELS}/x/f"))


def test_a_secret_is_used_as_it_is_and_never_shown():
    """Also where other variables and arguments hold it, and where its text looks like a path or an address."""
    value = "/tmp/0.0.0.0"
    found = command(
        mounting(
            command=["serve", "--key=$(KEY)", "--url=$(URL)"],
            env=[from_secret("KEY", "keys", "k"), {"name": "URL", "value": "redis://:$(KEY)@host"}],
        ),
        on=machine(directories=DIRECTORIES, secrets={"keys": {"k": value}}),
    )
    assert found.argv == ("serve", f"--key={value}", f"--url=redis://:{value}@host")
    assert (found.env["KEY"], found.env["URL"]) == (value, f"redis://:{value}@host")
    assert found.replaced == (
        ("URL", "redis://:$(KEY)@host", "redis://:<secret>@host"),
        ("TMPDIR", "not set; /tmp is the pod's own", TMP),
        ("argument", "--key=$(KEY)", "--key=<secret>"),
        ("argument", "--url=$(URL)", "--url=redis://:<secret>@host"),
    )
    assert value not in repr(dataclasses.replace(found, argv=()))


@properties(200)
@given(
    st.lists(st.sampled_from(["$(KEY)", "$(A)", "$(B)", "/tmp", "0.0.0.0", "x", "$$", " "]), max_size=5).map("".join),
    st.lists(st.sampled_from(["$(KEY)", "$(A)", "/models", "x"]), max_size=4).map("".join),
    st.lists(st.sampled_from(["$(KEY)", "$(A)", "$(B)", "--port=", "8000"]), max_size=4).map("".join),
)
def test_secrets_are_never_in_what_was_replaced(first, second, argument):
    """Through however many variables they pass; all else of a word is shown as it is run."""
    env = [from_secret("KEY", "keys", "k"), {"name": "A", "value": first}, {"name": "B", "value": second}]
    found = command(
        mounting(command=["x", argument], env=env),
        on=machine(directories=DIRECTORIES, ports={8000: 41000}, secrets={"keys": {"k": "hushhush"}}),
    )
    assert "hushhush" not in repr(found.replaced)
    shown = found.argv[1].replace("hushhush", "<secret>")
    assert found.argv[1] == argument or found.replaced[-1] == ("argument", argument, shown)


# ---- ports -----------------------------------------------------------------------------------------------------------


@properties(300)
@given(st.sampled_from(["--max-model-len", "--seed", "--max-num-seqs", "--ports", "--port-range", "-p", "--x-port"]))
def test_ports_are_replaced_at_the_options_of_the_table_only(option):
    """The same number elsewhere means something else."""
    args = [f"{option}=8000", option, "8000", "8000", "--port=8001", "--port=8000", "--port", "8000"]
    found = command(mounting(command=["x"], args=args), on=machine(directories=DIRECTORIES, ports={8000: 41000}))
    assert found.argv[1:] == (
        f"{option}=8000", option, "8000", "8000", "--port=8001", "--port=41000", "--port", "41000",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"args": ["--port=8000"]}, ["metrics"]),
        ({"args": ["--port", "8000"]}, ["metrics"]),
        ({"command": ["vllm", "serve", "--port=8000"]}, ["metrics"]),
        ({"args": ["--port"], "command": ["8000"]}, ["http", "metrics"]),
        ({"args": ["--max-model-len=8000"]}, ["http", "metrics"]),
        ({"image": LITELLM, "env": [{"name": "GATEWAY_METRICS_PORT", "value": "9000"}]}, ["http"]),
        ({"image": LITELLM, "env": [from_secret("GATEWAY_METRICS_PORT", "a", "b")]}, ["http", "metrics"]),
        ({"image": "redis:8.10.1"}, ["http", "metrics"]),
    ],
)
def test_ports_nobody_tells_are_found(fields, expected):
    """They cannot be moved, and two pods cannot have the same."""
    ports = [{"name": "http", "containerPort": 8000}, {"name": "metrics", "containerPort": 9000}]
    workload = rendered(deployment({"name": "main", "image": VLLM, "ports": ports, **fields})).workloads[0]
    assert undirected_ports(workload.containers[0]) == expected


# ---- names of Services -----------------------------------------------------------------------------------------------


def test_a_service_has_four_names():
    """From the shortest to the fully qualified one."""
    found = rendered(service("vllm"))
    assert list(service_names(found.services)) == [
        "vllm.llm.svc.cluster.local",
        "vllm.llm.svc",
        "vllm.llm",
        "vllm",
    ]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("http://vllm.llm.svc.cluster.local:8000/v1", True),
        ("http://vllm.llm.svc/v1", True),
        ("http://other.llm.svc:8000/v1", False),
        ("http://vllm.llm.svc.example.com:8000", False),
        ("vllm.llm.svc", False),
    ],
)
def test_files_that_name_services_are_found(text, named):
    """Only in ConfigMaps the container mounts, only as hosts of URLs."""
    found = rendered(
        deployment(mounting(), pod={"volumes": VOLUMES}),
        service("vllm"),
        config_map("gateway", config__yaml=f"x: {text}\n"),
        config_map("not-mounted", x="http://vllm.llm.svc:8000"),
    )
    workload = found.workloads[0]
    assert files_with_names(found, workload, workload.containers[0]) == (["gateway"] if named else [])


def test_what_stays_is_not_noted():
    """A program by its path is run as it is, and a container that needs nothing gets nothing."""
    found = command(container("pass"))
    assert (found.argv, dict(found.env), found.replaced) == ((sys.executable, "-c", "pass"), {}, ())
