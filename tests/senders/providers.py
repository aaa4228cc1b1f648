"""What each provider sends, written from its own page: the signed bytes, the headers and the body of a delivery."""

import base64
import hashlib
import hmac
import itertools
import json
import secrets
import time as clock
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Callable, Optional
from urllib.parse import parse_qsl, urlencode

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from nacl.signing import SigningKey

JSON, FORM = "application/json", "application/x-www-form-urlencoded"


@dataclass
class Message:
    """A delivery. `signature` is the value of the header `header`."""

    provider: "Provider"
    target: str
    url: str
    body: bytes
    id: str
    stamp: str
    media: str = JSON
    method: str = "POST"
    header: str = ""
    signature: Optional[str] = None
    headers: list = field(default_factory=list)

    def lines(self):
        signature = [] if self.signature is None or not self.header else [(self.header, self.signature)]
        return [("Content-Type", self.media)] + self.headers + signature

    def with_(self, **changes):
        return replace(self, **changes)

    def twice(self):
        """The same message with its signature header twice."""
        return self.with_(headers=self.headers + [(self.header, self.signature)])


def literal():
    return secrets.token_hex(20)


def standard():
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


class Ed25519:
    def __init__(self):
        self.key = SigningKey.generate()

    def __str__(self):
        return self.key.verify_key.encode().hex()


class Ecdsa:
    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())

    def __str__(self):
        public = self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(public).decode()


def mac(secret, data, name="sha256"):
    key = secret if isinstance(secret, bytes) else str(secret).encode()
    return hmac.new(key, data, name).digest()


def base64_mac(secret, data, name="sha256"):
    return base64.b64encode(mac(secret, data, name)).decode()


@dataclass
class Provider:
    """`covers`, `signed_id` and `signed_event` are what an answer has to say of a good delivery."""

    name: str
    # The signature header, and its value: a function of the secret and the message.
    header: str
    sign: Callable[[object, Message], str]
    body: Callable[[str, int], bytes]
    covers: list
    # The header of the time, in which unit it is, and how old or new it may be, in seconds.
    time: Optional[str] = None
    unit: str = "s"
    tolerance: Optional[int] = None
    # The header fields of the id and the event, if they are not in the body.
    id: Optional[str] = None
    event_header: Optional[str] = None
    event: Optional[str] = None
    has_id: bool = True
    signed_id: bool = False
    signed_event: bool = False
    # What separates signatures, where the scheme is a list.
    separator: Optional[str] = None
    encoding: Optional[str] = "hex"
    media: str = JSON
    new_secret: Callable[[], object] = literal
    slug: str = ""
    variant: str = ""
    query: Callable[[bytes], str] = lambda body: ""

    def __post_init__(self):
        self.slug = self.slug or self.name
        self.current, self.retired, self.wrong = (self.new_secret() for _ in range(3))

    @property
    def variable(self):
        return self.slug.upper().replace("-", "_") + "_SECRET"

    def stamp_of(self, seconds):
        if self.unit == "ms":
            return str(seconds * 1000)
        if self.unit == "rfc3339":
            return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.123456789Z")
        return str(seconds)

    def message(self, public_url, secret=None, *, body=None, age=0, id=None, stamp=None, target=None, sign=None):
        """A good message, signed `age` seconds ago, by hand or with `sign`."""
        now = int(clock.time()) - age
        id = id or f"delivery-{next(COUNTER)}"
        stamp = self.stamp_of(now) if stamp is None else stamp
        body = self.body(id, now) if body is None else body
        target = (target or f"/{self.slug}") + self.query(body)
        message = Message(self, target, public_url + target, body, id, stamp, self.media, header=self.header)
        for name, value in ((self.time, stamp), (self.id, id), (self.event_header, self.event)):
            if name is not None:
                message.headers.append((name, value))
        message.signature = (sign or self.sign)(secret or self.current, message)
        return message

    def expected(self, message):
        return {
            "covers": self.covers,
            "id": message.id if self.has_id else None,
            "event": self.event,
            "signed": {"id": self.signed_id, "event": self.signed_event},
        }

    def tampered(self, message):
        """The message with another body of the same shape."""
        if self.name == "mailgun":
            return message.with_(body=message.body.replace(b'"token": "', b'"token": "x'))
        changed = b"&a=x" if self.media == FORM else b" "
        return message.with_(body=message.body + changed)


