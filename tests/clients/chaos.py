#!/usr/bin/env python3
"""Ends processes of `examples/queue`, and the engine behind them, at random, and counts what became of the jobs.

    python3 tests/clients/chaos.py target/debug/examples/queue --engine sqlite

Jobs are sent to two processes that listen, and are run by three that work. Meanwhile one of these is killed or frozen,
the server is killed, stopped at once or frozen, and connections to it are cut. With SQLite a process that listens has
a disk that is full. Then every job that was acknowledged has to be there, and has to end.

A second run, where nothing is ended, has 8 workers in 4 processes: each job has to run once.

`CHAOS_JOBS` (150) and `CONTENTION_JOBS` (500) are the numbers of jobs, and `CHAOS_SEED` repeats the choices. Prints a row
of each table of `benches/RESULTS.md`. The status is 1 if a job was lost, did not end, or ran twice without a reason.
"""

import collections
import hashlib
import http.client
import os
import random
import signal
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import engines
from engines import Proxy, Site, at, limit_files, wait_until

JOBS = int(os.environ.get("CHAOS_JOBS", "150"))
CONTENTION_JOBS = int(os.environ.get("CONTENTION_JOBS", "500"))
SEED = int(os.environ.get("CHAOS_SEED") or random.randrange(1_000_000))
# An orphan is picked up in this time. Where the server was away in it, that is what would be measured.
PICK_UP = 6




def derived(key):
    """The id of the job of an anonymous sender under this key."""
    parts = [b"", b"slow", key.encode()]
    text = b"tower-webhook job 1\0" + b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return hashlib.sha256(text).hexdigest()[:32]


class Storm:
    """A site, and what happens to its processes and its server."""

    def __init__(self, site):
        self.site, self.random = site, random.Random(SEED)
        self.proxy = Proxy(site.server.port) if site.server else None
        self.killed, self.outages, self.actions = [], [], collections.Counter()
        self.fronts = [self.front(index) for index in range(2)]
        self.workers = [self.worker(index) for index in range(3)]

    def start(self, index, *arguments, **options):
        # Every other process is behind the proxy.
        address = self.site.server.address(self.site.queue, self.proxy.port) if self.proxy and index % 2 else None
        return self.site.start(*arguments, address=address, **options)

    def front(self, index):
        has_full_disk = self.site.engine == "sqlite" and index % 2
        return self.start(index, "--workers", "0", **(limit_files(300_000) if has_full_disk else {}))

    def worker(self, index):
        return self.start(index, "--worker")

    def kill_worker(self):
        index = self.random.randrange(len(self.workers))
        worker = self.workers[index]
        worker.kill()
        self.killed.append((worker.process.pid, time.time()))
        self.workers[index] = self.worker(index)

    def kill_front(self):
        index = self.random.randrange(len(self.fronts))
        self.fronts[index].kill()
        self.fronts[index] = self.front(index)

    def freeze_worker(self):
        process = self.random.choice(self.workers).process
        process.send_signal(signal.SIGSTOP)
        time.sleep(3)
        process.send_signal(signal.SIGCONT)

    def kill_server(self):
        self.outage(self.site.server.kill, self.site.server.start)

    def stop_server(self):
        self.outage(self.site.server.stop, self.site.server.start)

    def freeze_server(self):
        self.outage(self.site.server.freeze, self.site.server.thaw)

    def cut_connections(self):
        self.outage(self.proxy.cut, self.proxy.cut)

    def outage(self, begin, end):
        start = time.time()
        begin()
        time.sleep(self.random.uniform(0.5, 3))
        end()
        self.outages.append((start, time.time()))

    def rage(self, seconds):
        """Each action once, in any order, and again. In the first half of the time the server is left alone."""
        processes = [self.kill_worker, self.kill_worker, self.kill_front, self.freeze_worker]
        servers = [self.kill_server, self.stop_server, self.freeze_server, self.cut_connections]
        start = time.monotonic()
        for length, actions in ((0.5, processes), (1, processes + servers if self.site.server else processes)):
            turn = []
            while time.monotonic() < start + length * seconds:
                turn = turn or self.random.sample(actions, len(actions))
                action = turn.pop()
                self.actions[action.__name__] += 1
                action()
                time.sleep(self.random.uniform(0.3, 1.5))

    def pick_ups(self, events):
        """How long orphans waited for another worker while the server was there."""
        waits = []
        for process, died in self.killed:
            if any(start < died + PICK_UP and died < end + 1 for start, end in self.outages):
                continue
            for event in events:
                if event["event"] != "begin" or event["process"] != process:
                    continue
                its = [other for other in events if other["id"] == event["id"]]
                if any(other["event"] == "end" and other["process"] == process for other in its):
                    continue
                later = [at(other["at"]) for other in its if other["event"] == "begin" and at(other["at"]) > died]
                waits += [min(later) - died] if later else []
        return sorted(waits)


