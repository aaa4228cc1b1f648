"""What `examples/providers` answers to good and bad signatures. All are made by hand, as in `providers.py`."""

import json
import re
import time
from urllib.parse import urlencode

from providers import BY_NAME, FORM, JSON, PROVIDERS, base64_mac, hex_mac


def changed(signature):
    """The same text with another last digit in it."""
    position = max(index for index, char in enumerate(signature) if char.isalnum()) - 3
    other = "0" if signature[position] != "0" else "1"
    return signature[:position] + other + signature[position + 1:]


def deliveries(checks, server, provider):
    """Good and bad messages of one provider."""
    name, make = provider.name, lambda **options: provider.message(server.url, **options)
    message = make()
    answer = checks.status(f"{name}: good", server, message, 200)
    checks.check(f"{name}: what is known", answer.json() == provider.expected(message),
                 f"{answer}, expected {provider.expected(message)}")
    checks.check(f"{name}: a first answer is no replay", not answer.is_replayed, answer)
    again = server.send(message)
    checks.check(f"{name}: the same message again", again.status == 200 and again.body == answer.body
                 and again.is_replayed == bool(provider.covers), again)
    covers_content = {"body", "parameters"} & set(provider.covers) or name == "mailgun"
    checks.status(f"{name}: tampered", server, provider.tampered(make()), 401 if covers_content else 200)
    checks.status(f"{name}: retired secret", server, make(secret=provider.retired), 200)
    checks.status(f"{name}: wrong secret", server, make(secret=provider.wrong), 401)
    if provider.tolerance is not None:
        for age in (provider.tolerance + 2, -provider.tolerance - 3, 10**8, -10**8):
            checks.status(f"{name}: {age} s old", server, make(age=age), 401)
        for age in (provider.tolerance - 3, 2 - provider.tolerance):
            checks.status(f"{name}: {age} s old", server, make(age=age), 200)
    else:
        checks.status(f"{name}: no time is compared", server, make(age=10**8), 200)
    if provider.header:
        header_fields(checks, server, provider, make)


def header_fields(checks, server, provider, make):
    """The signature header: absent, repeated, malformed, in other letters."""
    name = provider.name
    checks.status(f"{name}: no signature", server, make().with_(signature=None), 401)
    for message in (make(), make(secret=provider.wrong)):
        checks.status(f"{name}: signature header twice", server, message.twice(), 401)
    good, bad = make(), make(secret=provider.wrong)
    both = good.with_(headers=good.headers + [(provider.header, bad.signature)])
    checks.status(f"{name}: a good signature header and a bad one", server, both, 401)
    message = make()
    for text in ("", "x", "=", ",", "v1", "v1=", "v1,", "sha256=", "t=", "a" * 5000, "\xff\xfe",
                 message.signature[:-4], message.signature + "00", changed(message.signature),
                 "x" + message.signature):
        checks.status(f"{name}: signature {text[:80]!r}", server, message.with_(signature=text), 401)
    if provider.separator is None:
        good = make()
        for joined in (f"{good.signature},{good.signature}", f"{good.signature}, x", f"x,{good.signature}"):
            checks.status(f"{name}: joined signatures", server, good.with_(signature=joined), 401)
    if provider.time is not None:
        good = make()
        twice = good.with_(headers=good.headers + [(provider.time, good.stamp)])
        checks.status(f"{name}: time twice", server, twice, 401)
        without = [(key, value) for key, value in good.headers if key != provider.time]
        checks.status(f"{name}: no time", server, good.with_(headers=without), 401)
        odd_times(checks, server, provider, make)
    if provider.encoding == "hex":
        one_signature_in_other_letters(checks, server, provider, make())
    if provider.encoding == "base64":
        other_base64(checks, server, provider, make())
    if "body" in provider.covers and provider.name not in ("linear", "twilio, JSON"):
        bodies(checks, server, provider, make)


def odd_times(checks, server, provider, make):
    """Times that are signed, and are no plain digits, or no RFC 3339."""
    now = provider.stamp_of(int(time.time()))
    texts = ["", "0", "-1", "+" + now, "0" + now, now + ".0", now + " 1", "1e9", "x", "٣", "9223372036854775807",
             "9223372036854775808", "-9223372036854775808", "9" * 40, "253402300800", "253402300800000"]
    if provider.unit == "rfc3339":
        texts += [str(int(time.time())), "9999-12-31T23:59:59Z", "0000-01-01T00:00:00Z", now[:-1], now[:10],
                  "2026-13-40T25:61:61Z", "+262143-12-31T23:59:59Z"]
    for text in texts:
        value = text.encode().decode("latin-1")
        message = make(stamp=text)
        message.headers = [(key, value if key == provider.time else kept) for key, kept in message.headers]
        is_plain = text.isascii() and text.isdigit() and (text == "0" or text[0] != "0")
        if provider.tolerance is None and is_plain:
            checks.never_5xx(f"{provider.name}: time {text!r}", server, message)
        else:
            checks.status(f"{provider.name}: time {text!r}", server, message, 401)


