// The whole life of a user, against the service at the URL in the environment variable API. Every
// path, parameter, body and answer in here is typed by openapi.yaml: what it does not say does not
// compile.

import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./build/openapi.js";

type Problem = components["schemas"]["Problem"];
type User = components["schemas"]["User"];

const client = createClient<paths>({ baseUrl: process.env["API"] ?? "http://127.0.0.1:3000" });

// Create, under a key, so that it can be sent again: the service names the user, once.
const creation = {
  params: { header: { "Idempotency-Key": crypto.randomUUID() } },
  body: { name: "Ada Lovelace", email: "ada@example.com", metadata: { team: "engines" } },
};
const created = await client.POST("/users", creation);
assert.equal(created.response.status, 201);
const user: User = created.data!;
let current: User;
const again = await client.POST("/users", creation);
assert.equal(again.response.status, 201);
assert.deepEqual(again.data, user);
const reused = await client.POST("/users", { ...creation, body: { ...creation.body, name: "Ada" } });
assert.equal(reused.response.status, 422);
assert.equal(reused.error?.code, "idempotency_key_reused");
const path = { userId: user.userId };
assert.equal(user.version, 1);
assert.equal(created.response.headers.get("location"), `/users/${user.userId}`);
const ETag = created.response.headers.get("etag")!;

// A second user of that id is a conflict, which its code tells.
const conflict = await client.POST("/users", { body: { ...path, name: "Another", email: "a@example.com" } });
assert.equal(conflict.response.status, 409);
const problem: Problem = conflict.error!;
assert.equal(problem.code, "user_exists");

// Read it, in each form.
const read = await client.GET("/users/{userId}", { params: { path, query: { consistent: true } } });
assert.deepEqual(read.data, user);
const name: string | undefined = read.data?.name;
assert.equal(name, "Ada Lovelace");
const found = await client.GET("/users", { params: { query: path } });
assert.deepEqual(found.data, user);
assert.ok(found.data && "userId" in found.data);
assert.equal(found.data.name?.toUpperCase(), "ADA LOVELACE");
const byEmail = await client.GET("/users", { params: { query: { email: "ADA@example.com" } } });
assert.deepEqual(byEmail.data, user);
const known = await client.GET("/users/{userId}", { params: { path, header: { "If-None-Match": ETag } } });
assert.equal(known.response.status, 304);
const head = await client.HEAD("/users/{userId}", { params: { path } });
assert.equal(head.response.headers.get("etag"), ETag);

// List all, page by page, until it is there.
const names: (string | undefined)[] = [];
let cursor: string | undefined;
do {
  const { data } = await client.GET("/users", { params: { query: { limit: 2, ...(cursor && { cursor }) } } });
  assert.ok(data && !("userId" in data));
  names.push(...data.items.filter(({ userId }) => userId === user.userId).map(({ name }) => name));
  cursor = data.nextCursor;
} while (cursor);
assert.deepEqual(names, ["Ada Lovelace"]);

// Edit what was read, and put it back, once; a second time, that version is gone. Only an item of another
// client has no address.
current = read.data!;
assert.ok(current.email);
const body = { ...current, name: "Ada King", email: current.email, phone: "+442079460000", metadata: null };
const params = { path, header: { "If-Match": ETag } };
const replaced = await client.PUT("/users/{userId}", { params, body });
assert.equal(replaced.response.status, 200);
current = replaced.data!;
assert.deepEqual([current.version, current.metadata], [2, undefined]);
const stale = await client.PUT("/users/{userId}", { params, body });
assert.equal(stale.response.status, 412);
assert.equal(stale.error?.code, "version_mismatch");

// Change some of it, and leave the rest.
const patched = await client.PATCH("/users/{userId}", {
  params: { path },
  body: { phone: null, metadata: { team: "analysis" } },
});
assert.equal(patched.response.status, 200);
current = patched.data!;
assert.deepEqual([current.name, current.phone], ["Ada King", undefined]);

// What breaks a rule is told field by field.
const refused = await client.PUT("/users/{userId}", { params: { path }, body: { ...body, email: "none" } });
assert.equal(refused.response.status, 400);
assert.deepEqual(refused.error?.errors?.map(({ field }) => field), ["/email"]);

// Delete it; then it is gone, and among the deleted users.
const deleted = await client.DELETE("/users/{userId}", { params: { path } });
assert.equal(deleted.response.status, 204);
const gone = await client.GET("/users/{userId}", { params: { path } });
assert.equal(gone.response.status, 404);
assert.equal(gone.error?.message, "No user data found");
const kept = await client.GET("/deleted-users/{userId}", { params: { path } });
assert.equal(kept.data?.userId, user.userId);
assert.equal(kept.data.user.name, "Ada King");
assert.equal(kept.data.user.version, 4);
assert.ok(kept.data.expiresAt && kept.data.expiresAt > kept.data.deletedAt);

// Restore it, with another address; and only once.
const email = "ada.king@example.com";
const restored = await client.POST("/deleted-users/{userId}/restore", { params: { path }, body: { email } });
assert.equal(restored.response.status, 200);
current = restored.data!;
assert.deepEqual([current.email, current.version], [email, 5]);
const twice = await client.POST("/deleted-users/{userId}/restore", { params: { path } });
assert.equal(twice.response.status, 404);

// Its history says what was done, newest first, page by page.
const records: components["schemas"]["HistoryRecord"][] = [];
let after: string | undefined;
do {
  const query = { limit: 2, ...(after && { cursor: after }) };
  const { data } = await client.GET("/users/{userId}/history", { params: { path, query } });
  assert.ok(data);
  records.push(...data.items);
  after = data.nextCursor;
} while (after);
assert.deepEqual(
  records.map(({ type, version, changed }) => [type, version, changed]),
  [
    ["user.restored", 5, ["email"]],
    ["user.deleted", 4, []],
    ["user.updated", 3, ["phone", "metadata"]],
    ["user.updated", 2, ["name", "phone", "metadata"]],
    ["user.created", 1, ["name", "email", "metadata"]],
  ],
);
assert.equal(records[0]?.actor?.type, "service");
const exported = await client.GET("/users/{userId}/export", { params: { path } });
assert.deepEqual(exported.data, { user: restored.data, history: { items: records } });

// Erase it; then nothing but the history is left.
const erase = { path, query: { erase: true } };
assert.equal((await client.DELETE("/users/{userId}", { params: erase })).response.status, 204);
const erased = await client.GET("/users/{userId}/export", { params: { path } });
assert.deepEqual(Object.keys(erased.data ?? {}), ["history"]);
assert.equal(erased.data?.history?.items[0]?.type, "user.erased");
const { data: deletedUsers } = await client.GET("/deleted-users", { params: { query: { limit: 100 } } });
assert.ok(deletedUsers?.items.every(({ userId }) => userId !== user.userId));

// @ts-expect-error: a field that the contract does not have
void ({ name: "Ada", email: "ada@example.com", age: 36 } satisfies components["schemas"]["NewUser"]);
// @ts-expect-error: a field that the contract requires
void ({ name: "Ada" } satisfies components["schemas"]["NewUser"]);
// @ts-expect-error: a status that the contract does not have
void ({ status: "disbled" } satisfies components["schemas"]["UserPatch"]);
// @ts-expect-error: a path that the contract does not have
void (() => client.GET("/people"));

console.log(`${user.userId}: created, read, listed, replaced, patched, deleted, restored and erased`);
