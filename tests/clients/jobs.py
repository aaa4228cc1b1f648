#!/usr/bin/env python3
"""Plays requests against processes of `examples/queue` from outside, ends some of them, and compares the answers.

    python3 tests/clients/jobs.py target/debug/examples/queue --engine sqlite

starts the programs, and a server of the engine (`sqlite`, `postgres` or `nats`, see `engines.py`), on free ports of the
loopback interface, prints one line for each failure, and ends with the count.
"""

import http.client
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import engines
from engines import Site, at, limit_files, wait_until

FAILURES = []
COUNT = 0
LOCK = threading.Lock()
MEMBERS = ["id", "hook", "state", "attempts", "created_at", "started_at", "ended_at", "outcome", "error"]
UNKNOWN = "0" * 32


def check(name, condition, shown=""):
    global COUNT
    with LOCK:
        COUNT += 1
        if not condition:
            FAILURES.append(name)
            print(f"FAILED {name}: {str(shown)[:600]}", flush=True)


def ended_within(program, seconds):
    """How long a process took to end after SIGTERM, and its status."""
    start = time.monotonic()
    program.terminate()
    try:
        status = program.process.wait(seconds)
    except subprocess.TimeoutExpired:
        status = None
    return time.monotonic() - start, status


# QX1

def command_line(site):
    server = site.start()
    check("the ready line", server.ready == f"listening on http://127.0.0.1:{server.port}", server.ready)
    run = lambda *arguments: subprocess.run([site.program, *arguments], capture_output=True, timeout=20, text=True,
                                            cwd=site.folder)
    usage = run("--help")
    for option in ["--data", "--engine", "--listen", "--worker", "--workers"]:
        check(f"--help {option}", usage.returncode == 0 and option in usage.stdout, usage)
    for arguments in [["--unknown"], ["--engine", "mysql://user:secret@a/b"], ["--engine", "sqlite:"],
                      ["--listen", f"127.0.0.1:{server.port}"], ["--listen", "nowhere"], ["--workers", "many"],
                      ["--workers", "256"], ["--workers", ""], ["--data", ""], ["--engine", "foo"], ["extra"],
                      ["--worker", "--workers", "0"], ["--engine", "sqlite:/no/such/folder/file"], ["--data"]]:
        ended = run(*arguments)
        check(f"refused: {arguments}", ended.returncode not in (0, 101) and ended.stderr.startswith("queue: ")
              and not ended.stdout and "secret" not in ended.stderr, ended)
    worker = site.start("--worker")
    check("the ready line of a worker", worker.ready == "working", worker.ready)
    check("a worker does not listen", not listens(worker.process.pid), worker.process.pid)


def listens(process):
    sockets = {os.readlink(f"/proc/{process}/fd/{fd}") for fd in os.listdir(f"/proc/{process}/fd")}
    for table in ("tcp", "tcp6"):
        with open(f"/proc/{process}/net/{table}") as lines:
            for fields in map(str.split, list(lines)[1:]):
                if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                    return True
    return False


def listens_and_works(site):
    front = site.start("--workers", "0")
    stored = front.slow(ms=100)
    job = stored.json()["id"]
    time.sleep(1)
    check("a process with no worker stores alone", front.state(job) == "queued" and not site.events(), front.state(job))
    worker = site.start("--worker")
    check("another process works", front.ends(job, 10)["state"] == "succeeded", front.execution(job))
    seconds, status = ended_within(worker, 10)
    check("SIGTERM of an idle worker", status == 0 and seconds < 5, (seconds, status))
    seconds, status = ended_within(front, 10)
    check("SIGTERM of a process that listens", status == 0 and seconds < 5, (seconds, status))


def stop_waits_for_jobs(site):
    front = site.start("--workers", "0")
    worker = site.start("--worker")
    job = front.slow(ms=3000).json()["id"]
    wait_until(lambda: site.events(job), 10)
    seconds, status = ended_within(worker, 20)
    check("SIGTERM waits for a job of 3 s", status == 0 and 1.5 < seconds < 5.5, (seconds, status))
    shown = front.execution(job).json()
    check("and the job has ended", (shown["state"], shown["attempts"]) == ("succeeded", 1), shown)


