//! Messages that providers have published with their signatures, and for schemes without one, messages whose signatures
//! another implementation has made.

use crate::ConfigError;
use crate::signature::{Algorithm, Encoding, Field, Scheme, SigningSecret, presets};

pub(super) struct Vector {
    /// Where secret, message and signature are from.
    pub(super) source: &'static str,
    pub(super) scheme: fn() -> Scheme,
    pub(super) secret: fn() -> Result<SigningSecret, ConfigError>,
    pub(super) headers: &'static [(&'static str, &'static str)],
    /// Empty, if the scheme signs none.
    pub(super) url: &'static str,
    pub(super) body: &'static str,
    /// Seconds since 1970: the time of the message, where it has one.
    pub(super) now: i64,
    pub(super) covers: &'static [&'static str],
}

fn github_sha1() -> Scheme {
    let signature = Field::header(http::HeaderName::from_static("x-hub-signature"));
    Scheme::new("github-sha1", signature.with_prefix("sha1="), Algorithm::HmacSha1, Encoding::Hex)
}

pub(super) const VECTORS: &[Vector] = &[
    Vector {
        source: "GitHub docs (validating webhook deliveries)",
        scheme: presets::github,
        secret: || SigningSecret::raw("It's a Secret to Everybody"),
        headers: &[(
            "x-hub-signature-256",
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        )],
        url: "",
        body: "Hello, World!",
        now: 1_700_000_000,
        covers: &["body"],
    },
    Vector {
        source: "google/go-github github/messages_test.go",
        scheme: presets::github,
        secret: || SigningSecret::raw("0123456789abcdef"),
        headers: &[(
            "x-hub-signature-256",
            "sha256=b1f8020f5b4cd42042f807dd939015c4a418bc1ff7f604dd55b0a19b5d953d9b",
        )],
        url: "",
        body: r#"{"yo":true}"#,
        now: 1_700_000_000,
        covers: &["body"],
    },
    Vector {
        source: "google/go-github github/messages_test.go",
        scheme: github_sha1,
        secret: || SigningSecret::raw("0123456789abcdef"),
        headers: &[("x-hub-signature", "sha1=3374ef144403e8035423b23b02e2c9d7a4c50368")],
        url: "",
        body: "payload=%7B%22yo%22%3Atrue%7D",
        now: 1_700_000_000,
        covers: &["body"],
    },
    Vector {
        source: "Atlassian webhook docs (quoted widely)",
        scheme: presets::bitbucket,
        secret: || SigningSecret::raw("It's a Secret to Everybody"),
        headers: &[(
            "x-hub-signature",
            "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9",
        )],
        url: "",
        body: "Hello World!",
        now: 1_700_000_000,
        covers: &["body"],
    },
    Vector {
        source: "slackapi/python-slack-sdk tests/slack_sdk/signature/test_signature_verifier.py",
        scheme: presets::slack,
        secret: || SigningSecret::raw("8f742231b10e8888abcd99yyyzzz85a5"),
        headers: &[
            (
                "x-slack-signature",
                "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
            ),
            ("x-slack-request-timestamp", "1531420618"),
        ],
        url: "",
        body: "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
        now: 1_531_420_618,
        covers: &["body", "timestamp"],
    },
    Vector {
        source: "standard-webhooks libraries/go/webhook_test.go",
        scheme: presets::standard_webhooks,
        secret: || SigningSecret::standard("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        headers: &[
            ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
        ],
        url: "",
        body: r#"{"test": 2432232314}"#,
        now: 1_614_265_330,
        covers: &["body", "timestamp", "id"],
    },
    Vector {
        source: "standard-webhooks libraries/rust/src/lib.rs",
        scheme: presets::standard_webhooks,
        secret: || SigningSecret::standard("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),
        headers: &[
            ("webhook-signature", "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="),
            ("webhook-id", "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk"),
            ("webhook-timestamp", "1649367553"),
        ],
        url: "",
        body: r#"{"email":"test@example.com","username":"test_user"}"#,
        now: 1_649_367_553,
        covers: &["body", "timestamp", "id"],
    },
    Vector {
        source: "Shopify/shopify-api-js packages/shopify-api/lib/webhooks/__tests__/validate.test.ts",
        scheme: presets::shopify,
        secret: || SigningSecret::insecure_short("test_secret_key"),
        headers: &[("x-shopify-hmac-sha256", "B23tXN681gZ0qIWNRrgtzBE9XSDo5yaUu6wfmhu3a7g=")],
        url: "",
        body: r#"{"foo": "bar"}"#,
        now: 1_700_000_000,
        covers: &["body"],
    },
    Vector {
        source: "twilio/twilio-python tests/unit/test_request_validator.py",
        scheme: presets::twilio,
        secret: || SigningSecret::insecure_short("12345"),
        headers: &[
            ("x-twilio-signature", "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
            ("content-type", "application/x-www-form-urlencoded"),
        ],
        url: "https://mycompany.com/myapp.php?foo=1&bar=2",
        body: "CallSid=CA1234567890ABCDE&Digits=1234&From=%2B14158675309&To=%2B18005551212&Caller=%2B14158675309",
        now: 1_700_000_000,
        covers: &["url", "parameters"],
    },
    Vector {
        source: "same file",
        scheme: presets::twilio,
        secret: || SigningSecret::insecure_short("12345"),
        headers: &[
            ("x-twilio-signature", "IK+Dwps556ElfBT0I3Rgjkr1wJU="),
            ("content-type", "application/x-www-form-urlencoded"),
        ],
        url: "https://mycompany.com/myapp.php?foo=1&bar=2",
        body: "Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234&Digits=1234",
        now: 1_700_000_000,
        covers: &["url", "parameters"],
    },
    Vector {
        source: "same file",
        scheme: presets::twilio,
        secret: || SigningSecret::insecure_short("12345"),
        headers: &[("x-twilio-signature", "a9nBmqA0ju/hNViExpshrM61xv4=")],
        url: "https://mycompany.com/myapp.php?foo=1&bar=2&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620",
        body: r#"{"property": "value", "boolean": true}"#,
        now: 1_700_000_000,
        covers: &["body", "url"],
    },
    Vector {
        source: "square/square-python-sdk tests/integration/test_webhooks_helper.py",
        scheme: presets::square,
        secret: || SigningSecret::raw("Ibxx_5AKakO-3qeNVR61Dw"),
        headers: &[(
            "x-square-hmacsha256-signature",
            "GF4YkrJgGBDZ9NIYbNXBnMzqb2HoL4RW/S6vkZ9/2N4=",
        )],
        url: "https://webhook.site/679a4f3a-dcfa-49ee-bac5-9d0edad886b9",
        body: r#"{"merchant_id":"MLEFBHHSJGVHD","type":"webhooks.test_notification","event_id":"ac3ac95b-f97d-458c-a6e6-18981597e05f","created_at":"2022-07-13T20:30:59.037339943Z","data":{"type":"webhooks","id":"bc368e64-01aa-407e-b46e-3231809b1129"}}"#,
        now: 1_700_000_000,
        covers: &["body", "url"],
    },
    Vector {
        source: "computed with Python's hmac",
        scheme: presets::hubspot,
        secret: || SigningSecret::raw("yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"),
        headers: &[
            ("x-hubspot-signature-v3", "aBtTw++/y5KgoA7eI3qt3f5ia3sr40dWStPpatOfaIc="),
            ("x-hubspot-request-timestamp", "1690000000000"),
        ],
        url: "https://www.example.com/webhook_uri",
        body: r#"{"example_field":"example_value"}"#,
        now: 1_690_000_000,
        covers: &["body", "timestamp", "url", "method"],
    },
    Vector {
        source: "PaddleHQ/paddle-node-sdk src/__tests__/notifications/webhooks-validator.node.test.ts",
        scheme: presets::paddle,
        secret: || SigningSecret::insecure_short("VALID_SECRET"),
        headers: &[(
            "paddle-signature",
            "ts=1698796800;h1=a300428748dce5c70e4da19bffd60769591ea969c99dea3105d0ec9612cf43f9",
        )],
        url: "",
        body: r#"{"data": ["1", "2"]}"#,
        now: 1_698_796_800,
        covers: &["body", "timestamp"],
    },
    Vector {
        source: "computed with Python's hmac",
        scheme: presets::stripe,
        secret: || SigningSecret::raw("whsec_receiver-test-secret"),
        headers: &[(
            "stripe-signature",
            "t=1700000000,v1=dd9578720dc9a7bad36af121832d7b7a791ca275848e838ea67b71e80a0ae84c",
        )],
        url: "",
        body: r#"{"hello":"world"}"#,
        now: 1_700_000_000,
        covers: &["body", "timestamp"],
    },
    Vector {
        source: "computed with Python's hmac",
        scheme: presets::zoom,
        secret: || SigningSecret::raw("receiver-test-secret"),
        headers: &[
            (
                "x-zm-signature",
                "v0=73f3db66b0b72dc40ada6c2e7000e3b6104506d5cb43e53a02dec52a3447b952",
            ),
            ("x-zm-request-timestamp", "1700000000"),
        ],
        url: "",
        body: r#"{"hello":"world"}"#,
        now: 1_700_000_000,
        covers: &["body", "timestamp"],
    },
    Vector {
        source: "computed with Python's hmac",
        scheme: presets::linear,
        secret: || SigningSecret::raw("receiver-test-secret"),
        headers: &[(
            "linear-signature",
            "d4f43e7beeac8ec9ae130d7caae9699e68a028817ca499a84d042338b99d6bb8",
        )],
        url: "",
        body: r#"{"action":"create","type":"Issue","webhookTimestamp":1700000000000}"#,
        now: 1_700_000_000,
        covers: &["body"],
    },
    Vector {
        source: "computed with Python's hmac",
        scheme: presets::intercom,
        secret: || SigningSecret::raw("receiver-test-secret"),
        headers: &[("x-hub-signature", "sha1=41cc244a03b0cf239d293304a46e34529db40c8c")],
        url: "",
        body: r#"{"hello":"world"}"#,
        now: 1_700_000_000,
        covers: &["body"],
    },
    Vector {
        source: "computed with Python's hmac",
        scheme: presets::sentry,
        secret: || SigningSecret::raw("receiver-test-secret"),
        headers: &[(
            "sentry-hook-signature",
            "8abb696299bf08f4713cd97a2362ae346c9631ddd606c30fe4ee7005327e6cf9",
        )],
        url: "",
        body: r#"{"hello":"world"}"#,
        now: 1_700_000_000,
        covers: &["body"],
    },
    Vector {
        source: "computed with Python's hmac",
        scheme: presets::docusign,
        secret: || SigningSecret::raw("receiver-test-secret"),
        headers: &[("x-docusign-signature-1", "irtpYpm/CPRxPNl6I2KuNGyWMd3WBsMP5O5wBTJ+bPk=")],
        url: "",
        body: r#"{"hello":"world"}"#,
        now: 1_700_000_000,
        covers: &["body"],
    },
    Vector {
        source: "computed with Python's hmac",
        scheme: presets::mailgun,
        secret: || SigningSecret::raw("receiver-test-secret"),
        headers: &[],
        url: "",
        body: r#"{"signature":{"timestamp":"1529006854","token":"a8ce0edb2dd8301dee6c2405235584e45aa91d1e9f979f3de0","signature":"7b38fa7214917c544b094e42c24c16f48d0fece4989e7802e25c298fb0adfabb"},"event-data":{"event":"opened"}}"#,
        now: 1_529_006_854,
        covers: &["timestamp", "id"],
    },
    Vector {
        source: "computed with Python's hmac",
        scheme: presets::twitch,
        secret: || SigningSecret::raw("receiver-test-secret"),
        headers: &[
            (
                "twitch-eventsub-message-signature",
                "sha256=1bf12503e9107bfff0f6f72b2484a8d873de6bb64612fff82c4f90168f8a93ed",
            ),
            ("twitch-eventsub-message-id", "befa7b53-d79d-478f-86b9-120f112b044e"),
            ("twitch-eventsub-message-timestamp", "2022-11-16T10:11:12.464757833Z"),
        ],
        url: "",
        body: r#"{"hello":"world"}"#,
        now: 1_668_593_472,
        covers: &["body", "timestamp", "id"],
    },
    Vector {
        source: "PagerDuty/go-pagerduty webhookv3/webhookv3_test.go",
        scheme: presets::pagerduty,
        secret: || {
            SigningSecret::raw("lDQHScfUeXUKaQRNF+8XIiDKZ7XX3itBAYzwU0TARw8lJqRnkKl2iB1anSb0Z+IK")
        },
        headers: &[(
            "x-pagerduty-signature",
            "v1=0c0b9495b893a39e70d1fea2fe11fbe0a825f88b9f67846f6cc07dd2bc5476cd",
        )],
        url: "",
        body: r#"{"event":{"id":"01BWDWL3NYY7LUFPZCC28QUCMK","event_type":"incident.priority_updated","resource_type":"incident","occurred_at":"2021-04-26T17:36:27.458Z","agent":{"html_url":"https://acme.pagerduty.com/users/PLH1HKV","id":"PLH1HKV","self":"https://api.pagerduty.com/users/PLH1HKV","summary":"Tenex Engineer","type":"user_reference"},"client":null,"data":{"id":"PGR0VU2","type":"incident","self":"https://api.pagerduty.com/incidents/PGR0VU2","html_url":"https://acme.pagerduty.com/incidents/PGR0VU2","number":2,"status":"triggered","title":"A little bump in the road","service":{"html_url":"https://acme.pagerduty.com/services/PF9KMXH","id":"PF9KMXH","self":"https://api.pagerduty.com/services/PF9KMXH","summary":"API Service","type":"service_reference"},"assignees":[{"html_url":"https://acme.pagerduty.com/users/PTUXL6G","id":"PTUXL6G","self":"https://api.pagerduty.com/users/PTUXL6G","summary":"User 123","type":"user_reference"}],"escalation_policy":{"html_url":"https://acme.pagerduty.com/escalation_policies/PUS0KTE","id":"PUS0KTE","self":"https://api.pagerduty.com/escalation_policies/PUS0KTE","summary":"Default","type":"escalation_policy_reference"},"teams":[{"html_url":"https://acme.pagerduty.com/teams/PFCVPS0","id":"PFCVPS0","self":"https://api.pagerduty.com/teams/PFCVPS0","summary":"Engineering","type":"team_reference"}],"priority":{"html_url":"https://acme.pagerduty.com/account/incident_priorities","id":"PSO75BM","self":"https://api.pagerduty.com/priorities/PSO75BM","summary":"P1","type":"priority_reference"},"urgency":"high","conference_bridge":{"conference_number":1000,"conference_url":"https://example.com"},"resolve_reason":null}}}"#,
        now: 1_700_000_000,
        covers: &["body"],
    },
    #[cfg(feature = "ed25519")]
    Vector {
        source: "svix/svix-webhooks server/svix-server/src/worker.rs test_asymmetric_key_signing",
        scheme: presets::standard_webhooks,
        secret: || {
            SigningSecret::ed25519_public("whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=")
        },
        headers: &[
            (
                "webhook-signature",
                "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",
            ),
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
        ],
        url: "",
        body: r#"{"test": 2432232314}"#,
        now: 1_614_265_330,
        covers: &["body", "timestamp", "id"],
    },
    #[cfg(feature = "ed25519")]
    Vector {
        source: "computed with Python's hmac and cryptography, with the key of RFC 8032, section 7.1, test 1",
        scheme: presets::discord,
        secret: || {
            SigningSecret::ed25519_public(
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            )
        },
        headers: &[
            (
                "x-signature-ed25519",
                "1695961a47c91a1ec033b819b7e87e3dbc583dd0cee6d1fd0216f58ac87b6228ae531ddbf91fb7bc28d7edf7f08604da16f54624f38a6bc0614e4dc13cd47f0f",
            ),
            ("x-signature-timestamp", "1700000000"),
        ],
        url: "",
        body: r#"{"type":1}"#,
        now: 1_700_000_000,
        covers: &["body", "timestamp"],
    },
    #[cfg(feature = "ecdsa")]
    Vector {
        source: "sendgrid/sendgrid-nodejs packages/eventwebhook/src/eventwebhook.spec.js",
        scheme: presets::sendgrid,
        secret: || {
            SigningSecret::ecdsa_p256_public(
                "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==",
            )
        },
        headers: &[
            (
                "x-twilio-email-event-webhook-signature",
                "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM=",
            ),
            ("x-twilio-email-event-webhook-timestamp", "1600112502"),
        ],
        url: "",
        body: "[{\"email\":\"hello@world.com\",\"event\":\"dropped\",\"reason\":\"Bounced Address\",\"sg_event_id\":\"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA\",\"sg_message_id\":\"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0\",\"smtp-id\":\"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>\",\"timestamp\":1600112492}]\r\n",
        now: 1_600_112_502,
        covers: &["body", "timestamp"],
    },
];
