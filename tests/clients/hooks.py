#!/usr/bin/env python3
"""Plays requests against `examples/hooks` from outside and compares the answers.

    python3 tests/clients/hooks.py target/debug/examples/hooks

starts the program on a free port of the loopback interface, prints one line for each failure, and ends with the count.
Only the standard library of Python is needed.
"""

import base64
import json
import os
import re
import selectors
import socket
import subprocess
import sys
import time

FAILURES = []
COUNT = 0


def check(name, condition, shown=""):
    global COUNT
    COUNT += 1
    if not condition:
        FAILURES.append(name)
        print(f"FAILED {name}: {str(shown)[:600]}")


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name):
        return ", ".join(self.all(name)) if self.all(name) else None

    def json(self):
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def __str__(self):
        return f"{self.status} {self.headers} {self.body[:300]}"


class Server:
    def __init__(self, program):
        self.process = subprocess.Popen(
            [program, "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        selector = selectors.DefaultSelector()
        selector.register(self.process.stdout, selectors.EVENT_READ)
        text = ""
        while selector.select(0.5 if text else 10):
            chunk = os.read(self.process.stdout.fileno(), 65536).decode()
            if not chunk:
                break
            text += chunk
        self.text = text
        self.port = int(re.search(r"listening on http://127\.0\.0\.1:(\d+)", text).group(1))
        self.key = re.search(r"X-Webhook-Token: ([^'\s]+)", text).group(1)

    def stop(self):
        self.process.terminate()
        self.process.wait(10)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def raw(self, data, timeout=10, half_close=False):
        """Sends bytes and reads one answer."""
        with self.connect() as sock:
            sock.settimeout(timeout)
            sock.sendall(data)
            if half_close:
                sock.shutdown(socket.SHUT_WR)
            return read_answer(sock, data[:5] == b"HEAD ")

    def request(self, method, path, headers=(), body=None, length=True, **options):
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close"]
        data = "\r\n".join(lines).encode() + b"\r\n"
        for name, value in headers:
            value = value if isinstance(value, bytes) else value.encode()
            data += name.encode() + b": " + value + b"\r\n"
        if body is not None and length:
            data += f"Content-Length: {len(body)}\r\n".encode()
        elif body is not None:
            data += b"Transfer-Encoding: chunked\r\n"
            body = b"".join(f"{len(body):x}\r\n".encode() + body + b"\r\n" for body in [body] if body) + b"0\r\n\r\n"
        return self.raw(data + b"\r\n" + (body or b""), **options)

    def post(self, path, body=b"", content_type=None, headers=(), **options):
        headers = list(headers)
        if content_type is not None:
            headers.append(("Content-Type", content_type))
        return self.request("POST", path, headers, body, **options)


def wait_for_close(sock):
    try:
        while sock.recv(65536):
            pass
    except OSError:
        pass


def read_answer(sock, head_only=False):
    data = b""
    try:
        while b"\r\n\r\n" not in data:
            chunk = sock.recv(65536)
            if not chunk:
                break
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:]]
        answer = Answer(status, headers, body)
        if status == 100:
            return answer
        length = answer.get("content-length")
        if head_only or status in (204, 304):
            return answer
        while length is None or len(body) < int(length):
            chunk = sock.recv(65536)
            if not chunk:
                break
            body += chunk
        if (answer.get("transfer-encoding") or "").lower() == "chunked":
            body = dechunk(body)
        answer.body = body
        return answer
    except (OSError, IndexError, ValueError) as error:
        return Answer(0, [], repr(error).encode())


def dechunk(data):
    result = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        size = int(size, 16)
        if size == 0:
            break
        result, data = result + data[:size], data[size + 2:]
    return result


JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


def results(server):
    """A 2xx answer is the bare result."""
    answer = server.request("GET", "/hook/status")
    check("status", answer.status == 200 and answer.json() == {"healthy": True}, answer)
    key = [("X-Webhook-Token", server.key)]
    answer = server.post("/hook/deploy", b'{"ref":"v1"}', JSON, key)
    check("deploy", answer.status == 200 and "status" not in (answer.json() or {"status": 1}), answer)


