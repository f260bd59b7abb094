// Runs the handler under the Runtime API. AWS's own client, `aws-lambda-ric`, compiles C++ when it is
// installed, so this is a small one: it takes an event, calls the handler, and sends its response.

import http from "node:http";

import { handler } from "./handler.mjs";

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function send(method, path, body) {
  return new Promise((resolve, reject) => {
    const options = { agent, host, port, method, path: `/2018-06-01/runtime/invocation/${path}` };
    const request = http.request(options, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => resolve({ headers: response.headers, body: Buffer.concat(chunks) }));
      response.on("error", reject);
    });
    request.on("error", reject);
    request.end(body);
  });
}

for (;;) {
  const { headers, body } = await send("GET", "next");
  const id = headers["lambda-runtime-aws-request-id"];
  try {
    const response = await handler(JSON.parse(body));
    await send("POST", `${id}/response`, JSON.stringify(response));
  } catch (error) {
    const { name: errorType, message: errorMessage } = error;
    await send("POST", `${id}/error`, JSON.stringify({ errorType, errorMessage }));
  }
}
