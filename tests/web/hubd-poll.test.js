/** The browser client by long-polling: `node --test tests/web/*.test.js`. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { notification, Scene, settle } from "./fakes.js";

const ids = (scene) => scene.of("notification").map(({ id }) => id);
const GATHER_MS = 10;
const PACE_MS = 100;

/** Up to the second poll, the first that waits. */
async function polling(options, answer = ["c0"]) {
  const made = new Scene({ transports: ["poll"], ...options });
  await settle();
  await made.request.polled(...answer);
  return made;
}

describe("polling", () => {
  test("learns where it stands, then waits there", async () => {
    const made = await polling({ token: () => "s3cret", topics: ["a"] });
    const [first, second] = made.requests;
    assert.deepEqual([first.query, second.query],
      [{ acks: "1", wait: "0", topics: "a" }, { acks: "1", cursor: "c0", wait: "25", topics: "a" }]);
    assert.deepEqual(second.headers, { Accept: "application/json", Authorization: "Bearer s3cret" });
    assert.deepEqual(made.of("state").map(({ state, transport }) => [state, transport]),
      [["connecting", "poll"], ["connected", "poll"]]);
    const { event, ...welcome } = made.of("welcome")[0];
    assert.deepEqual(welcome, { hub: "welcome", cursor: "c0", topics: ["a"] });
  });

  test("hands over, and goes on behind it", async () => {
    const made = await polling();
    await made.request.polled("c9", [notification(1), notification(2), notification(1)]);
    assert.deepEqual([ids(made), made.hub.cursor], [["id-1", "id-2"], "c9"]);
    await made.clock.advance(PACE_MS);
    assert.equal(made.request.query.cursor, "c9");
    await made.request.polled("c12", [notification(3)], { channel: null, reason: "evicted" });
    assert.deepEqual(made.of("gap"), [{ event: "gap", channel: null, reason: "evicted" }]);
    assert.deepEqual(ids(made), ["id-1", "id-2", "id-3"]);
    assert.equal(made.of("state").length, 2);
  });

  test("resumes: a gap is told before what is left", async () => {
    const made = await polling({ cursor: "old" }, ["c5", [notification(4)], { channel: null, reason: "epoch" }]);
    assert.deepEqual([made.requests[0].query.cursor, made.requests[0].query.wait], ["old", "0"]);
    const { cursor, recovered } = made.of("welcome")[0];
    assert.deepEqual([cursor, recovered, made.hub.cursor], ["old", false, "c5"]);
    assert.deepEqual(made.events.slice(-2).map(({ event }) => event), ["gap", "notification"]);
    assert.equal((await polling({ cursor: "c4" })).of("welcome")[0].recovered, true);
  });

  test("is not drawn into a circle by answers that don't wait", async () => {
    const made = await polling();
    await made.request.polled("c1");
    assert.equal(made.requests.length, 2);
    await made.clock.advance(999);
    assert.equal(made.requests.length, 2);
    await made.clock.advance(1);
    assert.equal(made.requests.length, 3);
    await made.clock.advance(25_000);
    await made.request.polled("c1");
    assert.equal(made.requests.length, 4);
  });

  test("takes several in one answer where much is published", async () => {
    const made = await polling();
    await made.clock.advance(40);
    await made.request.polled("c1", [notification(1)]);
    await made.clock.advance(59);
    assert.equal(made.requests.filter(({ path }) => path === "/notifications").length, 2);
    await made.clock.advance(1);
    await made.clock.advance(20_000);
    await made.request.polled("c2", [notification(2)]);
    assert.equal(made.asked("/notifications").length, 4, "what comes seldom isn't held up");
  });

  test("gives up an answer that doesn't come, first or later", async () => {
    const first = new Scene({ transports: ["poll"] });
    await first.clock.advance(10_000);
    assert.deepEqual([first.lastState.state, first.requests[0].aborted], ["reconnecting", true]);
    const later = await polling();
    await later.clock.advance(34_999);
    assert.equal(later.hub.state, "connected");
    await later.clock.advance(1);
    assert.deepEqual([later.lastState.state, later.request.aborted], ["reconnecting", true]);
  });

  test("is a connection only if a hub answers", async () => {
    for (const body of [{}, null, [], "x", { cursor: "c1" }, { cursor: 1, notifications: [] }]) {
      const made = new Scene({ transports: ["poll"] });
      await settle();
      await made.requests[0].answer(200, body);
      assert.equal(made.lastState.state, "reconnecting", JSON.stringify(body));
    }
  });

  test("after a break goes on from the cursor", async () => {
    const made = await polling();
    await made.request.polled("c3", [notification(3)]);
    await made.clock.advance(PACE_MS);
    await made.request.fail();
    assert.equal(made.lastState.state, "reconnecting");
    await made.retried();
    assert.deepEqual([made.request.query.cursor, made.request.query.wait], ["c3", "0"]);
  });

  test("obeys a hub that stops, and ends where it isn't wanted", async () => {
    const made = await polling();
    await made.request.problem(503, "unavailable", { "Retry-After": "7.5" });
    assert.deepEqual([made.lastState.state, made.lastState.code, made.waitMs], ["reconnecting", 503, 7_750]);
    for (const status of [401, 403]) {
      const out = await polling();
      await out.request.problem(status, "no");
      assert.deepEqual([out.lastState.state, out.lastState.code], ["closed", status]);
    }
  });

  test("takes a fresh token in passing", async () => {
    let n = 0;
    const made = await polling({ token: () => `t${++n}` });
    await made.request.problem(401, "unauthorized");
    assert.deepEqual([made.request.headers.Authorization, made.request.query.wait], ["Bearer t2", "25"]);
    await made.request.polled("c4", [notification(4)]);
    assert.deepEqual([ids(made), made.of("state").length], [["id-4"], 2]);
  });

  test("can be closed by a listener in the middle of an answer", async () => {
    const made = await polling();
    made.hub.addEventListener("notification", () => made.hub.close());
    await made.request.polled("c9", [notification(1), notification(2)]);
    assert.deepEqual([ids(made), made.hub.cursor, made.requests.length], [["id-1"], "c1", 2]);
  });
});

