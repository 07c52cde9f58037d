/** What the browser client says by requests, beside a stream: `node --test tests/web/*.test.js`. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { byEvents, GATHER_MS, notification, settle, streaming } from "./fakes.js";

const ids = (scene) => scene.of("notification").map(({ id }) => id);
const codes = (scene) => scene.of("error").map(({ code }) => code);

describe("topics", () => {
  test("join by a new stream from the cursor, several in one", async () => {
    const made = await streaming({ topics: ["a"] });
    await made.request.notify(notification(1));
    const [first] = made.asked("/notifications");
    const joined = Promise.all([made.hub.subscribe("b"), made.hub.subscribe(["c", "notifications", "user:ada"])]);
    await made.clock.advance(GATHER_MS);
    assert.deepEqual([first.aborted, made.asked("/notifications").length], [true, 2]);
    assert.deepEqual(made.request.query, { acks: "1", cursor: "c1", topics: "a,b,c" });
    await made.request.welcome({ connection: "s2", cursor: "c1" });
    assert.deepEqual((await joined).map(({ topics }) => topics), [["b"], ["c", "notifications", "user:ada"]]);
    assert.deepEqual([made.hub.topics, made.of("state").length, made.hub.state], [["a", "b", "c"], 2, "connected"]);
    await made.request.notify(notification(2));
    assert.deepEqual([ids(made), made.hub.cursor], [["id-1", "id-2"], "c2"]);
  });

  test("that it has already need none; those left do", async () => {
    const made = await streaming({ topics: ["a", "b"] });
    await made.hub.subscribe(["a", "notifications"]);
    await made.hub.unsubscribe("never");
    assert.equal(made.asked("/notifications").length, 1);
    const left = made.hub.unsubscribe("a");
    await made.clock.advance(GATHER_MS);
    assert.equal(made.request.query.topics, "b");
    await made.request.welcome();
    assert.deepEqual((await left).topics, ["a"]);
  });

  test("that are refused are forgotten, and those that came with them left again", async () => {
    const made = await streaming({ topics: ["a"] });
    const denied = assert.rejects(made.hub.subscribe(["b", "secret"]), { code: "forbidden", refused: true });
    await made.clock.advance(GATHER_MS);
    assert.equal(made.request.query.topics, "a,b,secret");
    await made.request.welcome({ topics: ["a", "b"] });
    await denied;
    await made.clock.advance(GATHER_MS);
    assert.deepEqual([made.request.query.topics, made.hub.topics], ["a", ["a"]]);
  });

  test("of the start that are refused are told, once", async () => {
    const made = byEvents({ topics: ["open", "secret"] });
    await settle();
    await made.request.welcome({ topics: ["open"] });
    made.page.network(true);
    await settle();
    await made.request.welcome({ topics: ["open"] });
    assert.deepEqual(made.of("error").map(({ code, topic }) => [code, topic]), [["forbidden", "secret"]]);
  });

  test("for good go by requests of their own", async () => {
    const made = await streaming();
    const joined = made.hub.subscribe(["a|b", "c"], { durable: true });
    await settle();
    const [first] = made.asked("/api/subscriptions/a%7Cb", "PUT");
    await first.answer(201, { topic: "a|b" });
    await made.asked("/api/subscriptions/c", "PUT")[0].answer(200, { topic: "c" });
    assert.deepEqual((await joined).topics, ["a|b", "c"]);
    const left = made.hub.unsubscribe("c", { durable: true });
    await settle();
    await made.asked("/api/subscriptions/c", "DELETE")[0].problem(404, "not_found");
    assert.deepEqual((await left).topics, ["c"]);
    assert.equal(made.asked("/notifications").length, 1);
    const denied = assert.rejects(made.hub.subscribe("no", { durable: true }), { code: "forbidden" });
    await settle();
    await made.asked("/api/subscriptions/no", "PUT")[0].problem(403, "forbidden");
    await denied;
  });

  test("too many for an address are refused, without disturbing the others", async () => {
    const many = Array.from({ length: 50 }, (_, n) => `team:${"x".repeat(150)}:${n}`);
    const made = await streaming({ topics: many });
    const carried = made.request.query.topics.split(",");
    assert.ok(carried.length > 30 && carried.length < 50 && made.request.url.href.length < 7_000);
    await settle();
    assert.deepEqual(codes(made), many.slice(carried.length).map(() => "not_on_this_transport"));
    const refusal = { code: "not_on_this_transport", message: /one-more.*address/ };
    await assert.rejects(made.hub.subscribe("one-more"), refusal);
    assert.equal(made.asked("/notifications").length, 1);
    made.page.network(true);
    await settle();
    await made.request.welcome();
    await settle();
    assert.equal(codes(made).length, many.length - carried.length, "told once");
  });

  test("with a cursor of their own are read from there first, and nothing else is", async () => {
    const made = await streaming({ cursor: "c8" });
    const joined = made.hub.subscribe("late", { cursor: "c2" });
    await settle();
    assert.deepEqual(made.request.query, { acks: "1", cursor: "c2", wait: "0", topics: "late" });
    const old = [notification(3, { channel: "late" }), notification(4, { channel: "user:ada:notifications" })];
    await made.request.polled("c7", old, { channel: "late", reason: "evicted" });
    assert.equal(made.request.query.cursor, "c7");
    await made.request.polled("c9");
    assert.deepEqual([ids(made), made.of("gap").length, made.hub.cursor], [["id-3"], 1, "c8"]);
    await made.clock.advance(GATHER_MS);
    assert.deepEqual(made.request.query, { acks: "1", cursor: "c8", topics: "late" });
    await made.request.welcome();
    const { replayed, recovered } = await joined;
    assert.deepEqual([replayed, recovered], [1, false]);
    await made.request.notify(notification(3, { channel: "late", cursor: "c8b" }));
    assert.deepEqual([ids(made), made.hub.cursor], [["id-3"], "c8b"]);
  });
});

describe("what is said by requests", () => {
  test("acks, of a burst together", async () => {
    const made = await streaming();
    for (let n = 0; n < 300; n++) await made.request.notify(notification(n));
    await made.clock.advance(200);
    const acks = made.asked("/api/acks", "POST");
    assert.deepEqual(acks.map(({ body }) => [body.ids.length, body.connection]), [[250, "s1"], [50, "s1"]]);
    assert.equal(acks[0].headers["Content-Type"], "application/json");
  });

  test("acks again, when they didn't get through or came too soon, but not when they weren't wanted", async () => {
    for (const [fails, waitMs] of [
      [(request) => request.fail(), 5_000],
      [(request) => request.answer(502, {}, { "Retry-After": "1" }), 5_000],
      [(request) => request.problem(429, "rate_limited", { "Retry-After": "8" }), 8_000],
      [(request) => request.problem(422, "invalid"), null],
    ]) {
      const made = await streaming();
      await made.request.notify(notification(1));
      await made.clock.advance(50);
      await fails(made.asked("/api/acks", "POST")[0]);
      await made.clock.advance((waitMs ?? 20_000) - 1);
      assert.equal(made.asked("/api/acks", "POST").length, 1);
      await made.clock.advance(1);
      assert.equal(made.asked("/api/acks", "POST").length, waitMs ? 2 : 1);
      assert.equal(made.hub.state, "connected");
    }
  });

  test("with a fresh token, where the old one isn't taken any more", async () => {
    let n = 0;
    const made = await streaming({ token: () => `t${++n}` });
    const acked = made.hub.ack("x");
    await settle();
    await made.asked("/api/acks", "POST")[0].problem(401, "unauthorized");
    const second = made.asked("/api/acks", "POST")[1];
    assert.equal(second.headers.Authorization, "Bearer t2");
    await second.begin(204, {});
    assert.equal((await acked).ok, true);
    const denied = assert.rejects(made.hub.ack("y"), { code: "unauthorized" });
    await settle();
    for (const _ of ["the old token", "the fresh one"]) {
      await made.asked("/api/acks", "POST").at(-1).problem(401, "unauthorized");
    }
    await denied;
    assert.equal(made.hub.state, "connected", "the stream says when it is over");
  });

  test("that hang are given up", async () => {
    const made = await streaming();
    const late = assert.rejects(made.hub.ack("x"), { code: "disconnected", refused: false });
    await settle();
    await made.clock.advance(9_000);
    await late;
    assert.equal(made.asked("/api/acks", "POST")[0].aborted, true);
  });

  test("whether the page can be seen, one after the other, and to each connection", async () => {
    const made = await streaming();
    const said = () => made.asked("/api/visibility", "POST").map(({ body }) => [body.connection, body.state]);
    await settle();
    made.page.turn("hidden");
    await settle();
    assert.deepEqual(said(), [["s1", "visible"]]);
    await made.asked("/api/visibility", "POST")[0].fail();
    assert.deepEqual(said(), [["s1", "visible"], ["s1", "hidden"]]);
    await made.asked("/api/visibility", "POST")[1].begin(204, {});
    made.page.network(true);
    await settle();
    await made.request.welcome({ connection: "s2" });
    await settle();
    assert.deepEqual(said().at(-1), ["s2", "hidden"]);
  });

  test("not: publishing and presence", async () => {
    const made = await streaming();
    const refusal = { code: "not_on_this_transport", refused: true, message: /publish needs a WebSocket.*by sse/ };
    await assert.rejects(made.hub.publish({ to: "a", notification: { type: "x" } }), refusal);
    await assert.rejects(made.hub.presence("lobby"), { code: "not_on_this_transport" });
  });
});