def one_signature_in_other_letters(checks, server, provider, message):
    """Hex is compared without regard to case, and other letters make no other delivery."""
    upper = re.sub("[0-9a-f]{40,}", lambda found: found[0].upper(), message.signature)
    checks.status(f"{provider.name}: signature in capitals", server, message.with_(signature=upper), 200)
    answer = server.send(message)
    checks.check(f"{provider.name}: and in small letters it is a replay", answer.is_replayed, answer)


def other_base64(checks, server, provider, message):
    """Other texts of the same bytes are refused or the same delivery."""
    checks.status(f"{provider.name}: before other base64", server, message, 200)
    head, text = message.signature[:3] if "," in message.signature[:4] else "", message.signature
    text = text.removeprefix(head)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = text.rstrip("=")[-1]
    spare = text.rstrip("=")[:-1] + alphabet[alphabet.index(last) ^ 1] + "=" * text.count("=")
    variants = [text.rstrip("="), text + "=", text[:8] + "\t" + text[8:], text.replace("+", "-").replace("/", "_")]
    if text.endswith("="):
        variants.append(spare)
    for variant in variants:
        if variant != text:
            answer = checks.status(
                f"{provider.name}: base64 {variant!r}", server, message.with_(signature=head + variant), 200, 401)
            checks.check(f"{provider.name}: base64 {variant!r} is no other delivery",
                         answer.status == 401 or answer.is_replayed, answer)


def bodies(checks, server, provider, make):
    """A body is bytes of any kind, under every content type."""
    for body, media in ((b"\xff\xfe\0", JSON), (b'{"a":1,"a":2', JSON), (b"%ff=%", FORM), (b"[" * 5000, JSON),
                        (b"\x1f\x8b\x08", "image/png"), (b"--x", "multipart/form-data"), (b"", JSON),
                        (b'\xef\xbb\xbf{"a":1}', "application/json; charset=utf-16"), (b"x", "not a type")):
        message = make(body=body).with_(media=media)
        checks.status(f"{provider.name}: body {body[:20]!r}, {media}", server, message, 200)


def lists(checks, server):
    """One good signature of several is enough, where the scheme is a list."""
    for provider in PROVIDERS:
        separator = provider.separator
        if separator is None or provider.variant:
            continue
        good = provider.message(server.url)
        values = good.signature.split(separator)
        first, value = (values[:1], values[1]) if len(values) == 2 else ([], values[0])
        bad = changed(value)
        other = {" ": "v2,AAAA", ",": "v0=00", ";": "h2=00"}[separator]
        for items, status in (([value, bad], 200), ([bad, value], 200), ([bad, bad], 401), ([other, value], 200),
                              ([value, other], 200), ([other], 401), ([bad] * 15 + [value], 200),
                              ([value, value], 200), (["", value], 200), ([bad] * 5000, 401)):
            signature = separator.join(first + items)
            answer = checks.status(f"{provider.name}: list {signature[:200]}", server,
                                   good.with_(signature=signature), status)
        answer = server.send(good.with_(signature=separator.join(first + [bad, value])))
        checks.check(f"{provider.name}: another order of a list is no other delivery", answer.is_replayed, answer)
        if first:
            for times in (first * 2, first + [first[0][:-1] + "0"], []):
                message = good.with_(signature=separator.join(times + [value]))
                checks.status(f"{provider.name}: times {times}", server, message, 401)
            swapped = good.with_(signature=separator.join([value] + first))
            checks.status(f"{provider.name}: the time behind", server, swapped, 200)
            for text in ("+1", "01", "9223372036854775807", "9223372036854775808", "-1", "", "1.5", "x",
                         "+" + good.stamp, "0" + good.stamp):
                message = provider.message(server.url, stamp=text)
                checks.status(f"{provider.name}: time {text!r}", server, message, 401)

    docusign = BY_NAME["docusign"]
    good, bad = docusign.message(server.url), docusign.message(server.url, secret=docusign.wrong)
    second = "X-DocuSign-Signature-2"
    for first, other, status in ((good, bad, 200), (bad, good, 200), (bad, bad, 401)):
        body = good.body if good in (first, other) else bad.body
        message = first.with_(headers=[(second, other.signature)], body=body)
        answer = checks.status("docusign: a header for each key", server, message, status)
    answer = server.send(good)
    checks.check("docusign: the other header is no other delivery", answer.is_replayed, answer)
    message = bad.with_(headers=[(second, good.signature), (second, good.signature)], body=good.body)
    checks.status("docusign: the second header twice", server, message, 401)


