/** What keeps the connection up: `node --test tests/web/*.test.js`. */

import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { describe, test } from "node:test";

import { notification, Scene, settle } from "./fakes.js";

const refused = (code) => ({ ok: false, error: { code, message: code } });
const query = (socket) => Object.fromEntries(socket.url.searchParams);

describe("connecting", () => {
  test("asks for the subprotocol, with user and topics in the URL, and tells its states", async () => {
    const scene = await new Scene({ user: "ada", topics: ["team:a+b", "lobby"] }).connected();
    assert.equal(scene.socket.url.protocol, "ws:");
    assert.deepEqual(scene.socket.protocols, ["hubd.v1.json"]);
    assert.deepEqual(query(scene.socket), { user: "ada", topics: "team:a+b,lobby" });
    assert.deepEqual(scene.of("state").map(({ state }) => state), ["connecting", "connected"]);
    assert.equal(scene.of("welcome")[0].connection, "n1");
    assert.deepEqual(scene.of("error"), []);
  });

  test("waits to be told with autoConnect off, and connects once", async () => {
    const scene = new Scene({ autoConnect: false });
    await settle();
    assert.equal(scene.hub.state, "closed");
    scene.hub.connect();
    scene.hub.connect();
    await scene.connected();
    assert.equal(scene.sockets.length, 1);
  });

  test("gives up on a handshake that doesn't come to a welcome", async () => {
    const scene = new Scene();
    await scene.clock.advance(15_000);
    assert.equal(scene.lastState.state, "reconnecting");
    assert.equal(scene.sockets[0].closed, true);
  });

  test("says which topics of the URL were refused, and goes on asking for them", async () => {
    const scene = await new Scene({ topics: ["open", "secret"] }).connected({ topics: ["open"] });
    assert.deepEqual(scene.of("error").map(({ code, topic }) => [code, topic]), [["forbidden", "secret"]]);
    assert.deepEqual(scene.hub.topics, ["open", "secret"]);
  });

  test("survives what is no frame", async () => {
    const scene = await new Scene().connected();
    for (const text of ["{", "null", "7", '{"hub":"later"}', '{"type":"alert"}']) scene.socket.receive(text);
    assert.equal(scene.hub.state, "connected");
    assert.equal(scene.of("error").length, 4);
    assert.equal(scene.of("notification").length, 0);
  });
});