def stop_answers_requests(site):
    """A process that listens and works: a sender that waits has its answer, and a long job is given back."""
    server = site.start()
    long = server.slow(ms=60_000).json()["id"]
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(server.wait, ms=1000)
        wait_until(lambda: len(site.events(event="begin")) == 2, 10)
        seconds, status = ended_within(server, 20)
        check("SIGTERM ends it after 5 s", status == 0 and 4.5 < seconds < 8, (seconds, status))
        check("who waits is answered", waits.result().status in (200, 202), waits.result())
    shown = site.start("--workers", "0").execution(long).json()
    check("the long job waits", (shown["state"], shown["attempts"]) == ("queued", 0), shown)


def stop_at_the_ready_line(site):
    """A signal that comes at once reaches the server and its workers."""
    for _ in range(15):
        seconds, status = ended_within(site.start("--workers", "4"), 20)
        check("SIGTERM at the ready line ends it", status == 0 and seconds < 8, (seconds, status))


def stop_gives_jobs_back(site):
    front = site.start("--workers", "0")
    worker = site.start("--worker")
    job = front.slow(ms=60_000).json()["id"]
    wait_until(lambda: site.events(job), 10)
    seconds, status = ended_within(worker, 20)
    check("SIGTERM waits for 5 s", status == 0 and 4.5 < seconds < 8, (seconds, status))
    shown = front.execution(job).json()
    check("the attempt does not count", (shown["state"], shown["attempts"]) == ("queued", 0), shown)
    site.start("--worker")
    wait_until(lambda: front.state(job) == "running", 3)
    check("another worker has the job at once", front.execution(job).json()["attempts"] == 1, front.execution(job))
    # A job that runs is neither removed nor repeated.
    for method, path in (("DELETE", ""), ("POST", "/retry")):
        answer = front.call(method, f"/executions/{job}{path}")
        check(f"{method} of a job that runs", answer.status == 409, answer)


def many_processes(site):
    with ThreadPoolExecutor(6) as pool:
        programs = list(pool.map(lambda _: site.start("--workers", "2"), range(6)))
        check("six processes start at the same moment", len(programs) == 6)
        send = lambda index: programs[index % 6].slow(ms=index % 50)
        answers = list(pool.map(send, range(120)))
    check("all of them take jobs", [answer.status for answer in answers] == [202] * 120)
    jobs = {answer.json()["id"] for answer in answers}
    check("each job is another one", len(jobs) == 120, len(jobs))
    states = [programs[0].ends(job, 20)["state"] for job in jobs]
    check("all jobs succeed", states == ["succeeded"] * 120, states)
    begun = [event["id"] for event in site.events(event="begin")]
    check("each job runs once", sorted(begun) == sorted(jobs), len(begun))


# QX2, QX3, QX6

def one_job(site):
    server = site.start()
    before = time.time()
    stored = server.slow(ms=300)
    job = stored.json().get("id", "")
    check("202", stored.status == 202 and stored.json() == {"id": job, "state": "queued"}, stored)
    check("the id has 128 bits", len(job) == 32 and int(job, 16) >= 0, job)
    check("Location", stored.headers["Location"] == f"/executions/{job}", stored)
    shown = wait_until(lambda: server.state(job) == "running", 3) and server.execution(job).json()
    check("running", shown and shown["attempts"] == 1 and shown["started_at"] and not shown["ended_at"], shown)
    shown = server.ends(job, 10)
    check("its members", list(shown) == MEMBERS, shown)
    check("succeeded", (shown["state"], shown["hook"], shown["attempts"], shown["error"]) == ("succeeded", "slow", 1, None)
          and shown["outcome"] is not None, shown)
    times = [at(shown[name]) for name in ("created_at", "started_at", "ended_at")]
    check("its times", times == sorted(times) and abs(times[0] - before) < 2 and 0.29 < times[2] - times[1] < 2, shown)
    instant = server.slow().json()["id"]
    check("the default is 0 ms", server.ends(instant, 10)["state"] == "succeeded", instant)

    for path in (UNKNOWN, "x", job.upper() if job.upper() != job else job + "0", f"{job}/other"):
        check(f"unknown: {path}", server.execution(path).status == 404, server.execution(path))
    check("retry of an unknown job", server.call("POST", f"/executions/{UNKNOWN}/retry").status == 404)
    check("retry of a job that is not dead", server.call("POST", f"/executions/{job}/retry").status == 409)
    listed = server.call("GET", "/executions?state=succeeded&limit=1").json()
    check("the list", [each["id"] for each in listed["executions"]] == [instant] and listed["next"], listed)
    listed = server.call("GET", f"/executions?state=succeeded&after={listed['next']}").json()
    check("the next page", [each["id"] for each in listed["executions"]] == [job] and not listed["next"], listed)
    check("removed", server.call("DELETE", f"/executions/{job}").status == 204, job)
    check("gone", server.execution(job).status == 404, server.execution(job))


