/** When the browser client acks, and until when it tries: `node --test tests/web/*.test.js`. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { notification, onSse, Scene, settle, streaming } from "./fakes.js";

const SECOND = 1_000;
const MINUTE = 60_000;
const refused = (code, retry_after_s) => ({ ok: false, error: { code, message: code, retry_after_s } });
const acked = (scene) => scene.socket.actions("ack").map(({ ids }) => ids);
const said = (scene) => scene.socket.sent.map(({ action, state, ids }) => state ?? ids?.join() ?? action);
const press = (scene) => scene.page.window.dispatchEvent(new Event("keydown"));

/** So many milliseconds, with signs of life of the hub. */
async function pass(scene, ms) {
  for (let left = ms; left > 0; left -= MINUTE / 2) {
    await scene.clock.advance(Math.min(left, MINUTE / 2));
    scene.socket.receive({ hub: "ping", cursor: "c0" });
  }
}

/** A client that was welcomed with this, and left alone until nobody counts as being at it. */
async function leftAlone(welcome, ms) {
  const scene = await new Scene().connected(welcome);
  await pass(scene, ms);
  scene.socket.receive(notification(1));
  await pass(scene, 5 * SECOND);
  return scene;
}

describe("a visible page that nobody touches", () => {
  for (const [welcome, ms, told] of [[{ attention_s: 90 }, 90 * SECOND, "the hub"], [{}, 30 * MINUTE, "nobody"]]) {
    test(`acks what it displays only when there is input again, after the time that ${told} tells`, async () => {
      const scene = await leftAlone(welcome, ms);
      assert.equal(scene.of("notification").length, 1, "displayed all the same");
      assert.deepEqual(acked(scene), []);
      press(scene);
      assert.deepEqual(said(scene).slice(-2), ["visible", "id-1"]);
      scene.socket.receive(notification(2));
      await scene.clock.advance(50);
      assert.deepEqual(acked(scene), [["id-1"], ["id-2"]]);
    });

    test(`acks as long as there was input within that of ${told}`, async () => {
      const scene = await new Scene().connected(welcome);
      await pass(scene, ms - 51);
      press(scene);
      await pass(scene, ms - 51);
      scene.socket.receive(notification(1));
      await scene.clock.advance(50);
      assert.deepEqual(acked(scene), [["id-1"]]);
    });
  }

  test("isn't acked for by the page's being turned away", async () => {
    const scene = await leftAlone({ attention_s: 90 }, 90 * SECOND);
    scene.page.turn("hidden");
    await pass(scene, MINUTE);
    assert.deepEqual(acked(scene), []);
    scene.page.turn("visible");
    assert.deepEqual(said(scene).slice(-2), ["visible", "id-1"]);
  });

  test("stays one when the clock is set back", async () => {
    const scene = await leftAlone({ attention_s: 90 }, 90 * SECOND);
    scene.clock.time -= 2 * 3_600_000;
    scene.socket.receive(notification(2));
    await scene.clock.advance(50);
    assert.deepEqual(acked(scene), []);
    press(scene);
    assert.deepEqual(acked(scene), [["id-1", "id-2"]]);
  });

  test("stays one over a reconnect, and acks what was replayed when there is input", async () => {
    const scene = await leftAlone({ attention_s: 90 }, 90 * SECOND);
    scene.socket.end();
    await scene.retried();
    await scene.connected({ attention_s: 90 });
    scene.socket.receive(notification(2));
    await scene.clock.advance(SECOND);
    assert.deepEqual(said(scene), ["hidden"]);
    press(scene);
    assert.deepEqual(said(scene), ["hidden", "visible", "id-1,id-2"]);
  });
});

