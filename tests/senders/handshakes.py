"""The handshakes of providers: they are answered as the pages of the providers say, and run nothing."""

import json
import time
from urllib.parse import quote

from providers import BY_NAME, hex_mac


def handshakes(checks, server):
    slack(checks, server)
    zoom(checks, server)
    twitch(checks, server)
    discord(checks, server)
    meta(checks, server)
    dropbox(checks, server)
    # "It must be able to receive a HEAD request, which we use to validate the URL."
    answer = server.request("HEAD", "/intercom")
    checks.check("intercom: HEAD", 200 <= answer.status < 300, answer)


def is_text(answer, text):
    media = answer.get("content-type") or ""
    return answer.status == 200 and answer.body == text.encode() and media.startswith("text/plain")


def signed_handshake(checks, server, provider, body, headers, is_right, needs_signature=True):
    """A good one, the same again, and bad signatures."""

    def make(**options):
        message = provider.message(server.url, body=body, **options)
        return message.with_(headers=message.headers + headers)

    message = make()
    for _ in range(2):
        answer = server.send(message)
        checks.check(f"{provider.name}: handshake", is_right(answer) and answer.get("x-replayed") is None, answer)
    answer = server.send(make(secret=provider.retired))
    checks.check(f"{provider.name}: handshake with the retired secret", is_right(answer), answer)
    if needs_signature:
        checks.status(f"{provider.name}: handshake, unsigned", server, make().with_(signature=None), 401)
    checks.status(f"{provider.name}: handshake, wrong secret", server, make(secret=provider.wrong), 401)
    checks.status(f"{provider.name}: handshake, twice the header", server, make().twice(), 401)
    if provider.tolerance is not None:
        checks.status(f"{provider.name}: handshake, old", server, make(age=provider.tolerance + 3), 401)


def slack(checks, server):
    challenge = "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"
    body = json.dumps({"token": "Jhj5dZrVaK7ZwHHjRyZWjbDl", "challenge": challenge, "type": "url_verification"})
    signed_handshake(checks, server, BY_NAME["slack"], body.encode(), [], lambda answer: is_text(answer, challenge))


def zoom(checks, server):
    provider = BY_NAME["zoom"]

    def body(token):
        return json.dumps({"payload": {"plainToken": token}, "event_ts": 1654503849680,
                           "event": "endpoint.url_validation"}).encode()

    token = "qgg8vlvZRS6UYooatFL8Aw"
    right = {"plainToken": token, "encryptedToken": hex_mac(provider.current, token.encode())}
    signed_handshake(checks, server, provider, body(token), [],
                     lambda answer: answer.status == 200 and answer.json() == right, needs_signature=False)
    answer = server.send(provider.message(server.url, body=body(token)).with_(signature=None))
    checks.check("zoom: handshake, unsigned", answer.status == 200 and answer.json() == right, answer)
    # The answer has to be no signature of an event.
    for forged in (f'v0:{int(time.time())}:{{"event":"x"}}', "a:b", "{}", "", "a b", "é", "a" * 5000):
        mac = hex_mac(provider.current, forged.encode()).encode()
        answer = server.send(provider.message(server.url, body=body(forged)).with_(signature=None))
        checks.check(f"zoom: token {forged[:30]!r}", 400 <= answer.status < 500 and mac not in answer.body, answer)


def twitch(checks, server):
    challenge = "pogchamp-kappa-360noscope-vohiyo"
    body = json.dumps({"challenge": challenge, "subscription": {"type": "channel.follow"}}).encode()
    provider, kind = BY_NAME["twitch"], "Twitch-Eventsub-Message-Type"
    signed_handshake(checks, server, provider, body, [(kind, "webhook_callback_verification")],
                     lambda answer: is_text(answer, challenge))
    for name in ("notification", "revocation"):
        message = provider.message(server.url)
        message.headers.append((kind, name))
        checks.status(f"twitch: {name}", server, message, 200)


def discord(checks, server):
    provider = BY_NAME["discord"]
    signed_handshake(checks, server, provider, b'{"id":"1","application_id":"2","type":1,"version":1}', [],
                     lambda answer: answer.status == 200 and answer.json() == {"type": 1})
    signed_handshake(checks, server, provider, b'{"version":1,"application_id":"1","type":0}', [],
                     lambda answer: answer.status == 204 and answer.body == b"")
    event = b'{"version":1,"application_id":"1","type":1,"event":{"type":"APPLICATION_AUTHORIZED","data":{}}}'
    answer = checks.status("discord: a webhook event", server, provider.message(server.url, body=event), 200, 204)
    checks.check("discord: a webhook event is no PING", answer.json() != {"type": 1}, answer)


def meta(checks, server):
    challenge = "1158201444"

    def ask(mode="subscribe", token="verify-me", challenge=challenge, more=""):
        target = f"/meta?hub.mode={mode}&hub.verify_token={token}&hub.challenge={challenge}{more}"
        return server.request("GET", target)

    answer = ask()
    checks.check("meta: handshake", is_text(answer, challenge), answer)
    other = server.request("GET", f"/meta?hub.challenge={challenge}&hub.verify_token=verify-me&hub.mode=subscribe")
    checks.check("meta: handshake in another order", is_text(other, challenge), other)
    for answer in (ask(token="wrong"), ask(token=""), ask(mode="unsubscribe"), ask(mode=""),
                   ask(more="&hub.verify_token=verify-me"), ask(more="&hub.challenge=2"),
                   server.request("GET", "/meta"), server.request("GET", f"/meta?hub.challenge={challenge}")):
        is_refused = 400 <= answer.status < 500 and challenge.encode() not in answer.body
        checks.check("meta: bad handshake", is_refused, answer)
    no_markup(checks, "meta", ask(challenge=quote("<script>alert(1)</script>")))


def dropbox(checks, server):
    answer = server.request("GET", "/dropbox?challenge=abc-123_X")
    checks.check("dropbox: handshake", is_text(answer, "abc-123_X"), answer)
    checks.check("dropbox: X-Content-Type-Options: nosniff", answer.get("x-content-type-options") == "nosniff", answer)
    for target in ("/dropbox", "/dropbox?challenge=", "/dropbox?challenge=a&challenge=b", "/dropbox?challenge=%ff"):
        answer = server.request("GET", target)
        checks.check("dropbox: bad handshake", 400 <= answer.status < 500, f"GET {target}: {answer}")
    no_markup(checks, "dropbox", server.request("GET", "/dropbox?challenge=" + quote("<script>alert(1)</script>")))


def no_markup(checks, name, answer):
    is_safe = 400 <= answer.status < 500 or answer.get("x-content-type-options") == "nosniff"
    checks.check(f"{name}: markup in a challenge", is_safe and "html" not in (answer.get("content-type") or ""), answer)