def placements(server):
    key = server.key
    body = b'{"ref":"v1"}'
    for name in ("deploy", "deploy-any"):
        places = [
            ("header", f"/hook/{name}", [("X-Webhook-Token", key)], body),
            ("bearer", f"/hook/{name}", [("Authorization", f"Bearer {key}")], body),
            ("lower bearer", f"/hook/{name}", [("Authorization", f"bearer   {key}")], body),
            ("ApiKey", f"/hook/{name}", [("Authorization", f"ApiKey {key}")], body),
            ("apikey", f"/hook/{name}", [("authorization", f"APIKEY  {key}")], body),
            ("query", f"/hook/{name}?token={key}", [], body),
            ("path", f"/hook/{name}/{key}", [], body),
            ("body", f"/hook/{name}", [], json.dumps({"ref": "v1", "token": key}).encode()),
        ]
        for place, path, headers, content in places:
            answer = server.post(path, content, JSON, headers)
            check(f"{name} by {place}", answer.status == 200, answer)
            check(f"{name} by {place}, not echoed", key.encode() not in answer.body, answer)
    answer = server.post("/hook/deploy-any", f"ref=v1&token={key}".encode(), FORM)
    check("form token", answer.status == 200 and answer.json()["POST"] == {"ref": "v1"}, answer)
    for scheme in ("Token", "Key", "Api-Key"):
        answer = server.post("/hook/deploy", body, JSON, [("Authorization", f"{scheme} {key}")])
        check(f"scheme {scheme} is not read", answer.status == 401, answer)
    challenge = server.post("/hook/deploy", body, JSON).get("www-authenticate") or ""
    check("challenge names schemes that are read", "Bearer" in challenge and "ApiKey" in challenge, challenge)


