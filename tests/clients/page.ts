// The page at /docs of the service at the URL in the environment variable API, in a browser that
// reaches nothing but this machine: every operation on a user is tried on it. CHROMIUM is the
// browser; SCREENSHOT, if set, where to put a picture of the page.

import assert from "node:assert/strict";
import { chromium, type Page } from "playwright-core";

const api = process.env["API"] ?? "http://127.0.0.1:3000";
const browser = await chromium.launch({
  executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
});
const page = await browser.newPage({ viewport: { width: 1000, height: 1010 } });

const problems: string[] = [];
page.on("console", (message) => {
  if (["error", "warning"].includes(message.type())) problems.push(message.text());
});
page.on("pageerror", (error) => problems.push(String(error)));
page.on("requestfailed", (request) => problems.push(`failed: ${request.url()}`));
page.on("request", (request) => {
  if (!request.url().startsWith(`${api}/`) && !request.url().startsWith("data:")) {
    problems.push(`elsewhere: ${request.url()}`);
  }
});

interface Inputs {
  parameters?: Record<string, string>;
  body?: object;
}

/** "Try it out" on an operation: the status of the answer and its body. */
async function tryOut(page: Page, operationId: string, { parameters = {}, body }: Inputs) {
  const operation = page.locator(`#operations-users-${operationId}`);
  await operation.locator(".opblock-summary-control").click();
  for (const [name, value] of Object.entries(parameters)) {
    await operation.locator(`tr[data-param-name="${name}"] input`).fill(value);
  }
  if (body) await operation.locator("textarea").fill(JSON.stringify(body));
  await operation.locator(".execute").click();
  const answer = operation.locator(".live-responses-table tr.response");
  const [status] = (await answer.locator(".response-col_status").innerText()).split("\n");
  return { status, body: await answer.locator(".response-col_description").innerText() };
}

await page.goto(`${api}/`);
await page.locator("#operations-users-createUser").waitFor();
assert.equal(page.url(), `${api}/docs`);
const screenshot = process.env["SCREENSHOT"];
if (screenshot) await page.screenshot({ path: screenshot });

const userId = `ada-${Date.now()}`;
const user = { userId, name: "Ada Lovelace", email: "ada@example.com" };
const { userId: _, ...replacement } = { ...user, name: "Ada King" };
const parameters = { userId };

const created = await tryOut(page, "createUser", { body: user });
assert.equal(created.status, "201");
const read = await tryOut(page, "getUser", { parameters });
assert.equal(read.status, "200");
assert.match(read.body, new RegExp(`"userId": "${userId}"`));
const list = await tryOut(page, "findUsers", { parameters: { limit: "100" } });
assert.equal(list.status, "200");
assert.match(list.body, /"items"/);
assert.match(list.body, new RegExp(`"userId": "${userId}"`));
assert.equal((await tryOut(page, "replaceUser", { parameters, body: replacement })).status, "200");
assert.equal((await tryOut(page, "deleteUser", { parameters })).status, "204");

assert.deepEqual(problems, []);
await browser.close();
console.log(`${userId}: created, read, listed, replaced and deleted on the page`);