def replays(checks, server):
    """A signed id makes a delivery, and an unsigned one does not."""
    for provider in PROVIDERS:
        if provider.variant or not provider.covers:
            continue
        id = f"again-{provider.slug}-{provider.name[-4:]}"
        body = provider.body(id, int(time.time()))
        first = server.send(provider.message(server.url, id=id, body=body))
        checks.check(f"{provider.name}: first", first.status == 200 and not first.is_replayed, first)
        if provider.signed_id and provider.tolerance is not None:
            later = server.send(provider.message(server.url, id=id, body=body, age=1))
            checks.check(f"{provider.name}: a signed id with another time", later.is_replayed, later)
        if provider.id and not provider.signed_id:
            other = provider.message(server.url, id=id, body=body)
            other.headers = [(name, "other" if name == provider.id else value) for name, value in other.headers]
            answer = server.send(other)
            checks.check(f"{provider.name}: an unsigned id is no other delivery", answer.is_replayed, answer)
    # A list of events has no id of its own. SendGrid sends an event again in front of others.
    for name in ("sendgrid", "hubspot"):
        provider = BY_NAME[name]
        message = provider.message(server.url)
        server.send(message)
        longer = json.dumps(json.loads(message.body) * 2).encode()
        answer = server.send(provider.message(server.url, body=longer))
        checks.check(f"{name}: a longer list that begins with the same event is another delivery",
                     answer.status == 200 and not answer.is_replayed, answer)
    server.send(BY_NAME["stripe"].message(server.url, id="shared"))
    answer = server.send(BY_NAME["paddle"].message(server.url, id="shared"))
    checks.check("the same id of another provider", answer.status == 200 and not answer.is_replayed, answer)
    jac = BY_NAME["jac"]
    message = jac.message(server.url)
    server.send(message)
    answer = server.send(message.with_(signature=message.signature.removeprefix("sha256=")))
    checks.check("jac: without the prefix it is the same delivery", answer.is_replayed, answer)


def large(checks, server):
    """The id, the event and the time of a large delivery are found, such as those of 1,000 events of SendGrid."""
    event = {"email": "a@example.com", "timestamp": 1513299569, "ip": "192.0.2.1"}
    event |= {f"argument_{number}": "x" for number in range(20)}
    for name in ("stripe", "slack", "pagerduty", "linear", "paddle", "square", "hubspot", "sendgrid"):
        provider = BY_NAME[name]
        message = provider.message(server.url)
        body = json.loads(message.body)
        if isinstance(body, list):
            body += [event] * 1000
        else:
            body["more"] = [event] * 1000
        message = provider.message(server.url, id=message.id, body=json.dumps(body).encode())
        answer = checks.status(f"{name}: a body of {len(message.body)} bytes", server, message, 200)
        checks.check(f"{name}: what is known of {len(message.body)} bytes", answer.json() == provider.expected(message),
                     f"{answer}, expected {provider.expected(message)}")


def schemes(checks, server):
    """A scheme that is not the configured one."""
    github = BY_NAME["github"]
    message = github.message(server.url)
    sha1 = "sha1=" + hex_mac(github.current, message.body, "sha1")
    checks.status("github: sha1 in the header of sha256", server, message.with_(signature=sha1), 401)
    checks.status("github: sha1 alone", server, message.with_(header="X-Hub-Signature", signature=sha1), 401)
    beside = message.with_(headers=message.headers + [("X-Hub-Signature", sha1)])
    checks.status("github: sha1 beside, as GitHub sends it", server, beside, 200)
    sha256 = hex_mac(github.current, message.body)
    for text in (sha256, "SHA256=" + sha256, "sha256:" + sha256, "sha512=" + sha256, "sha256=sha256=" + sha256):
        checks.status(f"github: {text[:12]}", server, message.with_(signature=text), 401)
    for name, algorithm in (("intercom", "sha256"), ("jira", "sha1")):
        provider = BY_NAME[name]
        message = provider.message(server.url)
        other = f"{algorithm}=" + hex_mac(provider.current, message.body, algorithm)
        checks.status(f"{name}: {algorithm}", server, message.with_(signature=other), 401)
    message = BY_NAME["stripe"].message(server.url)
    checks.status("stripe: v0 alone", server, message.with_(signature=message.signature.replace("v1=", "v0=")), 401)


