/** What the browser client says about who looks at the page: `node --test tests/web/*.test.js`. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { FakeStorage, Scene } from "./fakes.js";

const MINUTE = 60_000;
const said = (scene) => scene.socket.actions("visibility").map(({ state }) => state);

/** Keeps the connection alive over minutes. */
async function pass(scene, minutes) {
  for (let n = 0; n < 2 * minutes; n++) {
    await scene.clock.advance(MINUTE / 2);
    scene.socket.receive({ hub: "ping", cursor: "c0" });
  }
}

describe("visibility", () => {
  test("is told to each connection, and when it changes", async () => {
    const scene = await new Scene().connected();
    scene.page.turn("hidden");
    scene.page.turn("hidden");
    scene.page.turn("visible");
    assert.deepEqual(said(scene), ["visible", "hidden", "visible"]);
    scene.page.turn("hidden");
    scene.socket.end();
    await scene.retried();
    await scene.connected();
    assert.deepEqual(said(scene), ["hidden"]);
  });

  test("is repeated with input, at most once a minute", async () => {
    const scene = await new Scene().connected();
    for (let n = 0; n < 10; n++) scene.page.window.dispatchEvent(new Event("keydown"));
    assert.equal(said(scene).length, 1);
    await pass(scene, 1);
    assert.equal(said(scene).length, 1, "without input nothing is repeated");
    for (const input of ["pointermove", "wheel"]) scene.page.window.dispatchEvent(new Event(input));
    assert.deepEqual(said(scene), ["visible", "visible"]);
  });

  test("is repeated more often where attention ends sooner", async () => {
    const scene = await new Scene().connected({ attention_s: 20 });
    for (const [ms, times] of [[9_999, 1], [1, 2], [9_999, 2], [1, 3]]) {
      await scene.clock.advance(ms);
      scene.page.window.dispatchEvent(new Event("keydown"));
      assert.equal(said(scene).length, times);
    }
  });

  test("isn't made of what nobody did", async () => {
    const scene = await new Scene().connected({ attention_s: 20 });
    const move = (x) => Object.assign(new Event("pointermove"), { screenX: x, screenY: 7 });
    const { window } = scene.page;
    window.dispatchEvent(move(5));
    await scene.clock.advance(20_000);
    scene.socket.receive({ hub: "ping", cursor: "c0" });
    const ofField = Object.defineProperty(new Event("focus"), "target", { value: {} });
    for (const event of [move(5), ofField]) window.dispatchEvent(event);
    assert.equal(said(scene).at(-1), "hidden");
    for (const event of [move(6), new Event("focus")]) {
      await scene.clock.advance(20_000);
      scene.socket.receive({ hub: "ping", cursor: "c0" });
      assert.equal(said(scene).at(-1), "hidden");
      window.dispatchEvent(event);
      assert.equal(said(scene).at(-1), "visible");
    }
  });

  test("is not claimed anew for a screen that nobody touched for half an hour", async () => {
    const scene = await new Scene().connected();
    await pass(scene, 31);
    scene.socket.end();
    await scene.retried();
    await scene.connected();
    assert.deepEqual(said(scene), ["hidden"]);
    scene.page.window.dispatchEvent(new Event("pointerdown"));
    assert.deepEqual(said(scene), ["hidden", "visible"]);
    scene.page.turn("hidden");
    await pass(scene, 31);
    scene.page.turn("visible");
    assert.equal(said(scene).at(-1), "visible", "whoever turned to it is there");
  });

  test("ends with the last input, not with what a reconnect said of it", async () => {
    const scene = await new Scene().connected({ attention_s: 600 });
    await pass(scene, 9);
    scene.socket.end();
    await scene.retried();
    await scene.connected({ attention_s: 600 });
    assert.deepEqual(said(scene), ["visible"]);
    await pass(scene, 1);
    assert.deepEqual(said(scene), ["visible", "hidden"]);
  });

  test("isn't claimed by a page that loads itself again and again", async () => {
    const storage = new FakeStorage();
    const before = await new Scene({ storage }).connected();
    const loaded = async (ms) => {
      const after = new Scene({ storage, autoConnect: false });
      after.clock.time = before.clock.time + ms;
      after.hub.connect();
      await after.connected();
      return said(after);
    };
    assert.deepEqual(await loaded(29 * MINUTE), ["visible"]);
    assert.deepEqual(await loaded(30 * MINUTE), ["hidden"]);
  });

  test("is claimed by whoever has it connect again", async () => {
    for (const [isActive, state] of [[true, "visible"], [false, "hidden"]]) {
      const scene = await new Scene().connected();
      scene.hub.close();
      await scene.clock.advance(31 * MINUTE);
      scene.page.navigator.userActivation = { isActive };
      scene.hub.connect();
      await scene.connected();
      assert.deepEqual(said(scene), [state]);
    }
  });

  test("is nobody's business where there is no page", async () => {
    const scene = await new Scene({}, { page: false }).connected();
    assert.deepEqual(said(scene), []);
  });
});
