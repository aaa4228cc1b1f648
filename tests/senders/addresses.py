"""The signed addresses: PUBLIC_URL, then path and query as they came."""

from providers import BY_NAME, JSON, base64_mac


def addresses(checks, server):
    for provider in (BY_NAME["square"], BY_NAME["hubspot"], BY_NAME["twilio"]):
        name, slug = provider.name, provider.slug
        for query in ("", "?", "?a=1&b=2", "?b=2&a=1&&", "?x=%2F%3a%20%26+%C3%A9", "?q=a/b?c", "?a=%zz%",
                      "?u=https%3A%2F%2Fa.example%2Fb%3Fc%3D1%23d", "?%21%24%27%28%29%2A%2C%3B%40%25253A"):
            message = provider.message(server.url, target=f"/{slug}{query}")
            checks.status(f"{name}: query {query}", server, message, 200)
        message = provider.message(server.url)
        for target in (f"/{slug}?a=1", f"/{slug}?"):
            checks.status(f"{name}: another query", server, message.with_(target=target), 401)
        message = provider.message(server.url)
        checks.status(f"{name}: the whole address in the first line", server, message.with_(target=message.url), 200)
        message = provider.message(server.url)
        message.headers += [("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Proto", "http"),
                            ("Forwarded", "host=evil.example;proto=http"), ("X-Original-URL", "/evil")]
        checks.status(f"{name}: X-Forwarded-Host", server, message, 200)
        for url in ("http://hooks.example.com", "https://evil.example", "https://HOOKS.example.com",
                    "https://hooks.example.com:8443", "https://hooks.example.com/"):
            checks.status(f"{name}: signed for {url}", server, provider.message(url), 401)
    twilio(checks, server)
    hubspot = BY_NAME["hubspot"]
    message = hubspot.message(server.url)
    message.signature = hubspot.sign(hubspot.current, message.with_(method="PUT"))
    checks.status("hubspot: signed for PUT", server, message, 401)


def twilio(checks, server):
    provider, json_provider = BY_NAME["twilio"], BY_NAME["twilio, JSON"]
    default = provider.message(server.url + ":443")
    checks.status("twilio: with the default port", server, default, 200)
    for body in ("", "A=1", "b=2&a=1&B=3&a=1&a=0", "A=%2B+%26%3D%25", "A=%C3%A9&%C3%A9=x", "A&B=", "A=1&&B=2",
                 "a.b=1&a-b=2&aB=3&a_b=4&a1=5", "=x&y="):
        message = provider.message(server.url, body=body.encode())
        checks.status(f"twilio: form {body}", server, message, 200)
        typed = provider.message(server.url, body=body.encode() + b"&T=1")
        typed.media = "Application/X-WWW-Form-URLEncoded; charset=UTF-8"
        checks.status(f"twilio: form {body}, with a charset", server, typed, 200)
    # Values of one name are sorted, and equal ones are there once.
    message = provider.message(server.url, body=b"A=2&A=1&A=2")
    message.signature = base64_mac(provider.current, (message.url + "A1A2").encode(), "sha1")
    checks.status("twilio: a parameter with several values", server, message, 200)
    for body in (b"a=%ff", b"%", b"&".join(b"a%d=1" % number for number in range(20_000))):
        checks.never_5xx("twilio: odd form", server, provider.message(server.url, body=b"a=1").with_(body=body))
    for body in (b'{"a":1}', b"", b"\xff\xfe\0", b"a=1&b=2"):
        message = json_provider.message(server.url, body=body)
        checks.status(f"twilio: JSON {body!r}", server, message, 200)
        if body:
            other = message.with_(body=body + b"x")
            checks.status(f"twilio: JSON {body!r}, tampered", server, other, 401)
    message = json_provider.message(server.url)
    path, digest = message.target.split("=")
    capitals = message.with_(target=f"{path}={digest.upper()}")
    checks.status("twilio: the digest in capitals, which is another address", server, capitals, 401)
    answer = server.send(provider.message(server.url, body=b"").with_(media=JSON, body=b'{"evil":1}'))
    covers = (answer.json() or {}).get("covers") or []
    checks.check("twilio: JSON without a digest is not said to be covered",
                 answer.status in (200, 401) and "body" not in covers, answer)
    # A form cannot be moved into a type whose parameters are not signed.
    form = provider.message(server.url)
    checks.status("twilio: a form under another type", server, form.with_(media="text/plain"), 401)
    for target in (f"/twilio?bodySHA256=00&bodySHA256={digest}", f"/twilio?bodySHA256={digest}&bodySHA256=00",
                   "/twilio?bodySHA256=00"):
        other = message.with_(target=target, url=server.url + target)
        other.signature = json_provider.sign(json_provider.current, other)
        checks.status("twilio: another digest, or two", server, other, 401)
