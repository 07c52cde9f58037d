/** What the browser client promises of notifications, cursors, topics, acks: `node --test tests/web/*.test.js`. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { notification, Scene } from "./fakes.js";

const refused = (code) => ({ ok: false, error: { code, message: code } });
const cursorOf = (socket) => socket.url.searchParams.get("cursor");
const ids = (scene) => scene.of("notification").map(({ id }) => id);

/** Cut off, and back again. */
async function reconnected(scene, welcome) {
  scene.socket.end();
  await scene.retried();
  return scene.connected(welcome);
}

describe("the cursor", () => {
  test("starts where the hub says, and goes on with what was handed over", async () => {
    const scene = await new Scene().connected({ cursor: "c0" });
    assert.equal(cursorOf(scene.socket), null);
    assert.equal(scene.hub.cursor, "c0");
    scene.socket.receive(notification(1));
    assert.equal(scene.hub.cursor, "c1");
    scene.socket.receive({ hub: "ping", cursor: "c5" });
    assert.equal(scene.hub.cursor, "c5");
  });

  test("is still the old one while a listener works", async () => {
    const scene = await new Scene().connected();
    const during = [];
    scene.hub.addEventListener("notification", () => during.push(scene.hub.cursor));
    scene.socket.receive(notification(1));
    scene.socket.receive(notification(2));
    assert.deepEqual(during, ["c0", "c1"]);
  });

  test("goes into the URL of the next connection, and a welcome doesn't move it", async () => {
    const scene = await new Scene().connected();
    scene.socket.receive(notification(1));
    await reconnected(scene, { cursor: "other-epoch", recovered: false });
    assert.equal(cursorOf(scene.socket), "c1");
    assert.equal(scene.hub.cursor, "c1", "cut off before the gap was told, it has to be told again");
    scene.socket.receive({ hub: "gap", channel: null, reason: "epoch" });
    assert.deepEqual(scene.of("gap"), [{ event: "gap", channel: null, reason: "epoch" }]);
    scene.socket.receive(notification(2, { cursor: "e2" }));
    assert.equal(scene.hub.cursor, "e2");
  });

  test("can be brought along from an earlier page", async () => {
    const scene = await new Scene({ cursor: "kept" }).connected({ cursor: "c9" });
    assert.equal(cursorOf(scene.socket), "kept");
    assert.equal(scene.hub.cursor, "kept");
  });

  test("doesn't go back for the replay of a topic, and goes on behind it", async () => {
    const scene = await new Scene({ cursor: "c8" }).connected();
    const subscribed = scene.hub.subscribe("late", { cursor: "c2" });
    scene.socket.receive(notification(3, { channel: "late" }));
    assert.equal(scene.hub.cursor, "c8");
    await scene.reply("subscribe", { topics: ["late"], recovered: true, replayed: 1, cursor: "c9" });
    assert.equal((await subscribed).replayed, 1);
    assert.equal(scene.hub.cursor, "c9");
    scene.hub.subscribe("later", { cursor: "c2" }).catch(() => {});
    await reconnected(scene);
    scene.socket.receive(notification(10));
    assert.equal(scene.hub.cursor, "c10");
  });

  test("moves for what was seen before, without handing it over again", async () => {
    const scene = await new Scene().connected();
    scene.socket.receive(notification(1));
    scene.socket.receive(notification(1, { cursor: "c8" }));
    assert.deepEqual([ids(scene), scene.hub.cursor], [["id-1"], "c8"]);
  });
});

describe("seen ids", () => {
  test("are remembered up to a thousand, the oldest forgotten first", async () => {
    const scene = await new Scene().connected();
    for (let n = 0; n <= 1_000; n++) scene.socket.receive(notification(n));
    assert.equal(ids(scene).length, 1_001);
    scene.socket.receive(notification(1));
    assert.equal(ids(scene).length, 1_001);
    scene.socket.receive(notification(0));
    assert.equal(ids(scene).length, 1_002);
  });
});

