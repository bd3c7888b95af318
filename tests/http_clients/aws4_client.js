// npm's aws4.
"use strict";

const aws4 = require("aws4");
const { serve } = require("./lines.js");

serve(async (request, host, port) => {
  const options = {
    service: "chainfire",
    region: process.env.REGION,
    method: request.method,
    path: request.target,
    headers: { Host: `${host}:${port}`, ...request.headers },
    body: request.body.length > 0 ? request.body : undefined,
    signQuery: Boolean(request.presign),
  };
  if (request.presign) {
    options.path += `${options.path.includes("?") ? "&" : "?"}X-Amz-Expires=60`;
  }
  const credentials = { accessKeyId: process.env.KEY_ID, secretAccessKey: process.env.SECRET };
  const { method, path, headers } = aws4.sign(options, credentials);
  return { method, path, headers };
});