def send(storm, index, acknowledged, refused):
    """Sends a job. Under a key it is sent until it is acknowledged; without one a repetition would be another job."""
    choice = random.Random(SEED + index)
    job = {"ms": choice.choice([0, 20, 100, 1000, 2000, 3000]), "padding": "x" * choice.randrange(2000)}
    key = f"job-{index}" if index % 2 else None
    while True:
        try:
            answer = choice.choice(storm.fronts).slow(key=key, **job)
            status = answer.status
        except (OSError, http.client.HTTPException):
            status = "no answer"
        if status in (200, 202):
            acknowledged.append(derived(key) if key else answer.json()["id"])
            return
        refused.append(status)
        if key is None:
            return
        time.sleep(0.3)


def chaos(site):
    """Returns a row, and whether it is good."""
    storm = Storm(site)
    seconds = max(25, JOBS / 20)
    acknowledged, refused, start = [], [], time.monotonic()

    def send_in_time(index):
        time.sleep(max(0, start + index * seconds / JOBS - time.monotonic()))
        send(storm, index, acknowledged, refused)

    with ThreadPoolExecutor(17) as pool:
        rage = pool.submit(storm.rage, seconds)
        sent = [pool.submit(send_in_time, index) for index in range(JOBS)]
        for each in [rage, *sent]:
            each.result()

    front = storm.fronts[0]
    ends, dead = collections.Counter(), []
    deadline = time.monotonic() + 60
    for job in acknowledged:
        shown = wait_until(lambda: (answer := front.execution(job)).status == 200 and answer, 10)
        if not shown:
            ends["lost"] += 1
            print(f"LOST {job}: {front.execution(job)}")
            continue
        state = front.ends(job, max(0, deadline - time.monotonic())).get("state")
        ends[state] += 1
        if state == "dead":
            dead.append(job)
        if state not in ("succeeded", "dead"):
            print(f"OPEN {job}: {front.execution(job)}")
    events = site.events()
    begun = collections.Counter(event["id"] for event in events if event["event"] == "begin")
    ended = collections.Counter(event["id"] for event in events if event["event"] == "end")
    for job in dead:
        print(f"  dead: {job}, begun {begun[job]} times: {front.execution(job).json().get('error')}")
    missing = [job for job in acknowledged if not ended[job]]
    print(f"  {dict(storm.actions)}, refused: {dict(collections.Counter(refused))}, ends: {dict(ends)}")
    waits = storm.pick_ups(events)
    shown = f"{statistics.median(waits):.1f} / {waits[-1]:.1f} s" if waits else "none"
    twice = [sum(count > 1 for count in counts.values()) for counts in (begun, ended)]
    open_jobs = len(acknowledged) - ends["succeeded"] - ends["dead"] - ends["lost"]
    row = [len(acknowledged), len(refused), ends["lost"], open_jobs, ends["dead"], len(waits), shown, *twice]
    return row, acknowledged and ends["lost"] == open_jobs == 0 and len(missing) <= ends["dead"]


def contention(site):
    """Returns a row, and whether it is good."""
    fronts = [site.start("--workers", "2") for _ in range(4)]
    start = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda index: fronts[index % 4].slow(ms=index % 20), range(CONTENTION_JOBS)))
    stored = time.monotonic() - start
    jobs = {answer.json()["id"] for answer in answers if answer.status == 202}
    wait_until(lambda: len(site.events(event="end")) >= len(jobs), 120, 0.5)
    done = time.monotonic() - start
    begun = collections.Counter(event["id"] for event in site.events(event="begin"))
    processes = {event["process"] for event in site.events()}
    states = collections.Counter(fronts[0].ends(job, 5)["state"] for job in jobs)
    twice = sum(count > 1 for count in begun.values())
    row = [CONTENTION_JOBS, len(jobs), states["succeeded"], twice, len(processes), f"{len(jobs) / stored:.0f}/s",
           f"{len(jobs) / done:.0f}/s"]
    good = len(jobs) == states["succeeded"] == CONTENTION_JOBS and begun.keys() == jobs and not twice
    return row, good


COLUMNS = {
    chaos: ["engine", "acknowledged", "not acknowledged", "lost", "open", "dead", "orphans", "picked up, median / longest",
            "begun twice", "ended twice"],
    contention: ["engine", "sent", "acknowledged", "succeeded", "begun twice", "processes that worked", "stored", "done"],
}


def main():
    arguments = sys.argv[1:]
    if len(arguments) != 3 or arguments[1] != "--engine" or arguments[2] not in engines.NAMES:
        sys.exit(f"usage: chaos.py PROGRAM --engine {'|'.join(engines.NAMES)}")
    program, engine = arguments[0], arguments[2]
    print(f"{engine}, CHAOS_SEED={SEED}", flush=True)
    is_good = True
    for run, columns in COLUMNS.items():
        site = Site(program, engine)
        try:
            row, good = run(site)
            if not good:
                print(site.errors()[-3000:])
        finally:
            site.close()
        is_good = is_good and good
        print(f"{run.__name__}: {'good' if good else 'BAD'}")
        for cells in (columns, ["---"] * len(columns), [engine, *row]):
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
    sys.exit(not is_good)


if __name__ == "__main__":
    main()