describe("topics", () => {
  test("that were subscribed are in the next URL, those unsubscribed are not", async () => {
    const scene = await new Scene({ topics: ["a"] }).connected();
    const subscribed = scene.hub.subscribe(["b", "c"]);
    assert.deepEqual(scene.socket.actions("subscribe").map(({ topics }) => topics), [["b", "c"]]);
    await scene.reply("subscribe", { topics: ["b", "c"], cursor: "c4" });
    assert.deepEqual((await subscribed).topics, ["b", "c"]);
    assert.equal(scene.hub.cursor, "c4");
    scene.hub.unsubscribe("a").catch(() => {});
    await reconnected(scene);
    assert.equal(scene.socket.url.searchParams.get("topics"), "b,c");
    assert.equal(scene.socket.actions("subscribe").length, 0);
  });

  test("that are refused are forgotten, and take nothing with them", async () => {
    const scene = await new Scene({ topics: ["a"] }).connected();
    const denied = assert.rejects(scene.hub.subscribe(["a", "secret"]), { code: "forbidden" });
    await scene.reply("subscribe", refused("forbidden"));
    await denied;
    assert.deepEqual(scene.hub.topics, ["a"]);
  });

  test("asked for before there is a connection wait for it", async () => {
    const scene = new Scene();
    const early = scene.hub.subscribe("early");
    await scene.clock.advance(0);
    const late = scene.hub.subscribe("late");
    await scene.connected();
    assert.equal(scene.socket.url.searchParams.get("topics"), "early");
    await scene.reply("subscribe", { topics: ["late"], cursor: "c0" });
    for (const { ref } of scene.socket.actions("subscribe")) scene.socket.receive({ hub: "reply", ref, ok: true });
    assert.deepEqual((await Promise.all([early, late])).length, 2);
    assert.deepEqual(scene.hub.topics, ["early", "late"]);
  });

  test("whose reply got lost are asked for again, unless they had a cursor of their own", async () => {
    const scene = await new Scene().connected();
    const lost = [scene.hub.subscribe("plain"), scene.hub.subscribe("replayed", { cursor: "c-7" })];
    const outcomes = Promise.allSettled(lost);
    await reconnected(scene);
    assert.deepEqual((await outcomes).map(({ reason }) => reason.code), ["disconnected", "disconnected"]);
    assert.equal(scene.socket.url.searchParams.get("topics"), "plain");
  });

  test("that are durable, or joined anyway, are the hub's to remember", async () => {
    const scene = await new Scene().connected();
    for (const ask of [["d", { durable: true }], ["notifications"], ["user:ada:notifications"]]) {
      const subscribed = scene.hub.subscribe(...ask);
      await scene.reply("subscribe", { topics: [ask[0]], cursor: "c1" });
      await subscribed;
    }
    assert.deepEqual(scene.hub.topics, []);
    assert.equal(scene.socket.actions("subscribe")[0].durable, true);
  });

  describe("too many for a URL", () => {
    const topics = Array.from({ length: 24 }, (_, n) => `team:${"x".repeat(150)}:${n}`);

    test("are resubscribed one by one, and until then the cursor stays", async () => {
      const scene = await new Scene({ topics, cursor: "c0" }).connected();
      const carried = scene.socket.url.searchParams.get("topics").split(",");
      const rest = topics.slice(carried.length);
      assert.ok(rest.length > 1 && scene.socket.url.href.length < 4_000);
      for (const [n, topic] of rest.entries()) {
        const asked = scene.socket.actions("subscribe");
        assert.deepEqual([asked.length, asked.at(-1).topic, asked.at(-1).cursor], [n + 1, topic, "c0"]);
        scene.socket.receive(notification(n, { cursor: `live-${n}` }));
        assert.equal(scene.hub.cursor, "c0");
        await scene.reply("subscribe", { topics: [topic], recovered: true, replayed: 1, cursor: `reply-${n}` });
      }
      assert.equal(scene.hub.cursor, `reply-${rest.length - 1}`);
      scene.socket.receive(notification(99));
      assert.equal(scene.hub.cursor, "c99");
    });

    test("start all over from the old cursor when cut off meanwhile", async () => {
      const scene = await new Scene({ topics, cursor: "c0" }).connected();
      scene.socket.receive(notification(1));
      await scene.reply("subscribe", { cursor: "c2" });
      scene.socket.receive({ hub: "ping", cursor: "c3" });
      await reconnected(scene);
      assert.equal(cursorOf(scene.socket), "c0");
      assert.equal(scene.socket.actions("subscribe").length, 1);
    });

    test("are left out if nobody wants them any more", async () => {
      const scene = await new Scene({ topics }).connected();
      const carried = scene.socket.url.searchParams.get("topics").split(",");
      scene.hub.unsubscribe(topics.slice(carried.length + 1)).catch(() => {});
      await scene.reply("subscribe", { cursor: "c1" });
      assert.equal(scene.socket.actions("subscribe").length, 1);
      assert.equal(scene.hub.cursor, "c1");
    });

    test("go on after one that is refused", async () => {
      const scene = await new Scene({ topics }).connected();
      const [{ topic }] = scene.socket.actions("subscribe");
      await scene.reply("subscribe", refused("forbidden"));
      assert.deepEqual(scene.of("error").map((error) => [error.code, error.topic]), [["forbidden", topic]]);
      assert.equal(scene.socket.actions("subscribe").length, 2);
    });
  });
});

