// Signs and verifies with the npm packages of providers: one JSON request on each line of the input, one answer on each
// line of the output.

import { createRequire } from "node:module";
import readline from "node:readline";

const require = createRequire(`${process.cwd()}/`);

const linear = await import(require.resolve("@linear/sdk/webhooks"));
const octokit = await import(`${process.cwd()}/node_modules/@octokit/webhooks-methods/dist-node/index.js`);
const stripe = new (require("stripe"))("sk_test_none");
const twilio = require("twilio");
const { Signature: HubSpot } = require("@hubspot/api-client");
const { WebhooksHelper: Square } = require("square");
const { Paddle } = require("@paddle/paddle-node-sdk");
const paddle = new Paddle("none");
const { verifyKey } = require("discord-interactions");
const { isValidSlackRequest } = require(`${process.cwd()}/node_modules/@slack/bolt/dist/receivers/verify-request.js`);
require("@shopify/shopify-api/adapters/node");
const { shopifyApi } = require("@shopify/shopify-api");

// A throw is a no: most of the packages say it so.
const holds = async (verify) => {
  try {
    await verify();
    return true;
  } catch {
    return false;
  }
};

const standard = (name, prefix) => {
  const { Webhook } = require(name);
  return {
    sign: ({ secret, id, stamp, text }) => new Webhook(secret).sign(id, new Date(stamp * 1000), text),
    verify: ({ secret, id, stamp, text, signature }) =>
      holds(() =>
        new Webhook(secret).verify(text, {
          [`${prefix}-id`]: id,
          [`${prefix}-timestamp`]: stamp,
          [`${prefix}-signature`]: signature,
        }),
      ),
  };
};

const shopify = (secret) =>
  shopifyApi({
    apiKey: "key",
    apiSecretKey: secret,
    apiVersion: "2025-07",
    hostName: "shop.example",
    isEmbeddedApp: false,
    logger: { log: () => {} },
  });

const form = (text) => {
  const values = {};
  for (const [name, value] of new URLSearchParams(text)) (values[name] ??= []).push(value);
  return values;
};

const libraries = {
  "@octokit/webhooks-methods": {
    sign: ({ secret, text }) => octokit.sign(secret, text),
    verify: ({ secret, text, signature }) => octokit.verify(secret, text, signature),
  },
  stripe: {
    sign: ({ secret, stamp, text }) =>
      stripe.webhooks.generateTestHeaderString({ payload: text, secret, timestamp: Number(stamp) }),
    verify: ({ secret, bytes, signature }) => holds(() => stripe.webhooks.constructEvent(bytes, signature, secret)),
  },
  standardwebhooks: standard("standardwebhooks", "webhook"),
  svix: standard("svix", "svix"),
  "@linear/sdk": {
    verify: ({ secret, bytes, signature }) =>
      holds(() => new linear.LinearWebhookClient(secret).verify(bytes, signature)),
  },
  "@slack/bolt": {
    verify: ({ secret, text, signature, stamp }) =>
      isValidSlackRequest({
        signingSecret: secret,
        body: text,
        headers: { "x-slack-signature": signature, "x-slack-request-timestamp": Number(stamp) },
      }),
  },
  "@shopify/shopify-api": {
    verify: async ({ secret, text, signature, url, id }) => {
      const headers = {
        "X-Shopify-Hmac-Sha256": signature,
        "X-Shopify-Topic": "orders/create",
        "X-Shopify-Shop-Domain": "shop.example",
        "X-Shopify-API-Version": "2025-07",
        "X-Shopify-Webhook-Id": id,
      };
      const rawRequest = { method: "POST", url, headers };
      const answer = await shopify(secret).webhooks.validate({ rawBody: text, rawRequest, rawResponse: {} });
      return answer.valid;
    },
  },
  twilio: {
    sign: ({ secret, url, text }) => twilio.getExpectedTwilioSignature(secret, url, form(text)),
    verify: ({ secret, url, text, signature }) => twilio.validateRequest(secret, signature, url, form(text)),
  },
  "twilio, JSON": {
    sign: ({ secret, url }) => twilio.getExpectedTwilioSignature(secret, url, {}),
    verify: ({ secret, url, text, signature }) => twilio.validateRequestWithBody(secret, signature, url, text),
  },
  square: {
    verify: ({ secret, url, text, signature }) =>
      Square.verifySignature({
        requestBody: text,
        signatureHeader: signature,
        signatureKey: secret,
        notificationUrl: url,
      }),
  },
  "@hubspot/api-client": {
    sign: ({ secret, url, text, stamp }) =>
      HubSpot.getSignature("POST", "v3", { clientSecret: secret, requestBody: text, url, timestamp: Number(stamp) }),
    verify: async ({ secret, url, text, stamp, signature }) => {
      const options = { clientSecret: secret, requestBody: text, url, timestamp: Number(stamp) };
      let isValid = false;
      const isDone = await holds(() => {
        isValid = HubSpot.isValid({ ...options, signature, method: "POST", signatureVersion: "v3" });
      });
      return isDone && isValid;
    },
  },
  "@paddle/paddle-node-sdk": {
    verify: ({ secret, text, signature }) => paddle.webhooks.isSignatureValid(text, secret, signature),
  },
  "discord-interactions": {
    verify: ({ secret, bytes, signature, stamp }) => verifyKey(bytes, signature, stamp, secret),
  },
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { library, call, body, ...rest } = JSON.parse(line);
  const bytes = Buffer.from(body, "base64");
  try {
    const value = await libraries[library][call]({ ...rest, bytes, text: bytes.toString() });
    console.log(JSON.stringify({ value }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error.stack ?? error) }));
  }
}