def is_problem(answer, status, code):
    return (answer.status, answer.json().get("status"), answer.json().get("code")) == (status, status, code) \
        and answer.headers["Content-Type"] == "application/problem+json"


def strange_requests(site):
    server = site.start("--workers", "0")

    def send(method, path, body=b"", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return engines.Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    json_type = {"content_type": "application/json"}
    for hook in ("slow", "wait"):
        for body in ("", "[]", "[1,true,true]", "1", '"x"', "null", "true", '{"ms":"1"}', '{"ms":-1}', '{"ms":1.5}', '{"ms":1e9}',
                     '{"ms":600001}', '{"ms":99999999999999999999}', '{"ms":null}', '{"fail":"yes"}', '{"fail":1}', '{"abort":"no"}'):
            answer = send("POST", f"/hook/{hook}", body, **json_type)
            check(f"{hook}: no job: {body}", is_problem(answer, 422, "invalid") and answer.json()["detail"], answer)
        check(f"{hook}: no body at all", is_problem(send("POST", f"/hook/{hook}"), 422, "invalid"))
        for body in ("{", '{"ms":1', "x", " ", '{"ms":1}x', '{"ms":1,"ms":1}', '{"a":' + "[" * 200 + "]" * 200 + "}", b'{"a":"\xff"}'):
            answer = send("POST", f"/hook/{hook}", body, **json_type)
            check(f"{hook}: no JSON: {body[:20]}", is_problem(answer, 400, "malformed_body"), answer)
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/octet-stream", "application/xml",
                 "application/x-ndjson", "application/json; charset=utf-16"):
        answer = send("POST", "/hook/slow", '{"ms":1}', content_type=kind)
        check(f"{kind}", is_problem(answer, 415, "unsupported_media_type"), answer)
    # Declared and not sent: it is refused before it comes.
    answer = send("POST", "/hook/slow", None, content_length=str(1024 * 1024 + 1), **json_type)
    check("more than 1 MiB", is_problem(answer, 413, "content_too_large"), answer)
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"):
        answer = send(method, "/hook/slow")
        check(f"{method} of a hook", answer.status == 405 and answer.headers["Allow"] == "POST", answer)
    for path in ("/hook/other", "/hook/", "/hook", "/hook/slow/", "/hook/../hook/slow", "/hook/%73low", "/Hook/slow", "/"):
        check(f"no hook: {path}", is_problem(send("POST", path, "{}", **json_type), 404, "not_found"), path)
    check("nothing of that is stored", server.call("GET", "/executions").json() == {"executions": [], "next": None})

    for body in ("{}", ' {"ms":0}', '{"a":"' + "x" * 200_000 + '"}', '{"unknown":[1],"Ms":"x"}', '{"a":' + "[" * 127 + "]" * 127 + "}"):
        answer = send("POST", "/hook/slow", body, **json_type)
        check(f"a job: {body[:20]}", answer.status == 202, answer)
    answer = send("POST", "/hook/slow", "{}", content_type="application/cloudevents+json")
    check("a job of a type that ends in +json", answer.status == 202, answer)
    job = answer.json()["id"]

    for path in (UNKNOWN, "x", "0", job[:-1], job + "0", job.upper() if job.upper() != job else "X" * 32, f"0x{job}", f"%20{job}",
                 "..", ".", "%00", "..%2f" + job, f"../executions/{job}", f"{job}/", f"{job}/other", f"{job}/retry/x"):
        check(f"unknown: {path}", is_problem(send("GET", f"/executions/{path}"), 404, "not_found"), path)
    check("HEAD", (lambda head: (head.status, head.body) == (200, b""))(send("HEAD", f"/executions/{job}")))
    check("retry of an unknown job", is_problem(send("POST", f"/executions/{UNKNOWN}/retry"), 404, "not_found"))
    check("retry of a job that waits", is_problem(send("POST", f"/executions/{job}/retry"), 409, "conflict"))
    for method, path, allow in (("PUT", f"/{job}", "GET, HEAD, DELETE"), ("POST", "", "GET, HEAD"), ("GET", f"/{job}/retry", "POST")):
        answer = send(method, f"/executions{path}")
        check(f"{method} {path}", answer.status == 405 and answer.headers["Allow"] == allow, answer)
    for query in ("limit=0", "limit=201", "limit=x", "limit=", "state=Dead", "state=dead&state=dead", "after=x", f"after=-1.{job}",
                  f"after=-99999999999999999999.{job}", f"after=1.{job}x"):
        answer = send("GET", f"/executions?{query}")
        check(f"list: {query}", is_problem(answer, 422, "invalid") and answer.json()["errors"], answer)
    answer = send("GET", f"/executions?after=18446744073709551615.{job}&limit=200&hook=slow&unknown=1")
    check("list: from the end of time", len(answer.json()["executions"]) == 6, answer)


