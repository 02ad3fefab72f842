"""The migration Job and a serving role without rights on the schema, with a real Postgres.

Not proved: `prisma migrate deploy`, whose engine is a binary; the tables are made from the same schema (database.py).
"""

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.gateway import database, stacks
from tests.gateway.client import chat, request
from tests.gateway.fake_vllm import Fakes, wait_for
from tests.gateway.proxies import Proxy, proxy, rendered, start
from tests.harness import container_of, environment, stack
from workshop.local.toolchain import VENV

pytestmark = [
    pytest.mark.gateway,
    pytest.mark.skipif(bool(database.missing()), reason=f"not here: {', '.join(database.missing())}"),
]
VIEWS = "SELECT count(*) FROM pg_views WHERE schemaname = 'public'"
# What docs/operations.md says of a database that has its tables.
SERVING = """
CREATE ROLE serving LOGIN;
GRANT USAGE ON SCHEMA public TO serving;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO serving;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public GRANT USAGE, SELECT, UPDATE ON SEQUENCES TO serving;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO serving;
GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public TO serving;
"""
NOBODYS_URL = "postgresql://someone:marker-password@127.0.0.1:1/none"
CONFIG = stacks.serving(
    {"m": {}}, replicas=1, redis={"kind": "none"}, database={"existingSecret": "pg", "migrationSecret": "owner"}
)


@dataclass
class Migrated:
    """A database after the Job, and what the Job said."""

    postgres: database.Postgres
    views_before: str
    said: str

    @property
    def serving_url(self) -> str:
        """For the role that serves."""
        return self.postgres.url.replace("postgres@", "serving@")


def run_views(url: str) -> subprocess.CompletedProcess[str]:
    """The second half of the Job's script, with the Job's environment and nothing else but this machine's paths."""
    done = stack(CONFIG)
    job = done.object("Job", "litellm-migration")
    script = next(found["data"] for found in done.objects("ConfigMap") if "gateway_migrate.py" in found["data"])
    values = environment(container_of(job))
    assert values.pop("DATABASE_URL") == "secret:owner/database-url"
    folder = database.PLACE / "job"
    folder.mkdir(exist_ok=True)
    file, text = folder / "gateway_migrate.py", script["gateway_migrate.py"]
    if not file.exists() or file.read_text("utf-8") != text:
        file.write_text(text, encoding="utf-8")
    words = [
        str(VENV / "bin" / "python"),
        "-c",
        "import gateway_migrate as job; job.tables = lambda: 0; exit(job.main())",
    ]
    more = {name: value.replace("/tmp", str(folder)) for name, value in values.items()}
    return subprocess.run(
        words, cwd=folder, env={**more, **database.environment(url)}, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def migrated() -> Iterator[Migrated]:
    """Tables, a role that may use them, and the Job."""
    postgres = database.Postgres()
    try:
        postgres.create()
        postgres.sql(SERVING)
        before = postgres.sql(VIEWS)
        done = run_views(postgres.url)
        assert done.returncode == 0, done.stderr
        yield Migrated(postgres, before, done.stderr)
    finally:
        postgres.close()


@pytest.fixture(scope="module")
def gateway(all_fakes: Fakes, migrated: Migrated) -> Iterator[Proxy]:
    """A proxy whose role may not change the schema."""
    addresses = stacks.addresses(CONFIG, all_fakes, None)
    keys = {**stacks.KEYS, "database-url": migrated.serving_url}
    found = proxy(rendered(CONFIG), keys, addresses, database.environment(migrated.serving_url))
    try:
        start(found)
        yield found
    finally:
        found.stop()


def test_the_job_makes_the_views(migrated: Migrated):
    """All that LiteLLM makes in a proxy that starts on an empty database; a second run changes nothing."""
    assert (migrated.views_before, migrated.postgres.sql(VIEWS)) == ("0", "8")
    assert run_views(migrated.postgres.url).returncode == 0
    assert migrated.postgres.sql(VIEWS) == "8"


def test_a_job_that_may_not_make_them_fails_and_says_so(migrated: Migrated):
    """With the serving role, or with a database that is not there; the password is not in what it says."""
    migrated.postgres.sql('DROP VIEW "DailyTagSpend"')
    with ThreadPoolExecutor(2) as pool:
        done, nobody = pool.map(run_views, [migrated.serving_url, NOBODYS_URL])
    assert run_views(migrated.postgres.url).returncode == 0
    assert (done.returncode, "permission denied for schema public" in done.stderr) == (3, True)
    assert (nobody.returncode, "marker-password" in nobody.stderr + nobody.stdout) == (3, False)


def test_the_serving_role_may_not_change_the_schema(migrated: Migrated):
    """Or the next test would prove nothing."""
    with pytest.raises(AssertionError, match="permission denied for schema public"):
        migrated.postgres.sql("SET ROLE serving; CREATE TABLE mine (id int)")


def test_a_proxy_without_rights_on_the_schema_serves(gateway: Proxy, migrated: Migrated):
    """It starts, makes keys, lets them in, writes down what they used, and complains of nothing."""
    made = request(gateway.url, "/key/generate", {"key_alias": "app", "models": ["m"]}, stacks.MASTER)
    key = made.json["key"]
    assert chat(gateway.url, "m", key).status == 200
    assert chat(gateway.url, "m", "sk-made-up").status == 401
    wait_for(
        lambda: migrated.postgres.sql('SELECT count(*) FROM "LiteLLM_SpendLogs"') != "0", 90, "use is written down"
    )
    assert "permission denied" not in gateway.log
    assert migrated.postgres.sql(VIEWS) == "8"


def test_an_ordinary_key_infers_and_nothing_else(gateway: Proxy):
    """Keys, itself included, budgets, models and metrics are the master key's; from inside the cluster too."""
    key = request(gateway.url, "/key/generate", {"key_alias": "other"}, stacks.MASTER).json["key"]
    for path in (
        "/key/info",
        "/key/list",
        "/model/info",
        "/v1/model/info",
        "/user/info",
        "/metrics/",
        "/v1/files",
        "/health",
    ):
        assert [request(gateway.url, path, None, who).status for who in (None, key)] == [404, 404], path
    assert request(gateway.url, "/key/generate", {}, key).status == 404
    assert request(gateway.url, "/key/list", None, stacks.MASTER).status == 200
