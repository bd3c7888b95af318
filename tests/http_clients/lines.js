// How a client is told what to send: a line of JSON in, a line of JSON out.
"use strict";

const http = require("node:http");
const readline = require("node:readline");

/** Sends a request as it is; nothing is normalised. */
function exchange({ host, port, method, path, headers, body }) {
  return new Promise((resolve, reject) => {
    const sent = http.request({ host, port, method, path, headers, agent: false }, (answer) => {
      const pieces = [];
      answer.on("data", (piece) => pieces.push(piece));
      answer.on("end", () => {
        const text = Buffer.concat(pieces).toString("base64");
        resolve({ status: answer.statusCode, headers: answer.headers, body: text });
      });
    });
    sent.on("error", reject);
    sent.end(body.length > 0 ? body : undefined);
  });
}

/** Answers each line by what `prepare` makes of it. */
async function serve(prepare) {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    request.body = Buffer.from(request.body, "base64");
    const { hostname, port } = new URL(request.base);
    const prepared = await prepare(request, hostname, port);
    const answer = await exchange({ host: hostname, port, body: request.body, ...prepared });
    console.log(JSON.stringify(answer));
  }
}

module.exports = { serve };