def envelopes(server):
    key = [("X-Webhook-Token", server.key)]

    def show(name, body, content_type, member, value, path="/hook/echo", headers=(), **options):
        for path, headers in ((path, list(headers)), ("/hook/deploy-any", list(headers) + key)):
            answer = server.post(path, body, content_type, headers, **options)
            shown = (answer.json() or {}).get(member) if answer.status == 200 else None
            check(f"{name} on {path}", answer.status == 200 and shown == value, answer)

    def refuse(name, body, content_type, status, headers=()):
        for path, headers in (("/hook/echo", list(headers)), ("/hook/deploy-any", list(headers) + key)):
            answer = server.post(path, body, content_type, headers)
            check(f"{name} on {path}", answer.status == status, answer)

    b64 = lambda data: {"base64": base64.b64encode(data).decode()}
    for media in (JSON, "application/vnd.api+json", "text/json", "application/JSON; charset=UTF-8",
                  'application/json;charset="utf-8"', "application/cloudevents+json; charset=us-ascii"):
        show(f"JSON as {media}", b'{"a": [1, 2.50]}', media, "JSON", {"a": [1, 2.5]})
        refuse(f"malformed {media}", b'{"a":', media, 400)
        refuse(f"blank {media}", b" \r\n", media, 400)
        show(f"no bytes as {media}", b"", media, "JSON", {})
    show("array", b"[1]", JSON, "JSON", [1])
    show("text", b'"x"', JSON, "JSON", "x")
    show("null", b"null", JSON, "JSON", None)
    for media in ("text/plain", "text/plain; charset=UTF-8", None):
        show(f"JSON as {media}", b'{"Type":"Subscription"}', media, "JSON", {"Type": "Subscription"})
        show(f"text as {media}", b"hello", media, "BODY", "hello")
        show(f"broken JSON as {media}", b'{"a":', media, "BODY", '{"a":')
        for text in ("  ", "{} {}", "1\n2\n", "a\0b", "\x01\x7f\"\\", "NaN", '{"a":1,"a":2}', '"\\ud800"', "[" * 500):
            show(f"{text[:20]!r} as {media}", text.encode(), media, "BODY", text)
        show(f"no bytes as {media}", b"", media, "JSON", {})
        show(f"BOM as {media}", b"\xef\xbb\xbf[1]", media, "JSON", [1])
        show(f"BOM before text as {media}", b"\xef\xbb\xbfhi", media, "BODY", "hi")
    for media in ("application/x-ndjson", "application/jsonl", "application/x-jsonlines"):
        show(f"lines as {media}", b'{"a":1}\n\n[2]\r\n', media, "JSON", [{"a": 1}, [2]])
        show(f"one line as {media}", b'{"a":1}', media, "JSON", [{"a": 1}])
        show(f"blank lines as {media}", b'\xef\xbb\xbf \n\t\r\n 1.50 \n\n"\\n"', media, "JSON", [1.5, "\n"])
        for lines in (b'1\nfoo', b'{\n"a":1}\n', b"1,2", b"1\n\xef\xbb\xbf2", b'"\xff"\n', b'{"a":1,"a":2}\n', b"1\r2"):
            refuse(f"{lines} as {media}", lines, media, 400)
        refuse(f"a bad line as {media}", b'{"a":1}\n{', media, 400)
        refuse(f"two values in a line as {media}", b'{"a":1} {"b":2}\n', media, 400)
    show("form", b"a=1&b=2&a=3&c=%C3%A4+x", FORM, "POST", {"a": ["1", "3"], "b": "2", "c": "ä x"})
    show("BOM before a form", b"\xef\xbb\xbfa=1", FORM, "POST", {"a": "1"})
    for text, value in (("a", {"a": ""}), ("=1", {"": "1"}), ("&&a=1&&", {"a": "1"}), ("a=1;b=2", {"a": "1;b=2"}),
                        ("a+b=%2B", {"a b": "+"}), ("a=%zz&b=%", {"a": "%zz", "b": "%"}), ("a=b=c", {"a": "b=c"}),
                        ("a=%00", {"a": "\0"}), ("a=%EF%BB%BFx", {"a": "\ufeffx"}), ("payload=1.5", {"payload": 1.5}),
                        ("payload=", {"payload": ""}), ("payload={}{}", {"payload": "{}{}"}), ("payload=null", {"payload": None}),
                        ("payload=1&payload=x", {"payload": [1, "x"]}), ("Payload={}", {"Payload": "{}"})):
        show(f"form {text}", text.encode(), FORM, "POST", value)
    payload = "payload=" + "".join(f"%{byte:02X}" for byte in b'{"ref":"refs/heads/main","n":[1,2]}')
    show("payload", payload.encode(), FORM, "POST", {"payload": {"ref": "refs/heads/main", "n": [1, 2]}})
    show("payload as text", b"payload=hello+you&b=1", FORM, "POST", {"payload": "hello you", "b": "1"})
    show("payload beside others", (payload + "&other=%7B%7D").encode(), FORM, "POST",
         {"payload": {"ref": "refs/heads/main", "n": [1, 2]}, "other": "{}"})
    for media in ("text/xml", "application/xml", "application/soap+xml", "text/html; charset=utf-8",
                  "application/javascript", "text/javascript", "text/csv"):
        show(f"text as {media}", "<a>ä</a>".encode(), media, "BODY", "<a>ä</a>")
    show("latin-1 text", "ä".encode("latin-1"), "text/xml; charset=iso-8859-1", "BODY", b64(b"\xe4"))
    show("text that is not UTF-8", b"\xff\xfea", "text/csv", "BODY", b64(b"\xff\xfea"))
    for media in ("application/octet-stream", "image/png", "application/pdf"):
        show(f"bytes as {media}", b"abc\x00\xff", media, "BODY", b64(b"abc\x00\xff"))
        show(f"ASCII as {media}", b"abc", media, "BODY", b64(b"abc"))
    for body in (b"\xef\xbb\xbf" + b'{"a":1}',):
        show("BOM", body, JSON, "JSON", {"a": 1})
    refuse("two BOMs", b"\xef\xbb\xbf\xef\xbb\xbf{}", JSON, 400)
    for text in (b'"\xff"', b'"\\ud800"', b'{"a":1,"a":2}', b"01", b"NaN", b"{'a':1}", b'{"a":1,}', b"\xc2\xa0{}", b'"\t"',
                 b"\xef\xbb\xbf ", b"[" * 5000 + b"]" * 5000, b"\xff\xfe{\0}\0"):
        refuse(f"no JSON: {text[:20]}", text, JSON, 400)
    for media, status in (("json", 415), ("application/json; charset=utf-8; charset=utf-16", 415), ("/", 415),
                          ("application/json, application/json", 400), ("application/json+xml", 415)):
        refuse(f"JSON as {media}", b"{}", media, status)
    for coding, status in (("identity", 200), ("gzip", 415), ("br", 415), ("gzip, identity", 415)):
        answer = server.post("/hook/echo", b"{}", JSON, [("Content-Encoding", coding)])
        check(f"coding {coding}", answer.status == status, answer)
    for charset in ("utf-16", "UTF-16LE", "iso-8859-1", "windows-1252", "utf-32"):
        refuse(f"JSON in {charset}", b"{}", f"application/json; charset={charset}", 415)
    refuse("a form that is not UTF-8", b"a=\xff", FORM, 400)
    refuse("an encoded form that is not UTF-8", b"a=%FF", FORM, 400)
    refuse("a name in a form that is not UTF-8", b"%FF=1", FORM, 400)
    for path in ("/hook/echo?a=%FF", "/hook/echo?%C3%28=1", "/hook/echo?a=%ED%A0%80"):
        answer = server.post(path, b"", None)
        check(f"query {path}", answer.status == 400, answer)
    answer = server.post("/hook/echo?a=%C3%A4&b=1&b=2", b"", None)
    check("query", answer.status == 200 and answer.json()["GET"] == {"a": "ä", "b": ["1", "2"]}, answer)
    answer = server.post("/hook/echo", b"", None, [("X-Odd", b"a\xffb"), ("X-Fine", "ä".encode())])
    headers = (answer.json() or {}).get("HEADERS", {})
    check("header bytes", headers.get("x-odd") == b64(b"a\xffb") and headers.get("x-fine") == "ä", answer)
    answer = server.post("/hook/echo", b"{}", JSON)
    check("members", set(answer.json() or {}) >= {"GET", "POST", "JSON", "HEADERS"}, answer)
    show("chunked", b'{"a":1}', JSON, "JSON", {"a": 1}, length=False)
    show("chunked without bytes", b"", JSON, "JSON", {}, length=False)


