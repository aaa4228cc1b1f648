#!/usr/bin/env python3
"""Plays deliveries that the libraries of providers have signed against `examples/providers`. `.ci/senders` runs it.

    python main.py PROGRAM FOLDER

PROGRAM is the example, and FOLDER has the npm packages. A table shows for each library and case whether the program and
the library said what is right. Checks without libraries follow: every provider, odd signatures, handshakes, addresses,
limits.
"""

import sys

import addresses
import handshakes
import limits
import signatures
from checks import Checks, Public
from libraries import PYTHON, Node
from providers import BY_NAME, PROVIDERS, variables
from wire import Server

CASES = ["good", "tampered", "wrong secret", "retired", "old", "new", "header twice", "bytes", "again"]
PUBLIC_URL = "https://hooks.example.com"
BYTES = b'\xff\xfe\0{"a":"\xc3\x28"}'


class Table:
    def __init__(self, server):
        self.server, self.faults, self.count = server, [], 0

    def row(self, origin, library):
        provider = BY_NAME[library.provider]
        cells = [self.cell(f"{origin} {library.name}", library, provider, case) for case in CASES]
        print(f"{origin:5} {library.name:26} {provider.name:18}" + "".join(f"{cell:>14}" for cell in cells), flush=True)

    def cell(self, name, library, provider, case):
        """`ok`, `-` for a case that does not exist, or `WRONG`."""
        faults = getattr(self, case.replace(" ", "_"))(library, provider)
        if faults is None:
            return "-"
        self.count += 1
        self.faults += [f"{name}, {case}: {fault}" for fault in faults]
        return "WRONG" if faults else "ok"

    def message(self, library, provider, secret=None, **options):
        sign = library.sign if options.get("body") is None else None
        return provider.message(self.server.url, secret, sign=sign, **options)

    def judge(self, library, message, status, secret=None, is_seen=True):
        """Faults of the answer to a message, and of what the library itself says of it."""
        faults, answer = [], self.server.send(message)
        if answer.status != status:
            faults.append(f"{message.target} {message.lines()} {message.body!r}: {answer}, expected {status}")
        if library.verify is not None and is_seen:
            is_good = bool(library.verify(secret or message.provider.current, message))
            if is_good != (status == 200):
                faults.append(f"the library says {is_good} to {message.lines()} {message.body!r}")
        return faults, answer

    def good(self, library, provider):
        message = self.message(library, provider)
        faults, answer = self.judge(library, message, 200)
        if answer.json() != provider.expected(message):
            faults.append(f"{answer}, expected {provider.expected(message)}")
        return faults

    def tampered(self, library, provider):
        return self.judge(library, provider.tampered(self.message(library, provider)), 401)[0]

    def wrong_secret(self, library, provider):
        return self.judge(library, self.message(library, provider, provider.wrong), 401)[0]

    def retired(self, library, provider):
        message = self.message(library, provider, provider.retired)
        return self.judge(library, message, 200, provider.retired)[0]

    def old(self, library, provider):
        if provider.tolerance is None:
            return None
        message = self.message(library, provider, age=provider.tolerance + 2)
        return self.judge(library, message, 401, is_seen=library.sees_old)[0]

    def new(self, library, provider):
        if provider.tolerance is None:
            return None
        message = self.message(library, provider, age=-provider.tolerance - 3)
        return self.judge(library, message, 401, is_seen=library.sees_new)[0]

    def header_twice(self, library, provider):
        return self.judge(library, self.message(library, provider).twice(), 401, is_seen=False)[0]

    def bytes(self, library, provider):
        if not library.takes_bytes:
            return None
        return self.judge(library, self.message(library, provider, body=BYTES), 200)[0]

    def again(self, library, provider):
        message = self.message(library, provider)
        first, second = self.server.send(message), self.server.send(message)
        is_right = first.status == second.status == 200 and first.body == second.body
        if not is_right or first.is_replayed or not second.is_replayed:
            return [f"{message.lines()} {message.body!r}: {first}, then {second}"]
        return []


def without_libraries(program):
    checks = Checks()
    with Server(program, variables()) as server, \
            Server(program, variables(PUBLIC_URL + "/", "standard")) as behind_a_proxy:
        public = Public(behind_a_proxy, PUBLIC_URL)
        for provider in PROVIDERS:
            signatures.deliveries(checks, public if provider.variant else server, provider)
        signatures.lists(checks, server)
        signatures.replays(checks, server)
        signatures.large(checks, server)
        signatures.schemes(checks, server)
        signatures.forms_of_secrets(checks, server)
        signatures.linear(checks, server)
        signatures.mailgun(checks, server)
        signatures.gitlab(checks, server, public)
        handshakes.handshakes(checks, server)
        addresses.addresses(checks, public)
        limits.methods_and_paths(checks, server)
        limits.limits(checks, server)
    limits.settings(checks, program)
    return checks


def main():
    program, folder = sys.argv[1:]
    with Node(folder) as node, Server(program, variables()) as server, \
            Server(program, variables(variant="standard")) as gitlab:
        print(f"{'':51}" + "".join(f"{case:>14}" for case in CASES))
        tables = {"": Table(server), "standard": Table(gitlab)}
        for origin, libraries in (("PyPI", PYTHON), ("npm", node.libraries())):
            for library in libraries:
                tables[BY_NAME[library.provider].variant].row(origin, library)
    faults = [fault for table in tables.values() for fault in table.faults]
    count = sum(table.count for table in tables.values())

    checks = without_libraries(program)
    for fault in faults + checks.faults:
        print(f"FAILED {fault}")
    print(f"{count} cells and {checks.count} checks without a library ({len(PROVIDERS)} kinds of deliveries), "
          f"{len(faults) + len(checks.faults)} failures")
    sys.exit(1 if faults or checks.faults else 0)


if __name__ == "__main__":
    main()