def other_versions(site):
    """What a job of a later version and damaged ones do to a worker, and it to them."""
    if site.engine != "sqlite":
        print(f"  other_versions: not played on {site.engine}, only on sqlite")
        return
    front = site.start("--workers", "0")
    later, damaged, unknown, good = [front.slow(ms=1).json()["id"] for _ in range(4)]
    database = sqlite3.connect(f"{site.folder}/data/queue.db", timeout=20)
    with database:
        for job, change in ((later, """replace(payload, '"v":1', '"v":2')"""), (damaged, "substr(payload, 2)"),
                            (unknown, """replace(payload, '"method":', '"verb":')""")):
            changed = database.execute(f"UPDATE jobs SET payload = {change} WHERE id = ?", (bytes.fromhex(job),)).rowcount
            check("the payload is changed", changed == 1)
    site.start("--worker")
    check("a good job runs", front.ends(good, 10)["state"] == "succeeded", front.execution(good))
    for job in (damaged, unknown):
        shown = front.ends(job, 10)
        check("a damaged job is dead at once", (shown["state"], shown["attempts"]) == ("dead", 1)
              and "malformed" in shown["error"], shown)
    check("the log names the later one", wait_until(lambda: later in site.errors(), 10) and "job_too_new" in site.errors(), site.errors())
    time.sleep(12)
    shown = front.execution(later).json()
    check("it waits, and has all its attempts", (shown["state"], shown["attempts"], shown["error"]) == ("queued", 0, None), shown)
    check("and is not logged each time", site.errors().count("job_too_new") == 1, site.errors())
    with database:
        database.execute("""UPDATE jobs SET payload = replace(payload, '"v":2', '"v":1') WHERE id = ?""", (bytes.fromhex(later),))
    database.close()
    shown = front.ends(later, 20)
    check("a worker that can read it runs it", (shown["state"], shown["attempts"]) == ("succeeded", 1), shown)


