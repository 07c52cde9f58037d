/** The browser client by server-sent events: `node --test tests/web/*.test.js`. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { byEvents, GATHER_MS, notification, settle, streaming } from "./fakes.js";

const ids = (scene) => scene.of("notification").map(({ id }) => id);
const codes = (scene) => scene.of("error").map(({ code }) => code);

describe("a stream", () => {
  test("is asked for with the token in a header, and never anywhere else", async () => {
    const made = await streaming({ token: () => "s3cret", topics: ["team:a+b", "lobby"], cursor: "kept" });
    const { url, headers, options, query } = made.request;
    assert.deepEqual(query, { acks: "1", cursor: "kept", topics: "team:a+b,lobby" });
    assert.deepEqual(headers, { Accept: "text/event-stream", Authorization: "Bearer s3cret" });
    assert.deepEqual([options.cache, options.credentials, options.redirect], ["no-store", "include", "error"]);
    await made.request.notify(notification(1));
    await made.clock.advance(50);
    assert.deepEqual(made.requests.map((each) => each.headers.Authorization), made.requests.map(() => "Bearer s3cret"));
    assert.ok(![url, ...made.requests.map((each) => each.url)].some(({ href }) => href.includes("s3cret")));
  });

  test("in development mode says who it is in every address", async () => {
    const made = await streaming({ user: "ada" });
    assert.equal(made.request.headers.Authorization, undefined);
    await made.request.notify(notification(1));
    await made.clock.advance(50);
    assert.deepEqual(made.requests.map(({ query }) => query.user), made.requests.map(() => "ada"));
    assert.ok(made.asked("/api/acks", "POST").length === 1);
  });

  test("and all requests keep what the address had, and lie where it lies", async () => {
    const made = await streaming({ url: "https://example.test/hub/notifications?tenant=x" });
    await made.request.notify(notification(1));
    await made.clock.advance(50);
    assert.deepEqual(made.requests.map(({ path, query }) => [path, query.tenant]),
      [["/hub/notifications", "x"], ["/hub/api/visibility", "x"], ["/hub/api/acks", "x"]]);
  });

  test("brings what a WebSocket brings, and tells by what it goes", async () => {
    const made = await streaming();
    assert.deepEqual(made.of("state").map(({ state, transport }) => [state, transport]),
      [["connecting", "sse"], ["connected", "sse"]]);
    assert.deepEqual([made.hub.transport, made.of("welcome")[0].connection, made.hub.cursor], ["sse", "s1", "c0"]);
    await made.request.notify(notification(1));
    await made.request.notify(notification(1));
    for (const hub of ["read", "retract"]) await made.request.hub({ hub, ids: ["id-1"] });
    await made.request.hub({ hub: "gap", channel: null, reason: "epoch" });
    await made.request.hub({ hub: "later" });
    assert.deepEqual([ids(made), made.hub.cursor], [["id-1"], "c1"]);
    assert.deepEqual(made.events.slice(-3).map(({ event }) => event), ["read", "retract", "gap"]);
  });

  test("moves the cursor with a bare id, but not with the one before its welcome", async () => {
    const made = byEvents({ cursor: "mine" });
    await settle();
    await made.request.begin();
    await made.request.push("retry: 2000\nid: other\n\n");
    assert.equal(made.hub.cursor, "mine");
    await made.request.hub({ hub: "welcome", connection: "s1", cursor: "other", topics: [] });
    assert.equal(made.hub.cursor, "mine");
    await made.request.beat("c5");
    assert.equal(made.hub.cursor, "c5");
    await made.request.push("id:\n\n");
    assert.equal(made.hub.cursor, "c5");
  });

  test("takes the id where a notification doesn't say its cursor", async () => {
    const made = await streaming();
    await made.request.push('id: c9\ndata: {"id":"x","type":"alert"}\n\n');
    assert.equal(made.hub.cursor, "c9");
  });

  test("survives what is no frame", async () => {
    const made = await streaming();
    for (const text of ["{", "null", "7", '{"type":"alert"}']) await made.request.push(`data: ${text}\n\n`);
    assert.deepEqual([made.hub.state, codes(made)], ["connected", Array(4).fill("bad_frame")]);
  });

  test("that ends or breaks is followed by another, from the cursor", async () => {
    for (const over of [(request) => request.end(), (request) => request.fail(),
      (request) => request.push(new Uint8Array(5 * 1024 * 1024).fill(120))]) {
      const made = await streaming();
      await made.request.notify(notification(1));
      await over(made.request);
      assert.equal(made.lastState.state, "reconnecting");
      assert.equal(made.request.aborted, true);
      await made.retried();
      assert.equal(made.request.query.cursor, "c1");
      await made.request.welcome();
      assert.equal(made.hub.state, "connected");
    }
  });

  test("is given up when not even a heartbeat comes for 35 s", async () => {
    const made = await streaming();
    await made.clock.advance(34_000);
    await made.request.beat("c1");
    await made.clock.advance(34_999);
    assert.equal(made.hub.state, "connected");
    await made.clock.advance(1);
    assert.deepEqual([made.lastState.state, made.lastState.reason], ["reconnecting", "the hub went silent"]);
    assert.equal(made.request.aborted, true);
  });

  test("is opened anew when the network changes, without a word", async () => {
    const made = await streaming();
    await made.request.notify(notification(1));
    const old = made.request;
    made.page.network(true);
    await settle();
    assert.deepEqual([old.aborted, made.request.query.cursor, made.hub.state], [true, "c1", "connected"]);
    await made.request.welcome({ connection: "s2" });
    assert.equal(made.of("state").length, 2);
    await made.request.notify(notification(2));
    assert.deepEqual(ids(made), ["id-1", "id-2"]);
    await old.notify(notification(3));
    assert.deepEqual(ids(made), ["id-1", "id-2"], "what was given up says nothing any more");
  });

  test("can be closed by a listener in the middle of what came", async () => {
    const made = await streaming();
    made.hub.addEventListener("notification", () => made.hub.close());
    await made.request.push([1, 2].map((n) => `data: ${JSON.stringify(notification(n))}\n\n`).join(""));
    assert.deepEqual([ids(made), made.hub.cursor], [["id-1"], "c1"]);
  });

  test("has its full time when it is opened anew just before the other would have been given up", async () => {
    const made = await streaming();
    await made.clock.advance(34_000);
    made.page.network(true);
    const acked = made.hub.ack("x");
    await made.clock.advance(4_000);
    assert.equal(made.asked("/api/acks", "POST")[0].body.connection, undefined, "there is none at this moment");
    await made.request.welcome();
    assert.equal(made.hub.state, "connected");
    await made.asked("/api/acks", "POST")[0].answer(200, { ok: true });
    await acked;
  });

  test("leaves nothing behind when closed", async () => {
    const made = await streaming();
    const [, visibility] = made.requests;
    await visibility.begin(204, {});
    await made.request.notify(notification(1));
    await made.clock.advance(50);
    made.hub.close();
    await settle();
    assert.deepEqual(made.requests.map(({ path, aborted }) => [path, aborted]),
      [["/notifications", true], ["/api/visibility", false], ["/api/acks", true]]);
    assert.equal(made.clock.waiting, 0);
  });
});

describe("refusals", () => {
  /** The first stream answered so. */
  async function refused(options, status, code, headers) {
    const made = byEvents(options);
    await settle();
    await made.request.problem(status, code, headers);
    return made;
  }

  test("401 ends it, unless a fresh token does", async () => {
    const given = await refused({ token: "fixed" }, 401, "unauthorized");
    const { state, code, reason } = given.lastState;
    assert.deepEqual([state, code, reason], ["closed", 401, "unauthorized!"]);
    let n = 0;
    const asked = await refused({ token: () => `t${++n}` }, 401, "unauthorized");
    assert.deepEqual(asked.requests.map(({ headers }) => headers.Authorization), ["Bearer t1", "Bearer t2"]);
    await asked.request.welcome();
    assert.equal(asked.hub.state, "connected");
    const never = await refused({ token: () => "old" }, 401, "unauthorized");
    await never.request.problem(401, "unauthorized");
    assert.deepEqual([never.lastState.state, never.requests.length], ["closed", 2]);
  });

  test("403 ends it", async () => {
    const made = await refused({ token: () => "t" }, 403, "forbidden");
    assert.deepEqual([made.lastState.state, made.lastState.code, made.requests.length], ["closed", 403, 1]);
    await made.clock.advance(120_000);
    assert.equal(made.requests.length, 1);
  });

  test("429 and 503 say how long to stay away", async () => {
    for (const [status, code] of [[429, "rate_limited"], [503, "unavailable"]]) {
      const made = await refused({}, status, code, { "Retry-After": "20" });
      assert.deepEqual([made.lastState.state, made.lastState.code, made.waitMs], ["reconnecting", status, 20_250]);
      made.page.network(true);
      assert.equal(made.waitMs, 20_000);
    }
  });

  test("of a proxy are no word of the hub's", async () => {
    for (const status of [401, 403, 404, 502]) {
      const made = byEvents();
      await settle();
      await made.request.answer(status, { no: true });
      assert.deepEqual([made.lastState.state, made.lastState.reason], ["reconnecting", `HTTP ${status}`]);
    }
  });

  test("as an answer that is no stream", async () => {
    const made = byEvents();
    await settle();
    await made.request.begin(200, { "Content-Type": "text/html" });
    assert.equal(made.lastState.state, "reconnecting");
    assert.equal(made.request.aborted, true);
  });
});

