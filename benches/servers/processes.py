"""Starts servers, pins them, reads what CPU they use, and ends them."""

import contextlib
import os
import shutil
import socket
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")


class Failure(Exception):
    """What went wrong, in words for people."""


class Cores:
    """One core for servers and one for the client, where there are two and `taskset` can pin."""

    def __init__(self):
        cores = sorted(os.sched_getaffinity(0))
        self.pinned = len(cores) > 1 and shutil.which("taskset") is not None
        self.server, self.client = cores[:2] if self.pinned else (None, None)

    def on_server(self, command):
        return self._on(self.server, command)

    def on_client(self, command):
        return self._on(self.client, command)

    def _on(self, core, command):
        return ["taskset", "--cpu-list", str(core), *command] if self.pinned else list(command)

    def __str__(self):
        if self.pinned:
            return f"servers are pinned to core {self.server}, wrk to core {self.client}"
        return "nothing is pinned: that takes two cores and taskset"


class Server:
    """A process that serves on loopback. It is ended, and waited for, when the stack unwinds."""

    def __init__(self, name, command, stack, folder, cores, env=None):
        self.name = name
        self._log = os.path.join(folder, f"{name}.log")
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                cores.on_server(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=folder,
                env={**os.environ, **(env or {})},
                text=True,
            )
        stack.callback(self._end)

    def line(self):
        """The next line that the server prints."""
        return self._process.stdout.readline().rstrip("\n") or self._fail("has not started")

    def wait_for(self, port):
        """Until the server takes connections."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            time.sleep(0.05)
        self._fail("takes no connections")

    def cpu(self):
        """Seconds of CPU so far, of the process and of those that it has waited for."""
        try:
            with open(f"/proc/{self._process.pid}/stat", encoding="ascii") as stat:
                fields = stat.read().rpartition(")")[2].split()
        except FileNotFoundError:
            self._fail("has ended")
        # utime, stime, cutime and cstime are the fields 14 to 17; two fields come before the split.
        return sum(int(field) for field in fields[11:15]) / TICKS

    def _fail(self, what):
        with open(self._log, encoding="utf-8", errors="replace") as log:
            raise Failure(f"{self.name} {what}\n{log.read()[-2000:]}".rstrip())

    def _end(self):
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def free_port():
    """A free port, for a server that does not print its port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