def limits(server):
    key = [("X-Webhook-Token", server.key)]
    pad = lambda size, text="{}": text[:-1].encode() + b" " * (size - len(text)) + text[-1:].encode()
    for length in (True, False):
        answer = server.post("/hook/deploy-any", pad(64 * 1024 + 1), JSON, length=length)
        check(f"no credential, over 64 KiB, length {length}", answer.status == 413, answer)
        answer = server.post("/hook/deploy-any", pad(64 * 1024), JSON, length=length)
        check(f"no credential, 64 KiB, length {length}", answer.status == 401, answer)
        text = json.dumps({"token": server.key})
        answer = server.post("/hook/deploy-any", pad(64 * 1024, text), JSON, length=length)
        check(f"key in 64 KiB, length {length}", answer.status == 200, answer)
        answer = server.post("/hook/deploy-any", pad(100 * 1024, text), JSON, length=length)
        check(f"key in 100 KiB, length {length}", answer.status == 413, answer)
        for path, headers in (("/hook/deploy-any", key), ("/hook/echo", [])):
            answer = server.post(path, pad(1024 * 1024), JSON, headers, length=length)
            check(f"1 MiB on {path}, length {length}", answer.status == 200, answer)
            answer = server.post(path, pad(1024 * 1024 + 1), JSON, headers, length=length)
            check(f"over 1 MiB on {path}, length {length}", answer.status == 413, answer)
    answer = server.post("/hook/deploy-any?token=wrong", pad(100 * 1024), JSON)
    check("a bad key with 100 KiB", answer.status == 401, answer)


def browsers(server):
    for hook in ("echo", "deploy", "deploy-any", "status", "report", "nope", "", "deploy/", "a/b/c"):
        for method in ("POST", "GET", "PUT"):
            answer = server.request("OPTIONS", f"/hook/{hook}", [
                ("Origin", "https://a.example"), ("Access-Control-Request-Method", method),
                ("Access-Control-Request-Headers", "x-webhook-token,content-type,x-own")])
            check(f"preflight {method} {hook}", 200 <= answer.status < 300, answer)
            allowed = (answer.get("access-control-allow-headers") or "").lower()
            check(f"preflight headers {method} {hook}", "x-own" in allowed and "x-webhook-token" in allowed, answer)
            check(f"preflight origin {method} {hook}",
                  answer.get("access-control-allow-origin") in ("*", "https://a.example"), answer)
    for headers in ([], [("X-Webhook-Token", "wrong")]):
        answer = server.post("/hook/deploy", b"{}", JSON, headers + [("Origin", "https://a.example")])
        exposed = (answer.get("access-control-expose-headers") or "").lower()
        check("refusal for a page", answer.status == 401 and "www-authenticate" in exposed
              and "retry-after" in exposed and answer.get("access-control-allow-origin"), answer)


def paths(server):
    key = [("X-Webhook-Token", server.key)]
    encoded = "".join(f"%{byte:02X}" for byte in server.key.encode())
    for path, headers, status in (
            (f"/hook/deploy/{encoded}", [], 200), (f"/hook/deploy/{server.key}?a=1", [], 200), ("/hook/deploy?", key, 200),
            (f"http://localhost/hook/deploy/{server.key}", [], 200),
            (f"/hook/deploy/{server.key}%20", [], 401), (f"/hook/deploy/{server.key}%00", [], 401),
            ("/hook/deploy/%FF", [], 401), ("/hook/deploy/..", [], 401),
            (f"/hook/deploy/{server.key}/", [], 404), (f"/hook/deploy//{server.key}", [], 404),
            ("/hook/deploy/", key, 404), ("//hook/deploy", key, 404), ("/hook//deploy", key, 404),
            ("/hook/./deploy", key, 404), ("/hook/x/../deploy", key, 404), ("/hook/Deploy", key, 404),
            ("/hook/deploy;a=b", key, 404), ("/hook/%FF", key, 404), ("/hook/", key, 404), ("/hook", key, 404),
            ("/", key, 404), (f"/hook/nope/{server.key}", [], 404)):
        answer = server.post(path, b"{}", JSON, headers)
        check(f"{path} is {status}", answer.status == status, answer)
        check(f"{path} is not echoed", server.key.encode() not in answer.body, answer)
        if status >= 400:
            check(f"{path} has a problem document", (answer.json() or {}).get("status") == status, answer)