describe("what is said meanwhile", () => {
  test("acks, without a connection; nothing of who looks", async () => {
    const made = await polling();
    await made.request.polled("c1", [notification(1)]);
    made.page.turn("hidden");
    made.page.turn("visible");
    await made.clock.advance(50);
    assert.deepEqual(made.asked("/api/acks", "POST").map(({ body }) => body), [{ ids: ["id-1"] }]);
    assert.deepEqual(made.asked("/api/visibility", "POST"), []);
  });

  test("other topics: by another poll at once, if they may be had", async () => {
    const made = await polling();
    const old = made.request;
    const joined = made.hub.subscribe("a|b");
    await made.clock.advance(GATHER_MS);
    assert.deepEqual([old.aborted, made.request.query], [true, { acks: "1", cursor: "c0", wait: "0", topics: "a|b" }]);
    await made.request.polled("c2", [notification(2)]);
    await made.asked("/api/channels/a%7Cb/history")[0].answer(200, { notifications: [], cursor: "c2" });
    assert.deepEqual((await joined).topics, ["a|b"]);
    assert.deepEqual([made.request.query.wait, made.hub.cursor, made.of("state").length], ["25", "c2", 2]);
    const left = made.hub.unsubscribe("a|b");
    await made.clock.advance(GATHER_MS);
    assert.equal(made.request.query.topics, undefined);
    await made.request.polled("c3");
    await left;
  });

  test("topics that may not be had are refused, as by any other transport", async () => {
    const made = await polling();
    const denied = assert.rejects(made.hub.subscribe("secret"), { code: "forbidden", refused: true });
    await made.clock.advance(GATHER_MS);
    await made.request.polled("c2");
    await made.asked("/api/channels/secret/history")[0].problem(403, "forbidden");
    await denied;
    assert.deepEqual(made.hub.topics, []);
  });

  test("topics that its address has no room for are told", async () => {
    const many = Array.from({ length: 50 }, (_, n) => `team:${"x".repeat(150)}:${n}`);
    const made = await polling({ topics: many });
    const carried = made.request.query.topics.split(",");
    assert.ok(carried.length > 30 && made.request.url.href.length < 7_000);
    await settle();
    assert.deepEqual(made.of("error").map(({ topic }) => topic), many.slice(carried.length));
  });

  test("not: publishing", async () => {
    const made = await polling();
    await assert.rejects(made.hub.publish({ to: "a" }), { code: "not_on_this_transport", message: /by poll/ });
  });
});
