"""A Redis as companies run it: TLS of their own authority, users, a replica, and Sentinels with a password."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import trustme

from tests.gateway.fake_vllm import LOOPBACK, wait_for
from tests.gateway.proxies import free_port

HOST, MASTER = "localhost", "mymaster"
USER, PASSWORD, SENTINEL_PASSWORD = "gateway", "user-test-password", "sentinel-test-password"
# Of the user without a name, by which replicas and Sentinels come in.
DEFAULT_PASSWORD = "default-test-password"
# A master that is silent for so long is replaced.
DOWN_MS = 1500


class SecuredRedis:
    """A master, its replica and three Sentinels; `authority` is the file of who signed their certificates."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gateway-redis-"))
        self.authority = self.folder / "ca.crt"
        self.master, self.replica = free_port(), free_port()
        self.sentinels = [free_port() for _ in range(3)]
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Starts all, and waits until the Sentinels know the master and its replica."""
        ca = trustme.CA()
        ca.cert_pem.write_to_path(self.authority)
        issued = ca.issue_cert(HOST, LOOPBACK)
        issued.private_key_pem.write_to_path(self.folder / "key.pem")
        issued.cert_chain_pems[0].write_to_path(self.folder / "cert.pem")
        users = f"user default on >{DEFAULT_PASSWORD} ~* &* +@all\nuser {USER} on >{PASSWORD} ~* &* +@all\n"
        (self.folder / "users.acl").write_text(users, "utf-8")
        own = [f"aclfile {self.folder / 'users.acl'}", f"masterauth {DEFAULT_PASSWORD}", 'save ""']
        self._launch(self.master, own)
        wait_for(lambda: "PONG" in self.ask(self.master, "PING"), 20, "the master answers")
        self._launch(self.replica, [*own, f"replicaof {LOOPBACK} {self.master}"])
        watched = [
            f"sentinel monitor {MASTER} {LOOPBACK} {self.master} 2",
            f"sentinel auth-pass {MASTER} {DEFAULT_PASSWORD}",
            f"sentinel down-after-milliseconds {MASTER} {DOWN_MS}",
            f"sentinel failover-timeout {MASTER} 5000",
            f"requirepass {SENTINEL_PASSWORD}",
            f"sentinel sentinel-pass {SENTINEL_PASSWORD}",
        ]
        for port in self.sentinels:
            self._launch(port, watched, "--sentinel")
        for port in self.sentinels:
            wait_for(lambda port=port: self._knows_all(port), 30, "a Sentinel knows the replica and the others")

    def _launch(self, port: int, lines: list[str], *words: str) -> None:
        folder = self.folder / str(port)
        folder.mkdir()
        config = folder / "redis.conf"
        tls = [f"tls-port {port}", "tls-auth-clients no", "tls-replication yes", f"tls-ca-cert-file {self.authority}"]
        tls += [f"tls-cert-file {self.folder / 'cert.pem'}", f"tls-key-file {self.folder / 'key.pem'}"]
        config.write_text("\n".join(["port 0", f"bind {LOOPBACK}", f"dir {folder}", *tls, *lines, ""]), "utf-8")
        self._processes[port] = subprocess.Popen(
            ["redis-server", str(config), *words], stdout=subprocess.DEVNULL, start_new_session=True
        )

    def ask(self, port: int, *words: str) -> str:
        """The answer of one of them to a command; nothing where nobody listens."""
        password = SENTINEL_PASSWORD if port in self.sentinels else DEFAULT_PASSWORD
        call = ["redis-cli", "--tls", "--cacert", str(self.authority), "-h", LOOPBACK, "-p", str(port)]
        done = subprocess.run(
            [*call, "--no-auth-warning", "-a", password, *words], check=False, capture_output=True, text=True
        )
        return done.stdout

    def _knows_all(self, port: int) -> bool:
        said = self.ask(port, "SENTINEL", "MASTER", MASTER).split("\n")
        facts = dict(zip(said[::2], said[1::2], strict=False))
        return (facts.get("num-slaves"), facts.get("num-other-sentinels")) == ("1", "2")

    def kill_master(self) -> None:
        """Ends it at once, and waits until the replica is the master."""
        self._processes[self.master].kill()
        wait_for(lambda: "role:master" in self.ask(self.replica, "INFO", "replication"), 60, "the replica is master")

    def close(self) -> None:
        """Ends all, and removes their files."""
        for process in self._processes.values():
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