def failing_job(site):
    server = site.start()
    job = server.slow(fail=True, ms=50, key="failing").json()["id"]
    wait_until(lambda: len(site.events(job, "end")) == 1 and server.state(job) == "queued", 5)
    shown = server.execution(job).json()
    check("between attempts", (shown["state"], shown["attempts"], shown["ended_at"]) == ("queued", 1, None)
          and shown["error"], shown)
    shown = server.ends(job, 25)
    check("dead", (shown["state"], shown["attempts"], shown["outcome"]) == ("dead", 5, None) and shown["error"], shown)
    begun = [at(event["at"]) for event in site.events(job, "begin")]
    ended = [at(event["at"]) for event in site.events(job, "end")]
    waits = [begin - end for begin, end in zip(begun[1:], ended)]
    expected = [1, 2, 4, 8]
    check("1, 2, 4 and 8 s between attempts", len(waits) == 4
          and all(-0.02 < wait - wanted < 1 for wait, wanted in zip(waits, expected)), waits)
    check("attempts", [event["attempt"] for event in site.events(job, "begin")] == [1, 2, 3, 4, 5], site.events(job))
    listed = server.call("GET", "/executions?state=dead").json()["executions"]
    check("the list of dead jobs", [each["id"] for each in listed] == [job], listed)
    again = server.slow(fail=True, ms=50, key="failing")
    check("the same key after the end", again.status == 502, again)
    time.sleep(1)
    check("a dead job stays dead", len(site.events(job, "begin")) == 5, site.events(job))
    retried = server.call("POST", f"/executions/{job}/retry")
    check("retry", retried.status == 202 and retried.json()["id"] == job and retried.json()["attempts"] == 0, retried)
    again = server.slow(fail=True, ms=50, key="failing")
    check("the same key after a retry", again.status == 202 and again.json()["id"] == job, again)
    wait_until(lambda: len(site.events(job, "end")) == 6, 5)
    check("it starts again", site.events(job, "begin")[-1]["attempt"] == 1, site.events(job))


def aborting_job(site):
    """Each attempt ends its process. Another worker has the job within 6 s, and the last one buries it."""
    front = site.start("--workers", "0")
    workers = [site.start("--worker")]
    job = front.slow(abort=True, ms=100).json()["id"]
    end = time.monotonic() + 50
    while front.state(job) != "dead" and time.monotonic() < end:
        if workers[-1].process.poll() is not None:
            check("the process has ended", workers[-1].process.returncode == -signal.SIGABRT, workers[-1].process.returncode)
            workers.append(site.start("--worker"))
        time.sleep(0.1)
    shown = front.execution(job).json()
    check("a job that ends its process is dead in the end", shown["state"] == "dead" and shown["error"], shown)
    begun = [(event["attempt"], at(event["at"])) for event in site.events(job, "begin")]
    check("after 5 attempts", [attempt for attempt, _ in begun] == [1, 2, 3, 4, 5], begun)
    pauses = [later - earlier for (_, earlier), (_, later) in zip(begun, begun[1:])]
    check("each within 6 s", all(pause < 6.2 for pause in pauses), pauses)
    check("5 processes have ended", len(workers) == 6, len(workers))
    after = front.slow().json()["id"]
    check("and the next job runs", front.ends(after, 10)["state"] == "succeeded", front.execution(after))


def orphans(site):
    front = site.start("--workers", "0")
    worker = site.start("--worker")
    jobs = [front.slow(ms=2500).json()["id"] for _ in range(4)]
    wait_until(lambda: len(site.events(event="begin")) == 4, 10)
    other = site.start("--worker")
    worker.kill()
    died = time.time()
    for job in jobs:
        front.ends(job, 15)
    taken = [at(event["at"]) - died for event in site.events(event="begin")[4:]]
    check("orphans are picked up within 6 s", len(taken) == 4 and max(taken) < 6, taken)
    check("and not before their leases have ended", taken and min(taken) > 0.5, taken)
    shown = [front.execution(job).json() for job in jobs]
    check("they succeed at the second attempt", {(each["state"], each["attempts"]) for each in shown} == {("succeeded", 2)}, shown)
    check("the other worker goes on", other.process.poll() is None)

    # A lease is renewed: a job that is longer than three leases stays with its worker.
    site.start("--worker")
    job = front.slow(ms=7000).json()["id"]
    check("a long job succeeds", front.ends(job, 15)["attempts"] == 1, front.execution(job))
    check("and runs once", len(site.events(job, "begin")) == 1, site.events(job))


