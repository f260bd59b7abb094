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
  /** By name; those that are left out stay as the page has them. */
  parameters?: Record<string, string>;
  body?: object;
}

/** The operation, unfolded. */
async function open(page: Page, operationId: string) {
  const operation = page.locator(`#operations-users-${operationId}`);
  if (!(await operation.locator(".opblock-body").isVisible())) {
    await operation.locator(".opblock-summary-control").click();
  }
  return operation;
}

/** "Try it out" on an operation: the status of the answer and its body. */
async function tryOut(page: Page, operationId: string, { parameters = {}, body }: Inputs = {}) {
  const operation = await open(page, operationId);
  for (const [name, value] of Object.entries(parameters)) {
    await operation.locator(`tr[data-param-name="${name}"] input`).fill(value);
  }
  if (body) await operation.locator("textarea").fill(JSON.stringify(body));
  await operation.locator(".execute").click();
  const answer = operation.locator(".live-responses-table tr.response");
  const [status] = (await answer.locator(".response-col_status").innerText()).split("\n");
  const text = await answer.locator(".response-col_description").innerText();
  await operation.locator(".btn-clear").click(); // so that the next answer is its own
  return { status, body: text };
}

/** The examples of errors that the page shows of an operation: status and example. */
async function errorExamples(page: Page, operationId: string) {
  const operation = await open(page, operationId);
  const rows = operation.locator("table.responses-table:not(.live-responses-table) tr.response");
  const examples: [string, { status: number; code: string; message: string }][] = [];
  for (const row of await rows.all()) {
    const status = (await row.getAttribute("data-code")) ?? "";
    if (Number(status) < 400) continue;
    examples.push([status, JSON.parse(await row.locator("pre.example").innerText())]);
  }
  return examples;
}

await page.goto(`${api}/`);
await page.locator("#operations-users-createUser").waitFor();
assert.equal(page.url(), `${api}/docs`);
const screenshot = process.env["SCREENSHOT"];
if (screenshot) await page.screenshot({ path: screenshot });

const userId = `ada-${Date.now()}`;
const user = { userId, name: "Ada Lovelace", email: `${userId}@example.com` };
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
const kept = await tryOut(page, "getDeletedUser", { parameters });
assert.equal(kept.status, "200");
assert.match(kept.body, /"expiresAt"/);
const deletedUsers = await tryOut(page, "listDeletedUsers", { parameters: { limit: "100" } });
assert.equal(deletedUsers.status, "200");
assert.match(deletedUsers.body, new RegExp(`"userId": "${userId}"`));
const restoration = { parameters, body: { email: `king-${user.email}` } };
assert.equal((await tryOut(page, "restoreUser", restoration)).status, "200");
const history = await tryOut(page, "listUserHistory", { parameters });
assert.equal(history.status, "200");
assert.match(history.body, /"user.restored"/);
assert.equal((await tryOut(page, "deleteUser", { parameters })).status, "204");
assert.equal((await tryOut(page, "eraseDeletedUser", { parameters })).status, "204");
const exported = await tryOut(page, "exportUser", { parameters });
assert.equal(exported.status, "200");
assert.match(exported.body, /"user.erased"/);
assert.deepEqual(problems, []);

// Each row is an operation that people try.
const methods = await page.locator(".opblock-summary-method").allInnerTexts();
assert.deepEqual(new Set(methods), new Set(["GET", "POST", "PUT", "PATCH", "DELETE"]));

// As another caller, once for all operations: a user may not list all.
await page.locator("button.authorize.unlocked").first().click();
await page.locator(".auth-container input").fill("ada");
await page.locator(".auth-container button[type=submit]").click();
await page.locator(".auth-btn-wrapper .btn-done").click();
for (const operationId of ["findUsers", "listDeletedUsers"]) {
  assert.equal((await tryOut(page, operationId)).status, "403", operationId);
}
problems.length = 0; // the browser reports the 403

// What the page holds ready succeeds, one after the other.
await page.reload();
for (const [operationId, status] of [
  ["createUser", "201"],
  ["getUser", "200"],
  ["replaceUser", "200"],
  ["patchUser", "200"],
  ["listUserHistory", "200"],
  ["exportUser", "200"],
  ["deleteUser", "204"],
  ["listDeletedUsers", "200"],
  ["getDeletedUser", "200"],
  ["restoreUser", "200"],
  ["deleteUser", "204"],
  ["eraseDeletedUser", "204"],
] as const) {
  assert.equal((await tryOut(page, operationId)).status, status, operationId);
}

// Each error has an example of its own.
for (const operationId of [
  "findUsers",
  "createUser",
  "replaceUser",
  "patchUser",
  "deleteUser",
  "listUserHistory",
  "exportUser",
  "listDeletedUsers",
  "getDeletedUser",
  "restoreUser",
  "eraseDeletedUser",
]) {
  const examples = await errorExamples(page, operationId);
  assert.ok(examples.length >= 7, operationId);
  for (const [status, example] of examples) assert.equal(String(example.status), status, operationId);
}

assert.deepEqual(problems, []);
await browser.close();
console.log(`${userId}: created, read, listed, replaced, deleted, restored and erased on the page, which shows each error`);
