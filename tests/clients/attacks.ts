// What pages do to the service at the URL in the environment variable API, in a browser: pages of
// other sites are refused, by the gateway and by the embedded DynamoDB that the log in LOG names,
// and a front end on another port of localhost is served. CHROMIUM is the browser.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { chromium, type Page } from "playwright-core";

const api = process.env["API"] ?? "http://127.0.0.1:3000";
const log = readFileSync(process.env["LOG"] ?? "/dev/stdin", "utf8");
const dynamodb = /embedded DynamoDB .* at (http:\S+)/.exec(log)?.[1];
assert.ok(dynamodb, `no embedded DynamoDB in ${log}`);
const { port } = new URL(api);

// The site of the attacker, whose names resolve to this machine, as DNS rebinding makes them.
const site = createServer((_, answer) => answer.setHeader("Content-Type", "text/html").end("<p>"));
await new Promise<void>((listens) => site.listen(0, "127.0.0.1", listens));
const sitePort = (site.address() as AddressInfo).port;
const browser = await chromium.launch({
  executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--host-resolver-rules=MAP evil.example 127.0.0.1, MAP localhost 127.0.0.1, " +
      "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
  ],
});

/** A page of the origin of the URL, whatever is there: as if it had been loaded from the attacker. */
async function pageAt(url: string): Promise<Page> {
  const page = await browser.newPage();
  await page.goto(url);
  return page;
}

/** What a page can tell of the answer to its request; null where the browser lets it see none. */
function ask(page: Page, url: string, init: RequestInit = {}) {
  return page.evaluate(
    async ([url, init]) => {
      try {
        const answer = await fetch(url, init);
        return { status: answer.status, body: await answer.text() };
      } catch {
        return null;
      }
    },
    [url, init] as const,
  );
}

/** The status of the service's answer to a program on this machine. */
async function status(userId: string) {
  return (await fetch(`${api}/users/${userId}`)).status;
}

const userId = `ada-${Date.now()}`;
const user = { name: "Ada Lovelace", email: `${userId}@example.com` };
const json = { "Content-Type": "application/json" };
const send = (method: string, body: object, headers: Record<string, string> = json) => ({
  method,
  headers,
  body: JSON.stringify(body),
});
await fetch(`${api}/users`, send("POST", { userId, ...user }));
assert.equal(await status(userId), 200);

async function fact(text: string, check: () => Promise<void>) {
  await check();
  console.log(text);
}

await fact("a page whose name was rebound to this machine reads and changes no users", async () => {
  const page = await pageAt(`http://evil.example:${port}/`);
  const list = await ask(page, "/users");
  assert.equal(list?.status, 403);
  assert.equal(JSON.parse(list.body).code, "access_denied");
  const patched = await ask(page, `/users/${userId}`, send("PATCH", { name: "Mallory" }));
  assert.equal(patched?.status, 403);
  assert.equal((await ask(page, `/users/${userId}`, { method: "DELETE" }))?.status, 403);
  assert.equal(await status(userId), 200);
});

await fact("a request without a preflight from a page of another site creates no user", async () => {
  const page = await pageAt(`http://evil.example:${sitePort}/`);
  const mallory = `mallory-${Date.now()}`;
  const body = JSON.stringify({ userId: mallory, name: "M", email: `${mallory}@example.com` });
  const isSent = page.waitForResponse(`${api}/users`);
  await page.evaluate(
    ([url, body]) => fetch(url, { method: "POST", mode: "no-cors", body: new Blob([body]) }),
    [`${api}/users`, body] as const,
  );
  assert.equal((await isSent).status(), 403);
  assert.equal(await status(mallory), 404);
});

await fact("a page of another site reads no answer and no error", async () => {
  const page = await pageAt(`http://evil.example:${sitePort}/`);
  assert.equal(await ask(page, `${api}/users`), null);
  assert.equal(await ask(page, `${api}/users/${userId}`, { method: "DELETE" }), null);
  assert.equal(await status(userId), 200);
});

const scan = send("POST", { TableName: "UserData" }, {
  "Content-Type": "application/x-amz-json-1.0",
  "X-Amz-Target": "DynamoDB_20120810.Scan",
  "X-Amz-Date": "20260101T000000Z",
  Authorization:
    "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/dynamodb/aws4_request, " +
    "SignedHeaders=host, Signature=x",
});

await fact("the embedded DynamoDB answers no program without its key, and no page of any site", async () => {
  assert.match(await (await fetch(dynamodb, scan)).text(), /UnrecognizedClientException/);
  for (const site of [`evil.example:${sitePort}`, `localhost:${sitePort}`, `127.0.0.1:${port}`]) {
    assert.equal(await ask(await pageAt(`http://${site}/`), dynamodb, scan), null, site);
  }
  // Pages of its own origin, by its address and by a name that was rebound.
  for (const host of ["127.0.0.1", "localhost", "evil.example"]) {
    const page = await pageAt(`http://${host}:${new URL(dynamodb).port}/`);
    const answer = await ask(page, "/", scan);
    assert.equal(answer?.status, 403, host);
    assert.doesNotMatch(answer.body, /Ada/);
  }
});

await fact("a front end on another port of localhost reads and changes users", async () => {
  const page = await pageAt(`http://localhost:${sitePort}/`);
  const patch = send("PATCH", { name: "Ada King" }, {
    "Content-Type": "application/merge-patch+json",
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "X-Request-Id": "7",
  });
  const patched = await ask(page, `${api}/users/${userId}`, patch);
  assert.equal(patched?.status, 200);
  assert.match(patched.body, /Ada King/);
});

await fact("a front end on localhost reads the gateway's own errors", async () => {
  const page = await pageAt(`http://localhost:${sitePort}/`);
  const refused = await ask(page, `${api}/users`, { headers: { "X-Local-Caller": ":admin" } });
  assert.equal(refused?.status, 400);
  assert.equal(JSON.parse(refused.body).code, "invalid_header");
  const large = send("POST", { name: "x".repeat(10 * 1024 * 1024) });
  assert.equal((await ask(page, `${api}/users`, large))?.status, 413);
});

await browser.close();
site.close();
