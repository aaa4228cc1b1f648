"""Two endpoints in turns under `wrk`, and the ratios of the pairs."""

import re
import statistics
import subprocess
from dataclasses import asdict, dataclass

from processes import Failure, Server


@dataclass(frozen=True)
class Endpoint:
    """What is requested of a server, and whether it accepts."""

    name: str
    server: Server
    url: str
    key: str
    accepts: bool


@dataclass(frozen=True)
class Run:
    """One run of wrk: microseconds of server CPU per request, and requests per second."""

    cpu: float
    rate: float


@dataclass(frozen=True)
class Spread:
    low: float
    median: float
    high: float

    @classmethod
    def of(cls, figures):
        return cls(*statistics.quantiles(figures, n=4, method="inclusive"))


@dataclass(frozen=True)
class Result:
    """Medians of both endpoints, and the ratios: the first divided by the second."""

    name: str
    endpoints: tuple[str, str]
    cpu: tuple[float, float]
    rate: tuple[float, float]
    cpu_ratio: Spread
    rate_ratio: Spread

    def as_json(self):
        return asdict(self)


class Wrk:
    def __init__(self, cores, connections, seconds):
        self._cores = cores
        self._connections = connections
        self._seconds = seconds

    def run(self, endpoint, seconds=None):
        seconds = seconds or self._seconds
        command = ["wrk", "-t1", f"-c{self._connections}", f"-d{seconds}s"]
        command += ["-H", f"x-api-key: {endpoint.key}", endpoint.url]
        before = endpoint.server.cpu()
        done = subprocess.run(
            self._cores.on_client(command), capture_output=True, text=True, timeout=seconds + 30
        )
        cpu = endpoint.server.cpu() - before
        if done.returncode != 0:
            raise Failure(f"wrk on {endpoint.name}: {done.stderr.strip() or done.stdout.strip()}")
        requests = self._requests(endpoint, done.stdout)
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)[1])
        return Run(cpu * 1e6 / requests, rate)

    @staticmethod
    def _requests(endpoint, output):
        """How many requests there were, if all of them were answered as they should be."""
        requests = int(re.search(r"(\d+) requests in", output)[1])
        refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
        refused = int(refused[1]) if refused else 0
        if "Socket errors" in output or requests == 0:
            raise Failure(f"{endpoint.name} has not answered everything:\n{output}")
        if refused != (0 if endpoint.accepts else requests):
            raise Failure(f"{endpoint.name} has refused {refused} of {requests} requests")
        return requests


def compare(name, first, second, wrk, rounds):
    """Rounds in the order first, second, second, first, so that a drift falls on both."""
    wrk.run(first, seconds=1)
    wrk.run(second, seconds=1)
    pairs = []
    for _ in range(rounds):
        runs = [wrk.run(endpoint) for endpoint in (first, second, second, first)]
        pairs += [(runs[0], runs[1]), (runs[3], runs[2])]
    medians = lambda figure: tuple(statistics.median(map(figure, side)) for side in zip(*pairs))
    ratios = lambda figure: Spread.of([figure(one) / figure(other) for one, other in pairs])
    return Result(
        name,
        (first.name, second.name),
        medians(lambda run: run.cpu),
        medians(lambda run: run.rate),
        ratios(lambda run: run.cpu),
        ratios(lambda run: run.rate),
    )
