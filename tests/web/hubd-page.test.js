/** What the browser client says about who looks at the page: `node --test tests/web/*.test.js`. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Scene } from "./fakes.js";

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

  test("is nobody's business where there is no page", async () => {
    const scene = await new Scene({}, { page: false }).connected();
    assert.deepEqual(said(scene), []);
  });
});
