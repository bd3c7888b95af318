// The signer of the AWS SDK for JavaScript, told to encode paths once as for S3.
"use strict";

const { Sha256 } = require("@aws-crypto/sha256-js");
const { SignatureV4 } = require("@smithy/signature-v4");
const { serve } = require("./lines.js");

const signer = new SignatureV4({
  service: "chainfire",
  region: process.env.REGION,
  credentials: { accessKeyId: process.env.KEY_ID, secretAccessKey: process.env.SECRET },
  sha256: Sha256,
  uriEscapePath: false,
});

function queryOf(text) {
  const pairs = text.split("&").filter((pair) => pair !== "");
  return Object.fromEntries(
    pairs.map((pair) => pair.split("=").map((part) => decodeURIComponent(part ?? ""))),
  );
}

function textOf(query) {
  // Stricter than encodeURIComponent, which leaves these as they are.
  const encode = (text) =>
    encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
  return Object.entries(query).map(([name, value]) => `${encode(name)}=${encode(value)}`).join("&");
}

serve(async (request, host, port) => {
  const [path, query = ""] = request.target.split("?");
  const unsigned = {
    method: request.method,
    protocol: "http:",
    hostname: host,
    port,
    path,
    query: queryOf(query),
    headers: { host: `${host}:${port}`, ...request.headers },
    body: request.body.length > 0 ? request.body : undefined,
  };
  const signed = request.presign
    ? await signer.presign(unsigned, { expiresIn: 60 })
    : await signer.sign(unsigned);
  const text = textOf(signed.query ?? {});
  return {
    method: signed.method,
    path: text === "" ? signed.path : `${signed.path}?${text}`,
    headers: signed.headers,
  };
});
