/** Which transport the browser client takes, and when the next one: `node --test tests/web/*.test.js`. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { anyTransport, FakeStorage, isPoll, notification, onPoll, onSse, settle, withoutWebSocket } from "./fakes.js";

const told = (scene) => scene.of("state").map(({ state, transport }) => `${state} ${transport}`);
const CLIMB_MS = 30_000;

describe("down", () => {
  test("after two handshakes that failed, if server-sent events do work", async () => {
    const made = anyTransport();
    await settle();
    made.socket.end();
    assert.equal(made.requests.length, 0, "one may be a hub that restarts");
    await made.retried();
    made.socket.end();
    await settle();
    assert.equal(made.request.headers.Accept, "text/event-stream");
    await made.request.welcome();
    assert.deepEqual(told(made),
      ["connecting websocket", "reconnecting websocket", "connecting websocket", "connecting sse", "connected sse"]);
    assert.equal(made.hub.transport, "sse");
    assert.equal(made.sockets.length, 2);
  });

  test("after one handshake that came to nothing in its time", async () => {
    for (const begun of [false, true]) {
      const made = anyTransport();
      await settle();
      if (begun) made.socket.open();
      await made.clock.advance(15_000);
      assert.deepEqual([made.socket.closed, made.request?.headers.Accept], [true, "text/event-stream"]);
    }
  });

  test("not because no token could be had", async () => {
    for (const token of [() => Promise.reject(new Error("503")), () => new Promise(() => {})]) {
      const made = anyTransport({ token });
      for (let n = 0; n < 4; n++) {
        await made.clock.advance(15_000);
        await made.retried();
      }
      assert.deepEqual([made.sockets.length, made.requests.length], [0, 0]);
      assert.ok(!told(made).some((state) => state.includes("sse")));
    }
  });

  test("not because of what the hub itself says by WebSocket", async () => {
    const made = anyTransport();
    for (let n = 0; n < 4; n++) {
      await settle();
      made.socket.open();
      if (n % 2) made.socket.receive({ hub: "disconnect", code: 4029, reason: "too_many", reconnect: true });
      else made.socket.end(4029, "too_many");
      await made.retried();
    }
    assert.equal(made.requests.length, 0);
  });

  test("not because a connection that worked is lost or falls silent", async () => {
    const made = anyTransport();
    for (let n = 0; n < 3; n++) {
      await made.connected();
      if (n % 2) await made.clock.advance(40_000);
      else made.socket.end();
      await made.retried();
      made.socket.end();
      await made.retried();
    }
    assert.equal(made.requests.length, 0);
  });

  test("to polls, where a stream is begun and nothing comes", async () => {
    for (const begin of [(request) => request.begin(), () => {}]) {
      const made = await withoutWebSocket(anyTransport());
      const stream = made.request;
      await begin(stream);
      await made.clock.advance(4_999);
      assert.equal(made.requests.length, 1);
      await made.clock.advance(1);
      assert.deepEqual([stream.aborted, isPoll(made.request)], [true, true]);
      await made.request.polled("c0");
      assert.deepEqual(told(made).slice(-3), ["connecting sse", "connecting poll", "connected poll"]);
    }
  });

  test("to polls, where a stream dies before its welcome or is answered by something else", async () => {
    for (const dies of [
      async (request) => { await request.begin(); await request.push("retry: 1\n\n"); await request.end(); },
      (request) => request.fail(),
      (request) => request.answer(502, {}),
      (request) => request.begin(200, { "Content-Type": "text/html" }),
      (request) => request.problem(426, "upgrade_required"),
    ]) {
      const made = await withoutWebSocket(anyTransport());
      await dies(made.request);
      assert.equal(made.requests.length, 2);
      await made.request.polled("c0");
      assert.equal(made.hub.transport, "poll");
    }
  });

  test("to polls, where a stream falls silent", async () => {
    const made = await onSse({ climbMs: 1e9 });
    await made.request.notify(notification(1));
    await made.clock.advance(35_000);
    assert.deepEqual([isPoll(made.request), made.request.query.cursor], [true, "c1"]);
    await made.request.polled("c1");
    assert.equal(made.hub.transport, "poll");
  });

  test("not because the machine slept", async () => {
    const made = await onSse({ climbMs: 1e9 });
    made.clock.time += 3_600_000;
    made.page.turn("visible");
    assert.equal(made.lastState.state, "reconnecting");
    await made.retried();
    assert.equal(isPoll(made.request), false);
  });

  test("not while the hub is away: then the best goes first again", async () => {
    const made = await withoutWebSocket(anyTransport());
    for (let round = 0; round < 4; round++) {
      await made.request.fail(); // the stream
      assert.equal(isPoll(made.request), true);
      await made.request.fail();
      assert.equal(made.lastState.state, "reconnecting");
      await made.retried();
      assert.equal(made.sockets.length, 3 + round);
      made.socket.end();
      await settle();
    }
    await made.request.fail();
    await made.request.fail();
    await made.retried();
    await made.connected();
    assert.deepEqual([made.hub.transport, made.lastState.transport], ["websocket", "websocket"]);
    const requests = made.requests.length;
    made.socket.end();
    await made.retried();
    made.socket.end();
    await settle();
    assert.equal(made.asked("/notifications").length, requests, "what worked last has two tries again");
  });

  test("waits as the hub says, if it is the hub that says no by HTTP", async () => {
    const made = await withoutWebSocket(anyTransport());
    await made.request.problem(503, "unavailable", { "Retry-After": "30" });
    assert.equal(made.waitMs, 30_000 + 500);
    await made.clock.advance(29_999);
    assert.equal(made.requests.length, 1);
    await made.retried();
    assert.equal(made.sockets.length, 3);
    made.socket.end();
    await settle();
    await made.request.problem(403, "forbidden");
    assert.equal(made.lastState.state, "closed", "a WebSocket couldn't say that");
  });

  test("stays, where a lesser transport worked and is lost; tries the best first if it works no more", async () => {
    const made = await onSse();
    await made.request.end();
    await made.retried();
    assert.deepEqual([made.sockets.length, isPoll(made.request)], [2, false]);
    await made.request.welcome();
    await made.request.end();
    await made.retried();
    await made.request.fail();
    await made.request.fail();
    await made.retried();
    assert.equal(made.sockets.length, 3);
    made.socket.end();
    await settle();
    assert.equal(isPoll(made.request), false, "WebSocket was blocked before: once is enough");
  });

  test("only over the transports that are wanted and there", async () => {
    const two = await withoutWebSocket(anyTransport({ transports: ["websocket", "poll"] }));
    assert.equal(isPoll(two.request), true);
    const without = anyTransport({ WebSocket: null });
    await settle();
    assert.equal(without.request.headers.Accept, "text/event-stream");
    assert.throws(() => anyTransport({ transports: [] }), /none to connect by/);
    assert.throws(() => anyTransport({ transports: ["sse", "pigeon"] }), /there is no 'pigeon', only websocket, sse, poll/);
  });
});

describe("over page loads", () => {
  test("what worked is tried first, and the better goes on to be tried", async () => {
    const storage = new FakeStorage();
    await onSse({ storage });
    const after = anyTransport({ storage });
    await settle();
    assert.deepEqual([after.sockets.length, after.requests.length], [0, 1]);
    await after.request.welcome();
    await after.clock.advance(CLIMB_MS * 0.75);
    await after.connected();
    assert.equal(after.hub.transport, "websocket");
    const third = anyTransport({ storage });
    await settle();
    assert.deepEqual([third.sockets.length, third.requests.length], [1, 0]);
  });

  test("but nothing is lost if it works no more", async () => {
    const storage = new FakeStorage();
    await onPoll({ storage });
    const after = anyTransport({ storage });
    await settle();
    assert.equal(isPoll(after.request), true);
    await after.request.fail();
    await after.retried();
    after.socket.end();
    await settle();
    assert.equal(after.hub.transport, "sse", "it was blocked on the page before: once is enough");
    await after.request.fail();
    await after.request.fail();
    await after.retried();
    await after.connected();
    assert.equal(after.hub.transport, "websocket");
  });

  test("and only if it is still wanted", async () => {
    const storage = new FakeStorage();
    await onPoll({ storage });
    for (const [transports, sockets] of [[["websocket", "sse"], 1], [["websocket", "sse", "poll"], 0]]) {
      const after = anyTransport({ storage, transports });
      await settle();
      assert.equal(after.sockets.length, sockets);
    }
  });
});
