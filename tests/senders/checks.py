"""Counts checks, and keeps those that failed."""


class Checks:
    def __init__(self):
        self.count, self.faults = 0, []

    def check(self, name, is_right, shown=""):
        self.count += 1
        if not is_right:
            self.faults.append(f"{name}: {str(shown)[:700]}")

    def status(self, name, server, message, *statuses):
        """One message, and the status of its answer."""
        answer = server.send(message)
        shown = (f"{message.method} {message.target[:200]} {message.lines()} {message.body[:200]!r}: {answer}, "
                 f"expected {' or '.join(map(str, statuses))}")
        self.check(name, answer.status in statuses, shown)
        return answer

    def never_5xx(self, name, server, message):
        return self.status(name, server, message, 200, 400, 401, 404, 405, 413, 415)


class Public:
    """A server behind a public address."""

    def __init__(self, server, url):
        self.url, self.request, self.send = url, server.request, server.send