def forms_of_secrets(checks, server):
    """`whsec_` belongs to the secret of Stripe. That of Standard Webhooks is base64 behind it."""
    stripe, standard = BY_NAME["stripe"], BY_NAME["standard-webhooks"]
    message = stripe.message(server.url, secret=stripe.current.removeprefix("whsec_"))
    checks.status("stripe: the secret without whsec_", server, message, 401)
    message = standard.message(server.url)
    signed = f"{message.id}.{message.stamp}.".encode() + message.body
    signature = "v1," + base64_mac(standard.current, signed)
    checks.status("standard-webhooks: the text of the secret", server, message.with_(signature=signature), 401)
    # The libraries take an empty id for none.
    empty = standard.message(server.url, stamp=message.stamp)
    empty = empty.with_(id="", headers=[(name, "" if name == "webhook-id" else value) for name, value in empty.headers])
    empty.signature = standard.sign(standard.current, empty)
    checks.status("standard-webhooks: an empty id", server, empty, 401)
    for header in ("webhook-id", "webhook-timestamp"):
        other = [(name, value + "0" if name == header else value) for name, value in message.headers]
        checks.status(f"standard-webhooks: another {header}", server, message.with_(headers=other), 401)


def linear(checks, server):
    """The time is in the body."""
    provider, now = BY_NAME["linear"], int(time.time()) * 1000
    for text in (f'"+{now}"', f"{now}.5", f"{now}e0", f'"0{now}"', "null", "[]", "-1", "9223372036854775807",
                 "9223372036854775808", f'{now},"webhookTimestamp":1'):
        body = f'{{"type":"Issue","webhookTimestamp":{text}}}'.encode()
        checks.status(f"linear: time {text}", server, provider.message(server.url, body=body), 401)
    message = provider.message(server.url, age=3600)
    message.headers.append(("Linear-Timestamp", str(now)))
    checks.status("linear: the unsigned time of the header", server, message, 401)


def mailgun(checks, server):
    """Time, token and signature are in the body, which is JSON or a form."""
    provider = BY_NAME["mailgun"]
    for stamp in ("+1", "01", "9223372036854775807", "9223372036854775808", "", f"+{int(time.time())}"):
        checks.status(f"mailgun: time {stamp!r}", server, provider.message(server.url, stamp=stamp), 401)
    message = provider.message(server.url)
    signature = json.loads(message.body)["signature"]
    form = message.with_(body=urlencode(signature | {"event": "opened"}).encode(), media=FORM)
    answer = checks.status("mailgun: a form", server, form, 200)
    checks.check("mailgun: what is known of a form", answer.json() == provider.expected(message), answer)
    answer = server.send(message.with_(body=message.body.replace(b"opened", b"failed")))
    checks.check("mailgun: a used token with another event runs nothing", answer.is_replayed, answer)
    checks.status("mailgun: a form, the token twice", server, form.with_(body=form.body + b"&token=x"), 401)
    for body in (message.body.replace(b'"token"', b'"token": "x", "token"'), b"", b"{", b"[]", b'{"signature":1}',
                 b"\xff", b"[" * 100_000):
        checks.status(f"mailgun: body {body[:40]!r}", server, message.with_(body=body), 401)


def gitlab(checks, server, signed_server):
    """GitLab in both modes: neither takes what the other one needs."""
    token, signed = BY_NAME["gitlab"], BY_NAME["gitlab, signed"]
    checks.status("gitlab: a signature where a token is needed", server, signed.message(server.url), 401)
    checks.status("gitlab: a token where a signature is needed", signed_server, token.message(signed_server.url), 401)
    message = signed.message(signed_server.url)
    both = message.with_(headers=message.headers + [("X-Gitlab-Token", token.current)])
    checks.status("gitlab: a signature beside a token", signed_server, both, 200)
    for text in (token.current.upper(), token.current[:-1], token.current + "x", f"{token.current} {token.retired}"):
        checks.status("gitlab: another token", server, token.message(server.url).with_(signature=text), 401)