describe("an ack that isn't confirmed", () => {
  /** A notification was displayed, and its ack answered with this. */
  async function answered(answer, welcome) {
    const scene = await new Scene().connected(welcome);
    scene.socket.receive(notification(1));
    await scene.clock.advance(50);
    await scene.reply("ack", answer);
    return scene;
  }

  test("is said again, no sooner than the hub wants it, and ever less often", async () => {
    const scene = await answered(refused("unavailable", 2));
    for (const wait of [5, 10, 20, 40, 60, 60]) {
      const before = acked(scene).length;
      await pass(scene, wait * SECOND - 1);
      assert.equal(acked(scene).length, before);
      await pass(scene, 1);
      assert.deepEqual(acked(scene).slice(before), [["id-1"]]);
      await scene.reply("ack", refused("unavailable", 2));
    }
    await pass(scene, 60 * SECOND);
    await scene.reply("ack");
    await pass(scene, 600 * SECOND);
    assert.equal(acked(scene).length, 8, "confirmed at last");
    scene.socket.receive(notification(2));
    await pass(scene, 50);
    await scene.reply("ack", refused("unavailable", 2));
    await pass(scene, 5 * SECOND);
    assert.equal(acked(scene).length, 10, "that was another time");
  });

  test("waits as long as the hub asks, up to an hour", async () => {
    for (const [asked, wait] of [[42, 42], [1e12, 3_600]]) {
      const scene = await answered(refused("unavailable", asked), { attention_s: 7_200 });
      await pass(scene, wait * SECOND - 1);
      assert.equal(acked(scene).length, 1);
      await pass(scene, 1);
      assert.equal(acked(scene).length, 2);
    }
  });

  test("doesn't keep new ones waiting", async () => {
    const scene = await answered(refused("unavailable", 30));
    scene.socket.receive(notification(2));
    await scene.clock.advance(50);
    assert.deepEqual(acked(scene), [["id-1"], ["id-2"]]);
    await scene.reply("ack", refused("unavailable", 30));
    await pass(scene, 30 * SECOND);
    assert.deepEqual(acked(scene).slice(2), [["id-1", "id-2"]]);
  });

  test("is said again on the next connection, at once", async () => {
    const scene = await answered(refused("unavailable", 600));
    scene.socket.end();
    await scene.retried();
    await scene.connected();
    assert.deepEqual(acked(scene), [["id-1"]]);
    await scene.reply("ack");
    await pass(scene, 20 * MINUTE);
    assert.equal(acked(scene).length, 1);
  });

  test("is said again after a fault of the hub's and after none at all, but not when it is itself wrong", async () => {
    for (const [code, times] of [["internal", 2], ["not_found", 2], ["invalid", 1], ["forbidden", 1]]) {
      const scene = await answered(refused(code));
      await pass(scene, 5 * SECOND);
      assert.equal(acked(scene).length, times, code);
    }
    const scene = await new Scene().connected();
    scene.socket.receive(notification(1));
    await pass(scene, 16 * SECOND);
    assert.deepEqual(acked(scene), [["id-1"], ["id-1"]]);
  });

  test("waits for somebody who sees the page", async () => {
    const scene = await answered(refused("unavailable", 2));
    scene.page.turn("hidden");
    await pass(scene, 60 * SECOND);
    assert.equal(acked(scene).length, 1);
    scene.page.turn("visible");
    assert.equal(acked(scene).length, 2);
  });
});

describe("what was seen elsewhere, or taken back", () => {
  for (const hub of ["read", "retract"]) {
    test(`is not acked any more: ${hub}`, async () => {
      const scene = await new Scene().connected();
      scene.socket.receive(notification(1));
      await scene.clock.advance(50);
      await scene.reply("ack", refused("unavailable", 2));
      scene.page.turn("hidden");
      scene.socket.receive(notification(2));
      scene.socket.receive(notification(3));
      scene.socket.receive({ hub, ids: ["id-1", "id-2"] });
      scene.socket.receive(notification(2, { cursor: "c9" }));
      scene.page.turn("visible");
      await scene.reply("ack");
      await pass(scene, MINUTE);
      assert.deepEqual(acked(scene), [["id-1"], ["id-3"]]);
    });

    test(`doesn't come back when the ack on its way fails: ${hub}`, async () => {
      const scene = await new Scene().connected();
      scene.socket.receive(notification(1));
      await scene.clock.advance(50);
      scene.socket.receive({ hub, ids: ["id-1"] });
      await scene.reply("ack", refused("unavailable", 2));
      await pass(scene, 60 * SECOND);
      assert.deepEqual(acked(scene), [["id-1"]]);
    });

    test(`is taken off again when it comes late: ${hub}`, async () => {
      const scene = await new Scene().connected();
      scene.socket.receive({ hub, ids: ["id-1"] });
      scene.socket.receive(notification(1));
      scene.socket.receive(notification(1, { cursor: "c9" }));
      const told = scene.events.filter(({ event }) => [hub, "notification"].includes(event));
      assert.deepEqual(told.map(({ event, id, ids }) => [event, id ?? ids.join()]), [
        [hub, "id-1"], ["notification", "id-1"], [hub, "id-1"],
      ]);
      await scene.clock.advance(SECOND);
      assert.deepEqual(acked(scene), []);
    });
  }
});

describe("by requests of their own", () => {
  const posted = (made) => made.asked("/api/acks", "POST").map(({ body }) => body);

  test("acks wait for input, too", async () => {
    const made = await onSse();
    await made.request.hub({ hub: "welcome", user: "ada", connection: "s1", cursor: "c0", topics: [], attention_s: 9 });
    await made.clock.advance(10 * SECOND);
    await made.request.notify(notification(1));
    await made.clock.advance(SECOND);
    assert.deepEqual(posted(made), []);
    press(made);
    await settle();
    assert.deepEqual(posted(made), [{ ids: ["id-1"], connection: "s1" }]);
  });

  test("are said again after what no hub answered, and when their stream was another one", async () => {
    for (const refuse of [(call) => call.answer(502, {}), (call) => call.problem(404, "not_found")]) {
      const made = await streaming();
      await made.request.notify(notification(1));
      await made.clock.advance(50);
      await refuse(made.asked("/api/acks", "POST")[0]);
      await made.clock.advance(4_999);
      assert.equal(posted(made).length, 1);
      await made.clock.advance(1);
      assert.deepEqual(posted(made)[1], { ids: ["id-1"], connection: "s1" });
    }
  });

  test("are said again as late as a hub wants it that can't store them", async () => {
    const made = await streaming();
    await made.request.notify(notification(1));
    await made.clock.advance(50);
    await made.asked("/api/acks", "POST")[0].problem(503, "unavailable", { "Retry-After": "8" });
    await made.clock.advance(7_999);
    assert.equal(posted(made).length, 1);
    await made.clock.advance(1);
    assert.equal(posted(made).length, 2);
  });
});