# QX4, QX5

def idempotency(site):
    servers = [site.start("--workers", "0"), site.start("--workers", "0")]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda index: servers[index % 2].slow(ms=700, key="k"), range(32)))
    check("concurrent requests under one key", {answer.status for answer in answers} == {202}, answers[0])
    jobs = {answer.json()["id"] for answer in answers}
    check("are one job", len(jobs) == 1, jobs)
    job, server = jobs.pop(), site.start()
    check("also while it runs", wait_until(lambda: server.state(job) == "running", 5) and
          server.slow(ms=700, key="k").json() == {"id": job, "state": "queued"}, server.execution(job))
    outcome = server.ends(job, 10)["outcome"]
    again = server.slow(ms=700, key="k")
    check("the outcome afterwards", again.status == 200 and again.json() == outcome, again)
    check("from another process too", servers[0].slow(ms=700, key="k").json() == outcome, outcome)
    other = server.slow(ms=701, key="k")
    check("another body", other.status == 422 and other.body, other)
    waited = server.wait(ms=700, key="k")
    check("another hook is another job", waited.status == 200, waited)
    check("and has the same outcome again", server.wait(ms=700, key="k").body == waited.body, waited)
    ones = {server.slow(ms=1, key=key).json()["id"] for key in (None, None, "", "", "a", "b", "A", "a, b", "ä".encode().decode("latin-1"))}
    check("other keys, and none, are other jobs", len(ones) == 9, ones)
    time.sleep(1)
    check("each ran once", len(site.events(job, "begin")) == 1, site.events(job))
    check("removed, a key is free", server.call("DELETE", f"/executions/{job}").status == 204
          and server.slow(ms=9, key="k").status == 202)


def waiting(site):
    server = site.start()
    start = time.monotonic()
    answer = server.wait(ms=500)
    check("the outcome within 2 s", answer.status == 200 and 0.5 <= time.monotonic() - start < 1.9, answer)
    start = time.monotonic()
    answer = server.wait(ms=4000)
    seconds = time.monotonic() - start
    check("202 after 2 s", answer.status == 202 and 1.8 < seconds < 3, (seconds, str(answer)))
    job = answer.json()["id"]
    check("its Location", answer.headers["Location"] == f"/executions/{job}" and answer.json()["state"] == "queued", answer)
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: server.wait(ms=100).status, range(40)))
    check("forty wait at a time", set(answers) <= {200, 202}, answers)
    check("the job goes on", server.ends(job, 10)["state"] == "succeeded", job)


# QX7

def is_refused(answer):
    return answer.status == 503 and int(answer.headers["Retry-After"] or 0) > 0


def engine_away(site):
    if site.engine == "sqlite":
        return full_disk(site)
    front = site.start("--workers", "0")
    worker = site.start("--worker")
    kept = front.slow(ms=100).json()["id"]
    check("before", front.ends(kept, 10)["state"] == "succeeded", kept)
    long = front.slow(ms=1000).json()["id"]
    wait_until(lambda: site.events(long), 5)
    site.server.stop()
    for hook in (front.slow, front.wait):
        answer = hook(ms=1)
        check("engine away", is_refused(answer), answer)
    check("state while it is away", is_refused(front.execution(kept)), front.execution(kept))
    check("list while it is away", is_refused(front.call("GET", "/executions")), "list")
    site.server.start()
    check("the engine is back", wait_until(lambda: front.slow(ms=1).status == 202, 15), "503")
    check("its jobs are there", wait_until(lambda: front.state(kept) == "succeeded", 10), front.execution(kept))
    check("one that ran meanwhile ends", front.ends(long, 15)["state"] == "succeeded", front.execution(long))
    check("the worker goes on", worker.process.poll() is None and front.ends(front.slow().json()["id"], 15)["state"] == "succeeded")
    site.server.freeze()
    try:
        answer = front.slow(ms=1)
        check("an engine that does not answer", is_refused(answer), answer)
    finally:
        site.server.thaw()
    check("the outage is logged", "queue_unavailable" in site.errors(), site.errors())