describe("when to come back", () => {
  test("after what `retry:` says at least", async () => {
    const made = await streaming();
    await made.request.end();
    assert.equal(made.waitMs, 2_250);
    await made.retried();
    await made.request.welcome();
    await made.request.push("retry: 9000\n\n");
    await made.request.end();
    assert.equal(made.waitMs, 9_000 + 500);
    await made.retried();
    await made.request.welcome();
    await made.request.push("retry: 99999999999\n\n");
    await made.request.end();
    assert.equal(made.waitMs, 3_600_000 + 1_000);
  });

  test("after what a disconnect says", async () => {
    const made = await streaming();
    await made.request.hub({ hub: "disconnect", code: 4000, reason: "shutdown", reconnect: true, retry_after_s: 7.5 });
    assert.deepEqual([made.lastState.code, made.lastState.reason, made.waitMs], [4000, "shutdown", 7_750]);
    assert.equal(made.request.aborted, true);
  });

  test("never, if the hub says so", async () => {
    const made = await streaming();
    await made.request.hub({ hub: "disconnect", code: 4507, reason: "revoked", reconnect: false });
    assert.deepEqual([made.lastState.state, made.lastState.code], ["closed", 4507]);
  });
});

describe("a token that expires", () => {
  test("is renewed by a new stream, from the cursor", async () => {
    let n = 0;
    const made = await streaming({ token: () => `t${++n}` });
    await made.request.notify(notification(1));
    await made.request.hub({ hub: "token_expiring", in_s: 30 });
    await made.clock.advance(GATHER_MS);
    assert.deepEqual([made.request.headers.Authorization, made.request.query.cursor], ["Bearer t2", "c1"]);
    await made.request.welcome();
    assert.deepEqual([made.of("state").length, codes(made), made.of("welcome").length], [2, [], 2]);
  });

  test("and ran out, is replaced if another can be had", async () => {
    for (const [token, state] of [["fixed", "closed"], [() => "t", "reconnecting"]]) {
      const made = await streaming({ token });
      await made.request.hub({ hub: "disconnect", code: 4001, reason: "expired", reconnect: true, retry_after_s: 0 });
      assert.equal(made.lastState.state, state);
    }
  });
});
