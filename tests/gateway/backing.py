"""A real Redis on loopback; it ends with the tests."""

import signal
import subprocess

from tests.gateway.fake_vllm import LOOPBACK, wait_for
from tests.gateway.proxies import free_port, listens


class Redis:
    """A Redis with a password."""

    def __init__(self, password: str) -> None:
        self.port = free_port()
        self.password = password
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts, and waits until it listens."""
        words = f"--port {self.port} --bind {LOOPBACK} --save --appendonly no --requirepass {self.password}".split()
        words.insert(words.index("--save") + 1, "")
        self._process = subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL, start_new_session=True)
        wait_for(lambda: listens(self.port), 20, "redis-server listens")

    def freeze(self) -> None:
        """As a node that died: connections stay, nothing is answered."""
        assert self._process is not None, "it runs"
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on, if it runs."""
        if self._process:
            self._process.send_signal(signal.SIGCONT)

    def command(self, *words: str) -> str:
        """What `redis-cli` answers to a command."""
        call = ["redis-cli", "-p", str(self.port), "--no-auth-warning", "-a", self.password, *words]
        return subprocess.run(call, check=True, capture_output=True, text=True).stdout

    def stop(self) -> None:
        """Ends it at once."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None