describe("presence", () => {
  test("is watched again on the next connection", async () => {
    const scene = await new Scene().connected();
    const asked = scene.hub.presence("lobby", { watch: true });
    await scene.reply("presence", { users: ["bo"], count: 1 });
    assert.equal((await asked).count, 1);
    scene.socket.receive({ hub: "presence", topic: "lobby", joined: ["cy"], left: [] });
    await reconnected(scene);
    await scene.reply("presence", { users: ["cy"], count: 1 });
    assert.deepEqual(scene.of("presence").map(({ event, ...detail }) => detail), [
      { topic: "lobby", joined: ["cy"], left: [] }, { topic: "lobby", users: ["cy"], count: 1 },
    ]);
    for (const end of [() => scene.hub.presence("lobby", { watch: false }), () => scene.hub.unsubscribe("lobby")]) {
      const watched = scene.hub.presence("lobby", { watch: true });
      await scene.reply("presence", { users: [], count: 0 });
      await watched;
      end().catch(() => {});
      await reconnected(scene);
      assert.equal(scene.socket.actions("presence").length, 0);
    }
  });
});

describe("acks", () => {
  const acked = (scene) => scene.socket.actions("ack").map((frame) => frame.ids);

  test("of a burst travel together", async () => {
    const scene = await new Scene().connected();
    for (let n = 0; n < 300; n++) scene.socket.receive(notification(n));
    assert.deepEqual(acked(scene), []);
    await scene.clock.advance(200);
    assert.deepEqual(acked(scene).map(({ length }) => length), [250, 50]);
  });

  test("of a hidden page wait until it is looked at", async () => {
    const scene = await new Scene().connected();
    scene.page.turn("hidden");
    scene.socket.receive(notification(1));
    await scene.clock.advance(1_000);
    assert.deepEqual(acked(scene), []);
    scene.page.turn("visible");
    assert.deepEqual(acked(scene), [["id-1"]]);
  });

  test("that got lost with the connection are said again, and also when the hub repeats itself", async () => {
    const scene = await new Scene().connected();
    scene.socket.receive(notification(1));
    await scene.clock.advance(50);
    await reconnected(scene);
    assert.deepEqual(acked(scene), [["id-1"]]);
    await scene.reply("ack");
    scene.socket.receive(notification(1, { cursor: "c7" }));
    await scene.clock.advance(50);
    assert.deepEqual(acked(scene), [["id-1"], ["id-1"]]);
    assert.deepEqual(ids(scene), ["id-1"]);
  });

  test("are not sent for what nobody showed", async () => {
    const unheard = await new Scene({}, { listen: false }).connected();
    unheard.socket.receive(notification(1));
    const declined = await new Scene().connected();
    declined.hub.addEventListener("notification", (event) => event.preventDefault());
    declined.socket.receive(notification(1));
    declined.socket.receive(notification(1));
    const manual = await new Scene({ autoAck: false }).connected();
    manual.socket.receive(notification(1));
    for (const scene of [unheard, declined, manual]) {
      await scene.clock.advance(1_000);
      assert.deepEqual(acked(scene), []);
    }
    manual.hub.ack("id-1").catch(() => {});
    assert.deepEqual(acked(manual), [["id-1"]]);
    manual.hub.close();
  });
});

describe("what the hub tells", () => {
  test("comes out as events: read, retract, error", async () => {
    const scene = await new Scene().connected();
    for (const hub of ["read", "retract"]) scene.socket.receive({ hub, ids: ["id-1"] });
    scene.socket.receive({ hub: "error", code: "unknown_action", message: "?" });
    assert.deepEqual(scene.events.slice(-3), [
      { event: "read", ids: ["id-1"] }, { event: "retract", ids: ["id-1"] },
      { event: "error", code: "unknown_action", message: "?" },
    ]);
  });
});