describe("coming back", () => {
  test("waits anywhere between zero and a bound that doubles up to 30 s", async () => {
    for (const share of [0, 0.25, 0.999]) {
      const scene = new Scene();
      scene.random = () => share;
      await settle();
      for (const bound of [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
        scene.socket.end();
        assert.equal(scene.waitMs, share * bound);
        await scene.retried();
      }
    }
  });

  test("forgets its failures only after a connection that was stable", async () => {
    const scene = new Scene();
    for (const bound of [500, 1_000, 2_000]) {
      await scene.connected();
      await scene.clock.advance(4_000);
      scene.socket.end();
      assert.equal(scene.waitMs, 0.5 * bound);
      await scene.retried();
    }
    await scene.connected();
    await scene.clock.advance(5_000);
    scene.socket.end();
    assert.equal(scene.waitMs, 250);
  });

  test("stays away for as long as the hub said, even when the network comes back", async () => {
    const scene = await new Scene().connected();
    scene.socket.receive({ hub: "disconnect", code: 4029, reason: "too_many", reconnect: true, retry_after_s: 20 });
    assert.equal(scene.socket.closed, true);
    assert.deepEqual([scene.lastState.reason, scene.lastState.code, scene.waitMs], ["too_many", 4029, 20_250]);
    scene.page.network(true);
    assert.equal(scene.waitMs, 20_000);
    await scene.clock.advance(19_999);
    assert.equal(scene.sockets.length, 1);
  });

  test("is not talked into a timer that overflows", async () => {
    const scene = await new Scene().connected();
    scene.socket.receive({ hub: "disconnect", code: 4000, reason: "shutdown", reconnect: true, retry_after_s: 1e12 });
    assert.equal(scene.waitMs, 3_600_250);
  });

  test("does not come back after a final code, nor when the hub says so", async () => {
    for (const code of [4500, 4501, 4507]) {
      const scene = await new Scene().connected();
      scene.socket.end(code, "why");
      assert.deepEqual([scene.lastState.state, scene.lastState.reason, scene.lastState.code], ["closed", "why", code]);
      await scene.clock.advance(120_000);
      assert.equal(scene.sockets.length, 1);
    }
    const scene = await new Scene().connected();
    scene.socket.receive({ hub: "disconnect", code: 4999, reason: "go", reconnect: false });
    assert.equal(scene.lastState.state, "closed");
    scene.hub.connect();
    await scene.connected();
    assert.equal(scene.hub.state, "connected");
  });

  test("does come back after any other code", async () => {
    for (const code of [1000, 1001, 1006, 1011, 4000, 4009, 4029]) {
      const scene = await new Scene().connected();
      scene.socket.end(code);
      assert.equal(scene.lastState.state, "reconnecting");
      await scene.retried();
      assert.equal(scene.sockets.length, 2);
    }
  });

  test("shows that the browser is offline, still tries, and tries at once when it isn't any more", async () => {
    const scene = await new Scene().connected();
    scene.page.navigator.onLine = false;
    scene.socket.end();
    assert.equal(scene.lastState.state, "offline");
    await scene.retried();
    assert.equal(scene.sockets.length, 2);
    scene.socket.end();
    scene.page.network(true);
    assert.equal(scene.lastState.state, "reconnecting");
    await scene.clock.advance(0);
    assert.equal(scene.sockets.length, 3);
    scene.socket.end();
    assert.equal(scene.waitMs, 250, "another network, another start of the backoff");
  });

  test("asks a live connection for a sign of life when the network changes", async () => {
    const scene = await new Scene().connected();
    scene.page.network(true);
    await scene.reply("ping");
    await scene.clock.advance(6_000);
    assert.equal(scene.hub.state, "connected");
    scene.page.network(false);
    await scene.clock.advance(5_000);
    assert.equal(scene.hub.state, "offline");
  });

  test("takes a connection for dead after ping_s + 15 s of silence, and not before", async () => {
    const scene = await new Scene().connected({ ping_s: 25 });
    await scene.clock.advance(39_000);
    scene.socket.receive({ hub: "ping", cursor: "c1" });
    assert.equal(scene.socket.actions("pong").length, 1);
    await scene.clock.advance(39_999);
    assert.equal(scene.hub.state, "connected");
    await scene.clock.advance(1);
    assert.deepEqual([scene.lastState.state, scene.lastState.reason], ["reconnecting", "the hub went silent"]);
    assert.equal(scene.socket.closed, true);
  });

  test("looks at the clock when the page comes back from sleep, without waiting for late timers", async () => {
    const scene = await new Scene().connected();
    scene.clock.time += 3_600_000;
    scene.page.turn("visible");
    assert.equal(scene.hub.state, "reconnecting");
  });

  test("ignores what a socket says that was given up", async () => {
    const scene = await new Scene().connected();
    const [old] = scene.sockets;
    scene.hub.drop(5_000);
    old.receive(notification(1));
    old.end(4507);
    assert.equal(scene.of("notification").length, 0);
    assert.equal(scene.lastState.state, "reconnecting");
  });

  test("drop() stays down for exactly that long", async () => {
    const scene = await new Scene().connected();
    scene.hub.drop(5_000);
    assert.deepEqual([scene.lastState.reason, scene.waitMs], ["dropped", 5_000]);
    await scene.clock.advance(4_999);
    assert.equal(scene.sockets.length, 1);
    await scene.clock.advance(1);
    assert.equal(scene.sockets.length, 2);
  });

  test("close() ends everything, and leaves no timer and no listener behind", async () => {
    const scene = await new Scene().connected();
    const waiting = scene.hub.publish({ to: "lobby", notification: { type: "alert" } });
    scene.hub.close();
    await assert.rejects(waiting, { code: "disconnected" });
    await assert.rejects(scene.hub.ack("x"), { code: "closed" });
    assert.deepEqual([scene.lastState.state, scene.socket.closed, scene.clock.waiting], ["closed", true, 0]);
    const listeners = ["online", "keydown"].flatMap((type) => getEventListeners(scene.page.window, type));
    assert.deepEqual([...listeners, ...getEventListeners(scene.page.document, "visibilitychange")], []);
  });

  test("close() while a token is fetched opens nothing", async () => {
    let give;
    const scene = new Scene({ token: () => new Promise((resolve) => { give = resolve; }) });
    await settle();
    scene.hub.close();
    give("t");
    await settle();
    assert.equal(scene.sockets.length, 0);
  });
});

describe("tokens", () => {
  const counted = () => {
    let n = 0;
    return async () => `t${++n}`;
  };

  test("go first, and a fresh one with each connection", async () => {
    const scene = await new Scene({ token: counted() }).connected();
    assert.deepEqual(scene.socket.sent[0], { action: "auth", token: "t1" });
    assert.equal(scene.socket.url.search, "");
    scene.socket.end(4001, "expired");
    await scene.retried();
    await scene.connected();
    assert.deepEqual(scene.socket.sent[0], { action: "auth", token: "t2" });
  });

  test("are renewed on the live connection, which goes on as it is", async () => {
    const scene = await new Scene({ token: counted() }).connected();
    scene.socket.receive(notification(3));
    scene.socket.receive({ hub: "token_expiring", in_s: 30 });
    await scene.reply("auth", { user: "ada" });
    assert.equal(scene.socket.actions("auth").at(-1).token, "t2");
    scene.socket.receive({ hub: "welcome", user: "ada", connection: "n1", cursor: "c99", topics: [], ping_s: 25 });
    assert.deepEqual([scene.hub.cursor, scene.sockets.length, scene.of("welcome").length], ["c3", 1, 1]);
  });

  test("that can't be renewed are an error, not the end", async () => {
    const scene = await new Scene({ token: counted() }).connected();
    scene.socket.receive({ hub: "token_expiring", in_s: 30 });
    await scene.reply("auth", refused("unauthorized"));
    assert.equal(scene.of("error")[0].code, "token_not_renewed");
    assert.equal(scene.hub.state, "connected");
  });

  test("that can't be fetched are tried again later", async () => {
    const answers = [Promise.reject(new Error("503")), "t"];
    answers[0].catch(() => {});
    const scene = new Scene({ token: () => answers.shift() });
    await settle();
    assert.deepEqual([scene.of("error")[0].code, scene.lastState.state], ["not_connected", "reconnecting"]);
    await scene.retried();
    await scene.connected();
    assert.equal(scene.socket.sent[0].token, "t");
  });

  test("given as a string are not sent again when they ran out", async () => {
    const scene = await new Scene({ token: "fixed" }).connected();
    scene.socket.end(4001, "expired");
    assert.deepEqual([scene.lastState.state, scene.lastState.reason], ["closed", "expired"]);
  });
});

describe("actions", () => {
  test("resolve with their reply, or reject with the hub's code", async () => {
    const scene = await new Scene().connected();
    const published = scene.hub.publish({ to: "lobby", notification: { type: "alert", title: "hi" }, action: "auth" });
    assert.deepEqual(scene.socket.sent.at(-1),
      { to: "lobby", notification: { type: "alert", title: "hi" }, action: "publish", ref: 1 });
    await scene.reply("publish", { id: "p1", cursor: "c77" });
    assert.equal((await published).id, "p1");
    assert.equal(scene.hub.cursor, "c0", "the cursor of what was published is nobody's position");
    const denied = assert.rejects(scene.hub.publish({ to: "x" }), { code: "forbidden", refused: true });
    await scene.reply("publish", refused("forbidden"));
    await denied;
  });

  test("time out after 10 s, and a late reply is nothing", async () => {
    const scene = await new Scene().connected();
    const late = assert.rejects(scene.hub.ack("a"), { code: "timeout", refused: false });
    await scene.clock.advance(10_000);
    await late;
    await scene.reply("ack");
    assert.equal(scene.hub.state, "connected");
  });

  test("that were sent are rejected with the connection; what was not sent yet waits for the next", async () => {
    const scene = await new Scene().connected();
    const sent = assert.rejects(scene.hub.ack("a"), { code: "disconnected" });
    scene.socket.end();
    await sent;
    const waiting = scene.hub.ack("b");
    await scene.retried();
    scene.socket.end();
    await scene.retried();
    await scene.connected();
    assert.deepEqual(scene.socket.actions("ack").map(({ ids }) => ids), [["b"]]);
    await scene.reply("ack");
    await waiting;
  });

  test("go out at a pace that the hub doesn't take for a flood", async () => {
    const scene = await new Scene().connected();
    const all = Array.from({ length: 60 }, (_, n) => scene.hub.ack(`a${n}`));
    assert.equal(scene.socket.actions("ack").length, 40);
    await scene.clock.advance(999);
    assert.equal(scene.socket.actions("ack").length, 40);
    await scene.clock.advance(1);
    assert.deepEqual(scene.socket.actions("ack").map(({ ids }) => ids[0]), Array.from(all, (_, n) => `a${n}`));
    for (const { ref } of scene.socket.actions("ack")) scene.socket.receive({ hub: "reply", ref, ok: true });
    await Promise.all(all);
  });

  test("are bounded", async () => {
    const scene = await new Scene().connected();
    const all = Promise.allSettled(Array.from({ length: 70 }, (_, n) => scene.hub.ack(`a${n}`)));
    scene.hub.close();
    const codes = (await all).map(({ reason }) => reason.code);
    assert.deepEqual([codes.filter((code) => code === "busy").length, codes.length], [6, 70]);
  });
});
