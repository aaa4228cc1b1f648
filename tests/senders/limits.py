"""Methods, paths and sizes, and what the environment says."""

import gzip
import re
import subprocess

from providers import BY_NAME, PROVIDERS
from wire import Server

MIB = 1024 * 1024
WITH_GET = ("dropbox", "meta")
# Intercom validates an address by HEAD.
WITH_HEAD = ("intercom",)


def methods_and_paths(checks, server):
    for slug in sorted({provider.slug for provider in PROVIDERS}):
        for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"):
            if method == "GET" and slug in WITH_GET or method == "HEAD" and slug in WITH_HEAD:
                continue
            answer = server.request(method, f"/{slug}")
            allow = set((answer.get("allow") or "").replace(" ", "").split(",")) - {"HEAD"}
            expected = {"POST", "GET"} if slug in WITH_GET else {"POST"}
            checks.check(f"405 with Allow: {', '.join(sorted(expected))}", answer.status == 405 and allow == expected,
                         f"{method} /{slug}: {answer}")
    for target in ("/", "/nope", "/github/", "//github", "/GitHub", "/github/x", "/github%2f", "/git%68ub",
                   "/stripe.json"):
        answer = server.request("POST", target)
        checks.check("404", answer.status == 404, f"POST {target}: {answer}")
    message = BY_NAME["github"].message(server.url)
    answer = server.request("POST", "/github?x=1", message.lines(), message.body)
    checks.check("a query that nothing signs", answer.status == 200, answer)


def limits(checks, server):
    """Bodies of 25 MiB, and of one byte more, with a length and without."""
    github = BY_NAME["github"]
    good = github.message(server.url, body=b"a" * 25 * MIB)
    for chunked in (False, True):
        answer = server.send(good, chunked=chunked)
        checks.check(f"25 MiB, chunked {chunked}", answer.status == 200, answer)
    for name in ("github", "sendgrid", "twilio, JSON", "gitlab"):
        provider = BY_NAME[name]
        long = provider.message(server.url, body=b"a" * (25 * MIB + 1))
        for message in (long, long.with_(signature="x")):
            for chunked in (False, True):
                answer = server.send(message, chunked=chunked)
                checks.check(f"{name}: 25 MiB and a byte, chunked {chunked}", answer.status == 413, answer)
    packed = github.message(server.url, body=gzip.compress(b'{"a":1}'))
    packed.headers.append(("Content-Encoding", "gzip"))
    checks.status("a body that is signed in its coding", server, packed, 200)


def settings(checks, program):
    """What the environment says: one secret, none, broken ones."""
    github = BY_NAME["github"]
    with Server(program, {"GITHUB_SECRET": f"  {github.current}\t{github.retired} "}) as server:
        for secret in (github.current, github.retired):
            checks.status("one provider, two secrets", server, github.message(server.url, secret=secret), 200)
        for provider in PROVIDERS:
            if provider.slug != "github":
                checks.status(f"{provider.name}: without a secret", server, provider.message(server.url), 404)
        checks.check("no line of curl", "curl" not in server.text, server.text)
    with Server(program, {"META_SECRET": BY_NAME["meta"].current}) as server:
        answer = server.request("GET", "/meta?hub.mode=subscribe&hub.verify_token=&hub.challenge=1")
        checks.check("meta: no token is set", 400 <= answer.status < 500, answer)
    with Server(program) as server:
        slugs = set(re.findall(r"curl -s 'http://127\.0\.0\.1:\d+/([a-z-]+)[?']", server.text)) - {"nope"}
        checks.check("a line of curl for each provider", slugs == {provider.slug for provider in PROVIDERS}, slugs)
    square = BY_NAME["square"]
    with Server(program, {"SQUARE_SECRET": square.current}) as server:
        checks.status("the default of PUBLIC_URL", server, square.message(server.url), 200)
        checks.status("the default of PUBLIC_URL, another host", server, square.message("https://evil.example"), 401)
    twilio = BY_NAME["twilio"]
    url = "https://hooks.example.com:8443"
    with Server(program, {"TWILIO_SECRET": twilio.current, "PUBLIC_URL": url}) as server:
        checks.status("twilio: another port", server, twilio.message(url), 200)
        # As the libraries of Twilio verify it: "sig generation on back end is inconsistent".
        checks.status("twilio: signed without the port", server, twilio.message("https://hooks.example.com"), 200)
    url = "https://hooks.example.com/base"
    with Server(program, {"SQUARE_SECRET": square.current, "PUBLIC_URL": url + "/"}) as server:
        checks.status("PUBLIC_URL with a path", server, square.message(url), 200)
    for name, value in (("SVIX_SECRET", "whsec_not base64!"), ("DISCORD_SECRET", "00"), ("SENDGRID_SECRET", "AAAA"),
                        ("STANDARD_WEBHOOKS_SECRET", "whsec_"), ("PUBLIC_URL", "not an address"),
                        ("GITLAB_MODE", "both")):
        refusal(checks, program, name, value)


def refusal(checks, program, name, value):
    """A program that cannot start says which variable is wrong, and no secret."""
    environment = {"GITLAB_SECRET": "secret-of-gitlab", name: value}
    try:
        ended = subprocess.run([program, "127.0.0.1:0"], env=environment, capture_output=True, text=True, timeout=10)
    except subprocess.TimeoutExpired:
        checks.check(f"refused: {name}={value}", False, "the program has started")
        return
    said = ended.stdout + ended.stderr
    is_right = ended.returncode not in (0, 101) and name in said
    checks.check(f"refused: {name}={value}", is_right, f"status {ended.returncode}: {said}")
    checks.check(f"refused: {name}={value}, without a secret", "secret-of" not in said and "not base64!" not in said,
                 said)
