"""The libraries of providers, from PyPI and npm: how each signs a message, or verifies one."""

import base64
import json
import logging
import subprocess
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Callable, Optional
from urllib.parse import parse_qs

import discord_interactions
import slack_sdk.signature
import standardwebhooks
import stripe
import svix.webhooks
import twilio.request_validator
from hubspot.utils.signature import Signature as HubSpotSignature
from paddle_billing.Notifications import Secret as PaddleSecret, Verifier as PaddleVerifier
from sendgrid.helpers.eventwebhook import EventWebhook
from square.utils.webhooks_helper import verify_signature as verify_square

logging.disable(logging.CRITICAL)


@dataclass
class Library:
    """`sign` gives the value of the signature header. Without it the message is signed by hand, and `verify` has the
    last word on it. `sees_old` and `sees_new`: whether `verify` compares the time with the clock."""

    name: str
    provider: str
    sign: Optional[Callable] = None
    verify: Optional[Callable] = None
    sees_old: bool = True
    sees_new: bool = True
    takes_bytes: bool = False


def holds(verify, *arguments, **options):
    """Whether a library that raises for a bad signature does not raise."""
    try:
        return verify(*arguments, **options) is not False
    except Exception:
        return False


def text(message):
    return message.body.decode()


def standard(name, provider, webhook, prefix):
    def sign(secret, message):
        time = datetime.fromtimestamp(int(message.stamp), timezone.utc)
        return webhook(secret).sign(message.id, time, text(message))

    def verify(secret, message):
        headers = {f"{prefix}-id": message.id, f"{prefix}-timestamp": message.stamp,
                   f"{prefix}-signature": message.signature}
        return holds(webhook(secret).verify, message.body, headers)

    return Library(name, provider, sign, verify)


def twilio_parameters(message):
    class Parameters(dict):
        getlist = dict.__getitem__

    return Parameters(parse_qs(text(message), keep_blank_values=True))


def twilio_of(secret):
    return twilio.request_validator.RequestValidator(secret)


def hubspot_arguments(secret, message):
    return dict(client_secret=secret, request_body=text(message), signature_version="v3", http_uri=message.url,
                http_method=message.method, timestamp=message.stamp)


def verify_paddle(secret, message):
    request = SimpleNamespace(headers={"Paddle-Signature": message.signature}, body=message.body)
    return PaddleVerifier().verify(request, PaddleSecret(secret))


def verify_discord(secret, message):
    with redirect_stdout(None):
        return discord_interactions.verify_key(message.body, message.signature, message.stamp, str(secret))


PYTHON = [
    standard("standardwebhooks", "standard-webhooks", standardwebhooks.Webhook, "webhook"),
    standard("standardwebhooks", "gitlab, signed", standardwebhooks.Webhook, "webhook"),
    standard("svix", "svix", svix.webhooks.Webhook, "svix"),
    Library(
        "stripe", "stripe",
        lambda secret, message: stripe.WebhookSignature.generate_signature_header(
            text(message), secret, int(message.stamp)),
        lambda secret, message: holds(
            stripe.WebhookSignature.verify_header, message.body, message.signature, secret, 300),
        sees_new=False),
    Library(
        "slack_sdk", "slack",
        lambda secret, message: slack_sdk.signature.SignatureVerifier(secret).generate_signature(
            timestamp=message.stamp, body=message.body),
        lambda secret, message: slack_sdk.signature.SignatureVerifier(secret).is_valid(
            message.body, message.stamp, message.signature)),
    Library(
        "twilio", "twilio",
        lambda secret, message: twilio_of(secret).compute_signature(message.url, twilio_parameters(message)),
        lambda secret, message: twilio_of(secret).validate(
            message.url, twilio_parameters(message), message.signature)),
    Library(
        "twilio", "twilio, JSON",
        lambda secret, message: twilio_of(secret).compute_signature(message.url, {}),
        lambda secret, message: twilio_of(secret).validate(message.url, text(message), message.signature)),
    Library(
        "squareup", "square",
        verify=lambda secret, message: verify_square(
            request_body=text(message), signature_header=message.signature, signature_key=secret,
            notification_url=message.url)),
    Library(
        "sendgrid", "sendgrid",
        verify=lambda secret, message: EventWebhook(str(secret)).verify_signature(
            text(message), message.signature, message.stamp),
        sees_old=False, sees_new=False),
    Library("discord-interactions", "discord", verify=verify_discord, takes_bytes=True),
    Library(
        "hubspot-api-client", "hubspot",
        lambda secret, message: HubSpotSignature.get_signature(**hubspot_arguments(secret, message)),
        lambda secret, message: holds(
            HubSpotSignature.is_valid, message.signature, **hubspot_arguments(secret, message)),
        sees_new=False),
    Library("paddle-python-sdk", "paddle", verify=verify_paddle),
]


class Node:
    """A process of `node.mjs` in the folder of the npm packages."""

    def __init__(self, folder):
        program = Path(__file__).with_name("node.mjs").resolve()
        self.process = subprocess.Popen(
            ["node", str(program)], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def call(self, library, call, secret, message):
        request = {
            "library": library, "call": call, "secret": str(secret), "id": message.id, "stamp": message.stamp,
            "url": message.url, "signature": message.signature, "body": base64.b64encode(message.body).decode(),
        }
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline() or '{"error": "the process of node has ended"}')
        if "error" in answer:
            raise RuntimeError(f"{library} of npm, {call}: {answer['error']}")
        return answer["value"]

    def library(self, name, provider, can_sign=True, **options):
        called = provider if provider == "twilio, JSON" else name

        def sign(secret, message):
            return self.call(called, "sign", secret, message)

        def verify(secret, message):
            return self.call(called, "verify", secret, message)

        return Library(name, provider, sign if can_sign else None, verify, **options)

    def libraries(self):
        one_sided = {"sees_new": False}
        return [
            self.library("@octokit/webhooks-methods", "github"),
            self.library("stripe", "stripe", **one_sided),
            self.library("standardwebhooks", "standard-webhooks"),
            self.library("svix", "svix"),
            self.library("@linear/sdk", "linear", can_sign=False),
            self.library("@slack/bolt", "slack", can_sign=False, **one_sided),
            self.library("@shopify/shopify-api", "shopify", can_sign=False),
            self.library("twilio", "twilio"),
            self.library("twilio", "twilio, JSON"),
            self.library("square", "square", can_sign=False),
            self.library("@hubspot/api-client", "hubspot", **one_sided),
            self.library("@paddle/paddle-node-sdk", "paddle", can_sign=False, **one_sided),
            self.library("discord-interactions", "discord", can_sign=False, takes_bytes=True),
        ]

    def stop(self):
        self.process.stdin.close()
        self.process.wait(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