def full_disk(site):
    
    front = site.start("--workers", "0", **limit_files(400_000))
    stored, answer = [], None
    for index in range(300):
        answer = front.slow(ms=1, padding="x" * 4000, key=str(index))
        if answer.status != 202:
            break
        stored.append(answer.json()["id"])
    check("a full disk", is_refused(answer) and len(stored) > 3, answer)
    check("and again", is_refused(front.slow(ms=1, padding="x" * 4000)), "not 503")
    check("jobs can be read", front.state(stored[0]) == "queued", front.execution(stored[0]))
    site.start("--worker")
    ends = [front.ends(job, 20)["state"] for job in stored]
    check("nothing that was acknowledged is lost", ends == ["succeeded"] * len(stored), ends)


def backlog(site):
    """100,000 jobs that wait are put into the table: copies of one."""
    front = site.start("--workers", "0")
    job = front.slow(ms=1).json()["id"]
    if site.engine == "sqlite":
        database = sqlite3.connect(f"{site.folder}/data/queue.db", timeout=20)
        columns = [row[1] for row in database.execute("PRAGMA table_info(jobs)")]
        copied = ", ".join("randomblob(16)" if column == "id" else column for column in columns)
        with database:
            database.execute(f"INSERT INTO jobs ({', '.join(columns)}) SELECT {copied} FROM jobs, (WITH RECURSIVE n(i) AS "
                             "(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 99999) SELECT i FROM n)")
        database.close()
    elif site.engine == "postgres":
        columns = "hook, owner, fingerprint, state, attempts, due_at, created_at, payload"
        site.server.sql(site.queue, f"INSERT INTO webhook_jobs (id, {columns}) SELECT uuid_send(gen_random_uuid()), {columns} "
                        "FROM webhook_jobs, generate_series(1, 99999)")
    else:
        print(f"  backlog: not played on {site.engine}, where it takes minutes")
        return
    time.sleep(1.1)
    answer = front.slow(ms=1)
    check("100,000 jobs wait", is_refused(answer), answer)
    check("of another hook there are none", front.call("POST", "/hook/wait", {"ms": 1}).status == 202)
    check("one less", front.call("DELETE", f"/executions/{job}").status == 204)
    time.sleep(1.1)
    answers = [front.slow(ms=1).status for _ in range(3)]
    check("leaves room for one", answers == [202, 503, 503], answers)


SCENARIOS = [aborting_job, failing_job, engine_away, orphans, other_versions, stop_at_the_ready_line,
             stop_gives_jobs_back, stop_waits_for_jobs, stop_answers_requests, idempotency, waiting, one_job, strange_requests, many_processes, listens_and_works,
             command_line, backlog]


def main():
    arguments = sys.argv[1:]
    if len(arguments) < 3 or arguments[1] != "--engine" or arguments[2] not in engines.NAMES:
        sys.exit(f"usage: jobs.py PROGRAM --engine {'|'.join(engines.NAMES)} [CHECK ..]")
    program, engine = arguments[0], arguments[2]
    scenarios = [each for each in SCENARIOS if each.__name__ in arguments[3:] or not arguments[3:]]
    # A server for all but the one that ends it. NATS has no databases.
    shared = engines.Postgres() if engine == "postgres" else None

    def run(scenario):
        start = time.monotonic()
        site = Site(program, engine, None if scenario is engine_away else shared)
        try:
            scenario(site)
        except Exception as error:  # A check that could not be made has failed.
            check(scenario.__name__, False, repr(error))
        finally:
            site.close()
        print(f"  {scenario.__name__}: {time.monotonic() - start:.1f} s", flush=True)

    try:
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(run, scenarios))
    finally:
        if shared:
            shared.remove()
    print(f"{engine}: {COUNT} checks, {len(FAILURES)} failed")
    sys.exit(bool(FAILURES))


if __name__ == "__main__":
    main()