def stopping(program):
    server = Server(program)
    with server.connect() as stalled:
        stalled.sendall(b"POST /hook/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
        time.sleep(0.2)
        start = time.time()
        server.process.terminate()
        check("SIGTERM", server.process.wait(10) == 0 and time.time() - start < 5, server.process.returncode)
    for argument in ("nonsense", "127.0.0.1:99999", "--nonsense"):
        ended = subprocess.run([program, argument], capture_output=True, timeout=10)
        check(f"argument {argument}", ended.returncode != 0 and ended.stderr and not ended.stdout, ended)


def probes(server):
    key = [("X-Webhook-Token", server.key)]
    answer = server.request("HEAD", "/hook/deploy", key)
    check("HEAD with a key", answer.status == 200 and not answer.body, answer)
    check("HEAD without", server.request("HEAD", "/hook/deploy").status == 401)
    check("HEAD with a bad key", server.request("HEAD", "/hook/deploy", [("X-Webhook-Token", "x")]).status == 401)
    check("HEAD with a key in the query", server.request("HEAD", f"/hook/deploy?token={server.key}").status == 200)
    for hook in ("echo", "report", "deploy-any"):
        answer = server.request("HEAD", f"/hook/{hook}", key)
        check(f"HEAD {hook}", answer.status == 405, answer)
    answer = server.request("HEAD", "/hook/nope", key)
    check("HEAD of no hook", answer.status == 404, answer)
    answer = server.request("GET", "/hook/deploy", key)
    check("Allow lists HEAD", answer.status == 405 and {"POST", "HEAD"} <= set(
        re.split(r"\s*,\s*", answer.get("allow") or "")), answer)


def no_body(server):
    start = time.time()
    answer = server.raw(b"GET /hook/status HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
    check("a declared body that does not come", answer.status == 200 and time.time() - start < 1, answer)
    answer = server.raw(b"GET /hook/status HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    check("a chunked body that does not come", answer.status == 200 and time.time() - start < 2, answer)
    answer = server.raw(b"GET /hook/status HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n")
    check("a large declared body that does not come", answer.status == 200 and time.time() - start < 3, answer)


    # A refusal for which the head is enough does not wait for the body.
    key = f"X-Webhook-Token: {server.key}\r\n"
    cases = [("/hook/deploy", "X-Webhook-Token: x\r\n", 401), (f"/hook/deploy?token={server.key}", key, 400), ("/nope", "", 404),
             ("/hook/status", "", 405), ("/hook/echo", "Content-Encoding: gzip\r\n", 415), ("/hook/report", "", 401)]
    for path, fields, status in cases:
        for version in ("1.0", "1.1"):
            for frame in ("Content-Length: 9", "Content-Length: 9\r\nExpect: 100-continue", "Transfer-Encoding: chunked"):
                if "chunked" in frame and version == "1.0":
                    continue
                start = time.time()
                answer = server.raw(f"POST {path} HTTP/{version}\r\nHost: a\r\n{fields}{frame}\r\n\r\n".encode())
                check(f"{status} before the body, {version}, {frame}",
                      answer.status == status and time.time() - start < 1, answer)


def grpc(server):
    key = server.key
    cases = [
        ("none", "/hook/deploy", [], "16"), ("junk", "/hook/deploy", [("X-Webhook-Token", "x")], "16"),
        ("two", f"/hook/deploy?token={key}", [("X-Webhook-Token", key)], "3"),
        ("no hook", "/hook/nope", [], "12"), ("no method", "/hook/status", [], "12"),
        ("a service of gRPC", "/echo.Echo/Unary", [], "12"), ("a bad key in the path", "/hook/deploy/x", [], "16"),
        ("too large", "/hook/deploy", [("Content-Length", "99999999"), ("X-Webhook-Token", key)], "8"),
    ]
    for media in ("application/grpc", "application/grpc+proto", "application/grpc-web", "application/grpc-web+proto",
                  "application/grpc-web-text", "application/grpc+json", "Application/GRPC; a=b"):
        for name, path, headers, code in cases:
            if name == "too large":
                answer = server.request("POST", path, headers + [("Content-Type", media)])
            else:
                answer = server.post(path, b"\x00\x00\x00\x00\x00", media, headers)
            check(f"{media} {name}", answer.status == 200 and answer.get("grpc-status") == code
                  and answer.get("grpc-message") is not None and not answer.body
                  and (answer.get("content-type") or "").lower().startswith("application/grpc"), answer)
    answer = server.request("GET", "/hook/deploy", [("Content-Type", "application/grpc")])
    check("GET is not gRPC", answer.status == 405, answer)
    answer = server.post("/hook/deploy", b"{}", "application/grpcx")
    check("another type is not gRPC", answer.status == 401, answer)


def early(server):
    body = b"x" * (64 * 1024)

    def upload(total, headers, path="/hook/deploy"):
        with server.connect() as sock:
            head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n".encode()
            head += headers + f"Content-Length: {total}\r\n\r\n".encode()
            try:
                sock.sendall(head)
                sent = 0
                while sent < total:
                    sent += sock.send(body[:min(len(body), total - sent)])
                return read_answer(sock)
            except OSError as error:
                return Answer(0, [], repr(error).encode())

    for _ in range(20):
        answer = upload(20 << 20, b"X-Webhook-Token: wrong\r\n")
        check("401 after 20 MiB", answer.status == 401, answer)
        answer = upload(20 << 20, f"X-Webhook-Token: {server.key}\r\n".encode())
        check("413 after 20 MiB", answer.status == 413, answer)
    for path, status in (("/hook/status", 405), (f"/hook/deploy?token={server.key}&token=x", 400), ("/hook/nope", 404),
                         ("/nope", 404), ("/", 404), ("/hook/deploy/", 404), ("/hook/deploy/x/y", 404)):
        answer = upload(20 << 20, b"", path)
        check(f"{status} for {path} after 20 MiB", answer.status == status, answer)
    start = time.time()
    with server.connect() as sock:
        sock.settimeout(10)
        sock.sendall(b"POST /hook/deploy HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nX-Webhook-Token: wrong\r\n"
                     b"Content-Type: application/json\r\nContent-Length: 20971520\r\n\r\n")
        answer = read_answer(sock)
        check("no 100 for a bad key", answer.status == 401, answer)
        wait_for_close(sock)
        check("closed after Expect", time.time() - start < 2, time.time() - start)
    start = time.time()
    with server.connect() as sock:
        sock.settimeout(10)
        sock.sendall(b"POST /hook/deploy HTTP/1.1\r\nHost: a\r\nX-Webhook-Token: wrong\r\nContent-Length: 20971520\r\n\r\n")
        answer = read_answer(sock)
        check("a client that stalls gets its answer at once", answer.status == 401 and time.time() - start < 1, answer)
        wait_for_close(sock)
        check("a client that stalls is let go", 1 < time.time() - start < 6, time.time() - start)


def ambiguity(server):
    key = server.key
    good = ("X-Webhook-Token", key)
    two = [
        ("two headers", "/hook/deploy", [good, good]),
        ("a bad copy", "/hook/deploy", [good, ("X-Webhook-Token", "x")]),
        ("comma", "/hook/deploy", [("X-Webhook-Token", f"{key}, {key}")]),
        ("comma without a blank", "/hook/deploy", [("X-Webhook-Token", f"{key},{key}")]),
        ("three", "/hook/deploy", [("X-Webhook-Token", f"{key} ,{key},\t{key}")]),
        ("bearer twice", "/hook/deploy", [("Authorization", f"Bearer {key}, Bearer {key}")]),
        ("bearer and ApiKey", "/hook/deploy", [("Authorization", f"Bearer {key},ApiKey {key}")]),
        ("basic and bearer", "/hook/deploy", [("Authorization", f"Basic YTpi, Bearer {key}")]),
        ("basic x and bearer y", "/hook/deploy", [("Authorization", "Basic x, Bearer y")]),
        ("bearer lines", "/hook/deploy", [("Authorization", f"Bearer {key}"), ("Authorization", f"Bearer {key}")]),
        ("header and bearer", "/hook/deploy", [good, ("Authorization", f"Bearer {key}")]),
        ("header and query", f"/hook/deploy?token={key}", [good]),
        ("header and a bad query", "/hook/deploy?token=x", [good]),
        ("query twice", f"/hook/deploy?token={key}&token={key}", []),
        ("query twice, an encoded name", f"/hook/deploy?token={key}&%74oken={key}", []),
        ("query joined", f"/hook/deploy?token={key},{key}", []),
        ("query joined, encoded", f"/hook/deploy?token={key}%2C{key}", []),
        ("path joined", f"/hook/deploy/{key},{key}", []),
        ("bearer joined without a scheme", "/hook/deploy", [("Authorization", f"Bearer {key}, {key}")]),
        ("empty members", "/hook/deploy", [("X-Webhook-Token", f",{key},, {key},")]),
        ("lines that are joined", "/hook/deploy", [("X-Webhook-Token", f"{key},{key}")] * 2),
        ("lines of two schemes", "/hook/deploy", [("Authorization", f"Bearer {key}"), ("Authorization", "Basic YTpi")]),
        ("query and path", f"/hook/deploy/{key}?token={key}", []),
        ("header and path", f"/hook/deploy/{key}", [good]),
        ("two that are bad", "/hook/deploy?token=y", [("X-Webhook-Token", "x")]),
    ]
    for name, path, headers in two:
        answer = server.post(path, b'{"ref":"v1"}', JSON, headers)
        check(f"two credentials: {name}", answer.status == 400, answer)
    for content, media in ((f'{{"ref":"v1","token":"{key}"}}', JSON), (f"ref=v1&token={key}", FORM),
                           ('{"ref":"v1","token":"x"}', JSON)):
        answer = server.post("/hook/deploy-any", content.encode(), media, [good])
        check(f"a second one in {media}", answer.status == 400, answer)
        answer = server.post("/hook/deploy-any", content.encode(), media, [("X-Webhook-Token", "bad")])
        check(f"a bad head before {media}", answer.status == 401, answer)
    for content, media in ((b"hello", None), (b"hello", "text/plain"), (b"abc", "application/octet-stream")):
        answer = server.post("/hook/deploy-any", content, media, [good])
        check(f"a body that is not read, {media}", answer.status == 200, answer)
        answer = server.post(f"/hook/deploy-any?token={key}", content, media)
        check(f"a body that is not read, {media}, by query", answer.status == 200, answer)
    answer = server.post("/hook/deploy-any", b"{", JSON, [good])
    check("malformed JSON for the hook", answer.status == 400, answer)
    start = time.time()
    answer = server.raw(b"POST /hook/deploy HTTP/1.1\r\nHost: a\r\nX-Webhook-Token: bad\r\n"
                        b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
    check("a bad one is answered before the body", answer.status == 401 and time.time() - start < 1, answer)


def labelled(server):
    """A body that is JSON by a setting has credentials as `application/json` has."""
    key = server.key
    good = [("X-Webhook-Token", key)]
    token = json.dumps({"ref": "v1", "token": key}).encode()
    for media in ("text/json", "text/json; charset=UTF-8", "text/plain", "Text/Plain;charset=us-ascii", None):
        for mark in (b"", b"\xef\xbb\xbf"):
            for length in (True, False):
                name = f"{media}, mark {mark != b''}, length {length}"
                answer = server.post("/hook/deploy-any", mark + token, media, length=length)
                check(f"key in {name}", answer.status == 200 and answer.json()["JSON"] == {"ref": "v1"}
                      and key.encode() not in answer.body, answer)
                check(f"key in {name}, deploy",
                      server.post("/hook/deploy", mark + token, media, length=length).status == 200)
                for second in (token, b'{"token":"x"}', b'{"token":["x"]}'):
                    answer = server.post("/hook/deploy-any", mark + second, media, good, length=length)
                    check(f"a second one in {name}: {second[:20]}", answer.status == 400, answer)
                    answer = server.post(f"/hook/deploy-any?token={key}", mark + second, media, length=length)
                    check(f"one in {name} beside the query: {second[:20]}", answer.status == 400, answer)
                    answer = server.post("/hook/deploy-any", mark + second, media, [("X-Webhook-Token", "bad")])
                    check(f"one in {name} beside a bad one", answer.status == 401, answer)
                answer = server.post("/hook/echo", mark + token, media, length=length)
                check(f"removed from {name}", answer.status == 200 and answer.json()["JSON"] == {"ref": "v1"}
                      and key.encode() not in answer.body, answer)
        answer = server.post("/hook/deploy-any", b'{"token":"x"}', media)
        check(f"a bad key in {media}", answer.status == 401, answer)
        for size, status in ((64 * 1024, 200), (64 * 1024 + 1, 413)):
            answer = server.post("/hook/deploy-any", token + b" " * (size - len(token)), media)
            check(f"key in {size} bytes of {media}", answer.status == status, answer)
    line = json.dumps({"token": key}).encode()
    for content, media in ((line + b"\n" + line, "application/x-ndjson"), (line, "application/jsonl"),
                           (b"hello " + line, "text/plain"), (line[:-1], "text/plain"), (line, "text/xml"),
                           (line, "text/plain; charset=utf-16"), (b"[" + line + b"]", "text/json"),
                           (b"payload=" + line, FORM)):
        answer = server.post("/hook/deploy-any", content, media)
        check(f"no key in {content[:12]} as {media}", answer.status == 401, answer)
        answer = server.post("/hook/deploy-any", content, media, good)
        check(f"no second key in {content[:12]} as {media}", answer.status == 200, answer)
    for media in (JSON, "text/json"):
        answer = server.post("/hook/deploy-any", line[:-1], media)
        check(f"malformed {media} without a key", answer.status == 400, answer)


def either(server):
    """A key or a user, and never both."""
    key, body = server.key, b'{"ref":"v1"}'
    login = re.search(r"alice:([^'\s]+)", server.text).group(1)
    basic = lambda name, text: ("Authorization", "Basic " + base64.b64encode(f"{name}:{text}".encode()).decode())
    user, header, path = basic("alice", login), ("X-Webhook-Token", key), "/hook/any"
    in_body = json.dumps({"ref": "v1", "token": key}).encode()
    for name, target, headers, content, status in (
            ("key in a header", path, [header], body, 200),
            ("key as bearer", path, [("Authorization", f"Bearer {key}")], body, 200),
            ("key as ApiKey", path, [("Authorization", f"ApiKey {key}")], body, 200),
            ("key in the query", f"{path}?token={key}", [], body, 200),
            ("key in the path", f"{path}/{key}", [], body, 200),
            ("key in the body", path, [], in_body, 200),
            ("user", path, [user], body, 200),
            ("user with 100 KiB", path, [user], b'{"a":"' + b"x" * 100 * 1024 + b'"}', 200),
            ("key and user", path, [header, user], body, 400),
            ("bad key and user", path, [("X-Webhook-Token", "x"), user], body, 400),
            ("key and bad user", path, [header, basic("alice", "x")], body, 400),
            ("user and key in the query", f"{path}?token={key}", [user], body, 400),
            ("user and key in the path", f"{path}/{key}", [user], body, 400),
            ("user and key in the body", path, [user], in_body, 400),
            ("bearer and user in two lines", path, [("Authorization", f"Bearer {key}"), user], body, 400),
            ("bearer and user in one line", path, [("Authorization", f"{user[1]}, Bearer {key}")], body, 400),
            ("two users", path, [user, user], body, 400),
            ("bad user and key in the body", path, [basic("alice", "x")], in_body, 401),
            ("another's login", path, [basic("bob", login)], body, 401),
            ("the key as a login", path, [basic("alice", key)], body, 401),
            ("the login as a key", path, [("X-Webhook-Token", login)], body, 401),
            ("bad key", path, [("X-Webhook-Token", "x")], body, 401),
            ("none", path, [], body, 401)):
        answer = server.post(target, content, JSON, headers)
        check(f"any: {name}", answer.status == status, answer)
        check(f"any: {name}, not echoed", key.encode() not in answer.body and login.encode() not in answer.body, answer)
        if status == 401:
            challenges = answer.get("www-authenticate") or ""
            check(f"any: {name}, challenges", "Bearer" in challenges and "Basic" in challenges, challenges)
    without_scope = re.findall(r"X-Webhook-Token: ([^'\s]+)", server.text.split("Refused: no key")[1])[3]
    answer = server.post(path, body, JSON, [("X-Webhook-Token", without_scope)])
    check("any: a key without the scope", answer.status == 403, answer)
    check("any: another method", server.request("GET", path, [header]).status == 405)


def limited(server):
    """Five at once, then one each 12 seconds. The last part of the server, because it uses the calls up."""
    path, body, key = "/hook/limited", b'{"ref":"v1"}', ("X-Webhook-Token", server.key)
    without_scope = re.findall(r"X-Webhook-Token: ([^'\s]+)", server.text.split("Refused: no key")[1])[3]
    for number in range(20):
        for name, headers, status in (("wrong key", [("X-Webhook-Token", "wrong")], 401), ("no key", [], 401),
                                      ("no scope", [("X-Webhook-Token", without_scope)], 403)):
            answer = server.post(path, body, JSON, headers)
            check(f"limited: {name} {number}", answer.status == status, answer)
            check(f"limited: {name} {number}, no field", answer.get("ratelimit") is None, answer)
    for number in range(5):
        answer = server.post(path, body, JSON, [key])
        check(f"limited: call {number}", answer.status == 200 and (answer.json() or {}).get("JSON") == {"ref": "v1"}, answer)
    answer = server.post(f"{path}?token={server.key}", body, JSON, [("Origin", "https://a.example")])
    check("limited: beyond", answer.status == 429 and (answer.json() or {}).get("code") == "rate_limited", answer)
    check("limited: policy", answer.get("ratelimit-policy") == '"hook";q=5;w=60', answer)
    fields = re.fullmatch(r'"hook";r=0;t=(\d+)', answer.get("ratelimit") or "")
    wait = answer.get("retry-after") or ""
    check("limited: when", fields and fields.group(1) == wait and 1 <= int(wait) <= 12, answer)
    exposed = (answer.get("access-control-expose-headers") or "").lower()
    check("limited: for a page", "ratelimit" in exposed and "retry-after" in exposed, answer)
    check("limited: no challenge", answer.get("www-authenticate") is None, answer)
    check("limited: other hooks", server.post("/hook/deploy-any", body, JSON, [key]).status == 200)
    check("limited: junk after it", server.post(path, body, JSON, [("X-Webhook-Token", "wrong")]).status == 401)


def main():
    server = Server(sys.argv[1])
    try:
        for part in (results, placements, envelopes, limits, browsers, paths, probes, no_body, grpc, early, ambiguity,
                     labelled, either, limited):
            part(server)
    finally:
        server.stop()
    stopping(sys.argv[1])
    print(f"{COUNT - len(FAILURES)} of {COUNT} checks passed")
    sys.exit(bool(FAILURES))


main()
