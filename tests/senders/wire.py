"""Starts `examples/providers` and sends requests to it."""

import http.client
import json
import os
import re
import selectors
import subprocess


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def get(self, name):
        return self.headers.get(name)

    def json(self):
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def is_replayed(self):
        return self.get("x-replayed") == "true"

    def __str__(self):
        return f"{self.status} {dict(self.headers.items())} {self.body[:300]!r}"


class Server:
    """A process of the program on a free port of the loopback interface, ended by `with`."""

    def __init__(self, program, variables=None):
        self.process = subprocess.Popen(
            [program, "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=variables or {})
        self.text = self._read()
        match = re.match(r"listening on http://127\.0\.0\.1:(\d+)\n", self.text)
        if match is None:
            self.stop()
            raise RuntimeError(f"the first line of {program} does not say where it listens: {self.text[:200]!r}")
        self.port = int(match.group(1))
        self.url = f"http://127.0.0.1:{self.port}"

    def _read(self):
        selector, text = selectors.DefaultSelector(), ""
        selector.register(self.process.stdout, selectors.EVENT_READ)
        while selector.select(0.5 if text else 10):
            chunk = os.read(self.process.stdout.fileno(), 65536).decode()
            if not chunk:
                break
            text += chunk
        return text

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def request(self, method, target, headers=(), body=b"", chunked=False):
        """Sends one request. Header fields can be repeated, and the target is sent as it is given."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in headers:
                connection.putheader(name, value)
            if chunked:
                connection.putheader("Transfer-Encoding", "chunked")
                connection.endheaders(iter([body]), encode_chunked=True)
            else:
                if body or method == "POST":
                    connection.putheader("Content-Length", str(len(body)))
                connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        except OSError as error:
            return Answer(0, http.client.HTTPMessage(), repr(error).encode())
        finally:
            connection.close()

    def send(self, message, **options):
        return self.request(message.method, message.target, message.lines(), message.body, **options)