COUNTER = itertools.count(1)


def as_json(**members):
    return json.dumps(members).encode()


def body_signed(form):
    """A signature over the body alone."""
    return lambda secret, message: form(secret, message.body)


def hex_mac(secret, data, name="sha256"):
    return mac(secret, data, name).hex()


def prefixed(prefix, form=hex_mac):
    return lambda secret, data: prefix + form(secret, data)


def stripe(secret, message):
    signed = message.stamp.encode() + b"." + message.body
    return f"t={message.stamp},v1={hex_mac(secret, signed)}"


def version_0(secret, message):
    return "v0=" + hex_mac(secret, b"v0:" + message.stamp.encode() + b":" + message.body)


def standard_webhooks(secret, message):
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "v1," + base64_mac(key, f"{message.id}.{message.stamp}.".encode() + message.body)


def paddle(secret, message):
    signed = message.stamp.encode() + b":" + message.body
    return f"ts={message.stamp};h1={hex_mac(secret, signed)}"


def twitch(secret, message):
    return "sha256=" + hex_mac(secret, (message.id + message.stamp).encode() + message.body)


def square(secret, message):
    return base64_mac(secret, message.url.encode() + message.body)


# "Decode any of the URL-encoded characters present in the URI using the mappings below".
HUBSPOT = {"%3A": ":", "%2F": "/", "%3F": "?", "%40": "@", "%21": "!", "%24": "$", "%27": "'", "%28": "(",
           "%29": ")", "%2A": "*", "%2C": ",", "%3B": ";"}


def hubspot(secret, message):
    url = message.url
    for encoded, char in HUBSPOT.items():
        url = url.replace(encoded, char).replace(encoded.lower(), char)
    signed = message.method.encode() + url.encode() + message.body + message.stamp.encode()
    return base64_mac(secret, signed)


def mailgun(secret, message):
    """Mailgun signs in the body: this fills the place of the signature."""
    signature = hex_mac(secret, (message.stamp + message.id).encode())
    message.body = message.body.replace(b"STAMP", message.stamp.encode()).replace(b"SIGNATURE", signature.encode())
    return signature


def parameters(body):
    """The parameters of a form, as Twilio's page sorts them."""
    pairs = parse_qsl(body.decode(), keep_blank_values=True)
    return "".join(name + value for name, value in sorted(set(pairs)))


def twilio_form(secret, message):
    return base64_mac(secret, (message.url + parameters(message.body)).encode(), "sha1")


def twilio_json(secret, message):
    return base64_mac(secret, message.url.encode(), "sha1")


def jac(secret, message):
    return "sha256=" + hex_mac(secret, message.stamp.encode() + b"." + message.body)


def discord(secret, message):
    return secret.key.sign(message.stamp.encode() + message.body).signature.hex()


def sendgrid(secret, message):
    signed = message.stamp.encode() + message.body
    return base64.b64encode(secret.key.sign(signed, ec.ECDSA(hashes.SHA256()))).decode()


BODY, TIMED = ["body"], ["body", "timestamp"]
IN_BODY = {"signed_id": True, "signed_event": True}
WITHOUT_ID = {"has_id": False, "signed_event": True}
STANDARD = dict(
    sign=standard_webhooks, body=lambda id, now: as_json(type="invoice.paid", data={}), tolerance=300,
    covers=["body", "timestamp", "id"], encoding="base64", new_secret=standard, separator=" ", signed_id=True)

