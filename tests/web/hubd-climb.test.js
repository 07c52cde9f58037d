/** How the browser client gets back to a better transport: `node --test tests/web/*.test.js`. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { isPoll, notification, onPoll, onSse, settle } from "./fakes.js";

const CLIMB_MS = 30_000;
const ids = (scene) => scene.of("notification").map(({ id }) => id);
const told = (scene) => scene.of("state").map(({ state, transport }) => `${state} ${transport}`);

/** Until a climb is tried; its interval is jittered to three quarters. */
const untilClimb = (made, times = 1) => made.clock.advance(CLIMB_MS * 0.75 * times);

/** Heartbeats go on meanwhile. */
async function pass(made, ms) {
  for (let left = ms; left > 0; left -= 15_000) {
    await made.clock.advance(Math.min(left, 15_000));
    if (!made.request.aborted && !isPoll(made.request)) await made.request.beat("c0");
  }
}

describe("up", () => {
  test("beside what works, ever less often", async () => {
    const made = await onSse();
    for (const wait of [1, 2, 4, 8, 10, 10]) {
      const before = made.sockets.length;
      await pass(made, CLIMB_MS * 0.75 * wait - 1);
      assert.equal(made.sockets.length, before);
      await made.clock.advance(1);
      assert.equal(made.sockets.length, before + 1);
      made.socket.end();
      await settle();
      assert.deepEqual([made.hub.state, made.hub.transport], ["connected", "sse"]);
    }
    assert.equal(made.asked("/notifications").length, 1);
    assert.equal(made.of("state").length, 5, "nobody hears of tries that fail");
  });

  test("in the time that was set", async () => {
    const made = await onSse({ climbMs: 100, climbMaxMs: 150 });
    for (const wait of [75, 112.5, 112.5]) {
      const before = made.sockets.length;
      await made.clock.advance(wait);
      assert.equal(made.sockets.length, before + 1);
      made.socket.end();
    }
  });

  test("switches over, with nothing lost and nothing twice", async () => {
    const made = await onSse({ token: () => "t", topics: ["a"] });
    const stream = made.request;
    await stream.notify(notification(1));
    await untilClimb(made);
    assert.deepEqual(Object.fromEntries(made.socket.url.searchParams), { cursor: "c1", wait: "0", topics: "a" });
    await stream.notify(notification(2));
    made.socket.open();
    assert.deepEqual(made.socket.sent, [{ action: "auth", token: "t" }]);
    await stream.notify(notification(3));
    made.socket.receive({ hub: "later" });
    assert.equal(made.hub.transport, "sse");
    made.socket.receive({ hub: "welcome", user: "ada", connection: "n1", cursor: "c1", topics: ["a"], ping_s: 25 });
    assert.deepEqual([made.hub.transport, made.hub.state, stream.aborted], ["websocket", "connected", true]);
    assert.deepEqual(told(made).slice(-2), ["connected sse", "connected websocket"]);
    for (const n of [2, 3]) {
      made.socket.receive(notification(n));
      assert.equal(made.hub.cursor, "c3", "a page that is loaded now shall not begin before what was handed over");
    }
    made.socket.receive(notification(4));
    await stream.notify(notification(5));
    assert.deepEqual([ids(made), made.hub.cursor], [["id-1", "id-2", "id-3", "id-4"], "c4"]);
    assert.equal(made.of("error").length, 0);
    await made.clock.advance(24_000);
    assert.equal(made.sockets.length, 3, "there is nothing better");
    made.socket.end();
    assert.equal(made.lastState.state, "reconnecting");
  });

  test("says on the new connection what was on its way by the old one", async () => {
    const made = await onSse({ climbMs: 1_000 });
    await assert.rejects(made.hub.presence("lobby", { watch: true }), { code: "not_on_this_transport" });
    const acked = made.hub.ack("x");
    await made.clock.advance(750);
    await made.connected();
    assert.equal(made.asked("/api/acks", "POST")[0].aborted, true);
    assert.deepEqual(made.socket.actions("ack").map(({ ids }) => ids), [["x"]]);
    await made.reply("ack");
    await acked;
    assert.deepEqual(made.socket.actions("presence").map(({ topic, watch }) => [topic, watch]), [["lobby", true]]);
    assert.deepEqual(made.socket.actions("visibility").map(({ state }) => state), ["visible"]);
  });

  test("from polls to the best that works", async () => {
    const made = await onPoll();
    await untilClimb(made);
    made.socket.end();
    await settle();
    const stream = made.requests.at(-1);
    assert.equal(isPoll(stream), false);
    const poll = made.requests.at(-2);
    assert.equal(poll.aborted, false);
    await stream.welcome();
    assert.deepEqual([made.hub.transport, poll.aborted], ["sse", true]);
    await untilClimb(made);
    await made.connected();
    assert.deepEqual([made.hub.transport, stream.aborted], ["websocket", true]);
  });

  test("over a stream that is still held back: polls go on", async () => {
    const made = await onPoll();
    const poll = made.request;
    await untilClimb(made);
    made.socket.end();
    await settle();
    await made.clock.advance(5_000);
    assert.equal(made.requests.at(-1).aborted, true);
    assert.equal(poll.aborted, false);
    await poll.polled("c1", [notification(1)]);
    assert.deepEqual([ids(made), made.hub.transport], [["id-1"], "poll"]);
    await made.clock.advance(CLIMB_MS * 1.5);
    assert.equal(made.sockets.length, 4);
  });

  test("at once when the network is back", async () => {
    const made = await onPoll();
    made.page.network(false);
    await settle();
    assert.equal(made.sockets.length, 2);
    made.page.network(true);
    await settle();
    assert.equal(made.sockets.length, 3);
  });

  test("at once when the page is turned to, but not each time", async () => {
    const made = await onSse();
    const turnTo = async () => {
      made.page.turn("hidden");
      made.page.turn("visible");
      await settle();
    };
    for (const [wait, sockets] of [[0, 3], [4_999, 3], [1, 4]]) {
      await made.clock.advance(wait);
      await turnTo();
      assert.equal(made.sockets.length, sockets);
      made.socket.end();
    }
  });

  test("as late as a hub wants it that is asked too much", async () => {
    const made = await onPoll({ climbMs: 1_000 });
    await made.clock.advance(750);
    made.socket.open();
    made.socket.receive({ hub: "disconnect", code: 4029, reason: "too_many", reconnect: true, retry_after_s: 12 });
    await settle();
    await made.requests.at(-1).problem(429, "rate_limited", { "Retry-After": "15" });
    made.page.network(true);
    await settle();
    await made.request.polled("c0");
    await made.clock.advance(5_000);
    made.page.turn("visible");
    await made.clock.advance(9_999);
    assert.equal(made.sockets.length, 3);
    await made.clock.advance(1);
    assert.equal(made.sockets.length, 4);
    assert.equal(made.hub.state, "connected");
    made.socket.end();
    await settle();
    await made.requests.at(-1).fail();
    await made.clock.advance(1_400);
    made.page.turn("visible");
    await settle();
    assert.equal(made.sockets.length, 5, "it didn't say so again");
  });

  test("not with a bad token: what works goes on", async () => {
    const made = await onSse({ token: () => "t" });
    await untilClimb(made);
    made.socket.open();
    made.socket.end(4500, "bad_token");
    assert.deepEqual([made.hub.state, made.hub.transport], ["connected", "sse"]);
  });

  test("not by an address that is no longer right", async () => {
    const made = await onSse();
    await untilClimb(made);
    const [, , tried] = made.sockets;
    const joined = made.hub.subscribe("new");
    assert.equal(tried.closed, true);
    await made.clock.advance(10);
    await made.request.welcome({ connection: "s2" });
    await joined;
    await pass(made, CLIMB_MS * 1.5);
    assert.equal(made.socket.url.searchParams.get("topics"), "new");
    made.hub.unsubscribe("new").catch(() => {});
    assert.equal(made.socket.closed, true);
  });

  test("not in the middle of a flood", async () => {
    const made = await onSse();
    await untilClimb(made);
    for (let n = 0; n < 30; n++) await made.request.notify(notification(1_000 + n));
    made.socket.end();
    await pass(made, CLIMB_MS * 1.5);
    for (let n = 0; n < 50; n++) await made.request.notify(notification(n));
    assert.equal(made.socket.closed, false);
    await made.request.notify(notification(50));
    assert.deepEqual([made.socket.closed, ids(made).length], [true, 81]);
    await pass(made, CLIMB_MS * 3);
    assert.equal(made.sockets.length, 5);
  });

  test("never beside a client that was closed, dropped or cut off", async () => {
    for (const end of [(made) => made.hub.close(), (made) => made.hub.drop(1e6), (made) => made.request.end()]) {
      const made = await onSse();
      await untilClimb(made);
      const tried = made.socket;
      await end(made);
      assert.equal(tried.closed, true);
      await made.connected().catch(() => {});
      assert.notEqual(made.hub.state, "connected");
    }
  });
});