PROVIDERS = [
    Provider(
        "github", "X-Hub-Signature-256", body_signed(prefixed("sha256=")), lambda id, now: as_json(ref=id), BODY,
        id="X-GitHub-Delivery", event_header="X-GitHub-Event", event="push"),
    Provider(
        "gitlab", "X-Gitlab-Token", lambda secret, message: secret, lambda id, now: as_json(ref=id), [],
        id="X-Gitlab-Event-UUID", event_header="X-Gitlab-Event", event="Push Hook", encoding=None),
    Provider(
        "gitlab, signed", "webhook-signature", slug="gitlab", variant="standard", time="webhook-timestamp",
        id="webhook-id", event_header="X-Gitlab-Event", event="Push Hook", **STANDARD),
    Provider(
        "stripe", "Stripe-Signature", stripe, lambda id, now: as_json(id=id, object="event", type="charge.succeeded"),
        TIMED, tolerance=300, event="charge.succeeded", separator=",", new_secret=lambda: "whsec_" + literal(),
        **IN_BODY),
    Provider(
        "slack", "X-Slack-Signature", version_0,
        lambda id, now: as_json(type="event_callback", event_id=id, event={"type": "app_mention"}), TIMED,
        time="X-Slack-Request-Timestamp", tolerance=300, event="app_mention", **IN_BODY),
    Provider(
        "standard-webhooks", "webhook-signature", time="webhook-timestamp", id="webhook-id", event="invoice.paid",
        signed_event=True, **STANDARD),
    Provider(
        "svix", "svix-signature", time="svix-timestamp", id="svix-id", event="invoice.paid", signed_event=True,
        **STANDARD),
    Provider(
        "shopify", "X-Shopify-Hmac-Sha256", body_signed(base64_mac), lambda id, now: as_json(order=id), BODY,
        id="X-Shopify-Webhook-Id", event_header="X-Shopify-Topic", event="orders/create", encoding="base64"),
    Provider(
        "pagerduty", "X-PagerDuty-Signature", body_signed(prefixed("v1=")),
        lambda id, now: as_json(event={"id": id, "event_type": "incident.triggered"}), BODY,
        event="incident.triggered", separator=",", **IN_BODY),
    Provider(
        "zoom", "x-zm-signature", version_0, lambda id, now: as_json(event="meeting.started", payload={"a": id}),
        TIMED, time="x-zm-request-timestamp", tolerance=300, event="meeting.started", **WITHOUT_ID),
    Provider(
        "linear", "Linear-Signature", body_signed(hex_mac),
        lambda id, now: as_json(action="create", type="Issue", data=id, webhookTimestamp=now * 1000), BODY,
        id="Linear-Delivery", tolerance=60, event="Issue", signed_event=True),
    Provider(
        "sentry", "Sentry-Hook-Signature", body_signed(hex_mac), lambda id, now: as_json(action="created", data=id),
        BODY, id="Request-ID", event_header="Sentry-Hook-Resource", event="issue"),
    Provider(
        "paddle", "Paddle-Signature", paddle, lambda id, now: as_json(event_id=id, event_type="transaction.paid"),
        TIMED, tolerance=5, event="transaction.paid", separator=";", **IN_BODY),
    Provider(
        "twitch", "Twitch-Eventsub-Message-Signature", twitch,
        lambda id, now: as_json(subscription={"type": "stream.online"}, event={}), ["body", "timestamp", "id"],
        time="Twitch-Eventsub-Message-Timestamp", unit="rfc3339", tolerance=600, id="Twitch-Eventsub-Message-Id",
        event="stream.online", **IN_BODY),
    Provider(
        "jira", "X-Hub-Signature", body_signed(prefixed("sha256=")),
        lambda id, now: as_json(webhookEvent="jira:issue_created", issue=id), BODY,
        id="X-Atlassian-Webhook-Identifier", event="jira:issue_created", signed_event=True),
    Provider(
        "gitea", "X-Gitea-Signature", body_signed(hex_mac), lambda id, now: as_json(ref=id), BODY,
        id="X-Gitea-Delivery", event_header="X-Gitea-Event", event="push"),
    Provider(
        "docusign", "X-DocuSign-Signature-1", body_signed(base64_mac),
        lambda id, now: as_json(event="envelope-completed", data={"envelopeId": id}), BODY,
        event="envelope-completed", encoding="base64", **WITHOUT_ID),
    Provider(
        "square", "x-square-hmacsha256-signature", square,
        lambda id, now: as_json(event_id=id, type="payment.created"), ["body", "url"], event="payment.created",
        encoding="base64", **IN_BODY),
    Provider(
        "hubspot", "X-HubSpot-Signature-v3", hubspot,
        lambda id, now: json.dumps([{"eventId": id, "subscriptionType": "contact.creation"}]).encode(),
        ["body", "timestamp", "url", "method"], time="X-HubSpot-Request-Timestamp", unit="ms", tolerance=300,
        event="contact.creation", encoding="base64", **IN_BODY),
    Provider(
        "mailgun", "", mailgun,
        lambda id, now: json.dumps({"signature": {"timestamp": "STAMP", "token": id, "signature": "SIGNATURE"},
                                    "event-data": {"event": "opened"}}).encode(),
        ["timestamp", "id"], tolerance=300, event="opened", signed_id=True),
    Provider(
        "meta", "X-Hub-Signature-256", body_signed(prefixed("sha256=")),
        lambda id, now: as_json(object="page", entry=[{"id": id}]), BODY, event="page", **WITHOUT_ID),
    Provider(
        "dropbox", "X-Dropbox-Signature", body_signed(hex_mac),
        lambda id, now: as_json(list_folder={"accounts": [id]}), BODY, has_id=False),
    Provider(
        "intercom", "X-Hub-Signature",
        body_signed(lambda secret, data: "sha1=" + hex_mac(secret, data, "sha1")),
        lambda id, now: as_json(type="notification_event", id=id, topic="user.created"), BODY, event="user.created",
        **IN_BODY),
    Provider(
        "twilio", "X-Twilio-Signature", twilio_form,
        lambda id, now: urlencode({"CallSid": id, "Body": "a b+c&d=é", "Empty": ""}).encode(),
        ["url", "parameters"], id="I-Twilio-Idempotency-Token", encoding="base64", media=FORM),
    Provider(
        "twilio, JSON", "X-Twilio-Signature", twilio_json, lambda id, now: as_json(sid=id), ["body", "url"],
        slug="twilio", id="I-Twilio-Idempotency-Token", encoding="base64",
        query=lambda body: "?bodySHA256=" + hashlib.sha256(body).hexdigest()),
    Provider(
        "jac", "X-Webhook-Signature", jac, lambda id, now: as_json(n=id), TIMED, time="X-Webhook-Timestamp",
        tolerance=300, has_id=False),
    Provider(
        "discord", "X-Signature-Ed25519", discord, lambda id, now: as_json(id=id, type=2), TIMED,
        time="X-Signature-Timestamp", event="2", new_secret=Ed25519, **IN_BODY),
    Provider(
        "sendgrid", "X-Twilio-Email-Event-Webhook-Signature", sendgrid,
        lambda id, now: json.dumps([{"sg_event_id": id, "event": "delivered"}]).encode() + b"\r\n", TIMED,
        time="X-Twilio-Email-Event-Webhook-Timestamp", tolerance=300, event="delivered", encoding="base64",
        new_secret=Ecdsa, **IN_BODY),
]
BY_NAME = {provider.name: provider for provider in PROVIDERS}
BY_NAME["twilio, JSON"].current, BY_NAME["twilio, JSON"].retired = (
    BY_NAME["twilio"].current, BY_NAME["twilio"].retired)


def variables(public_url=None, variant=""):
    """The environment of a server that takes them all: the new secret and the retired one."""
    found = {"META_VERIFY_TOKEN": "verify-me"}
    for provider in PROVIDERS:
        if provider.variant == variant or provider.slug != "gitlab":
            found[provider.variable] = f"{provider.current} {provider.retired}"
    if variant:
        found["GITLAB_MODE"] = variant
    if public_url:
        found["PUBLIC_URL"] = public_url
    return found
