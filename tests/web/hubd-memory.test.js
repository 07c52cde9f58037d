/** What the browser client keeps over a page load: `node --test tests/web/*.test.js`. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { FakeStorage, notification, Scene, settle } from "./fakes.js";

const cursorOf = (socket) => socket.url.searchParams.get("cursor");

/** A page, and the one after it in the same tab. */
async function page(storage, options) {
  const made = new Scene({ storage, ...options });
  await settle();
  return made;
}

describe("the cursor over page loads", () => {
  test("is where the page before stood", async () => {
    const storage = new FakeStorage();
    const before = await (await page(storage)).connected();
    before.socket.receive(notification(7));
    const after = await page(storage);
    assert.deepEqual([cursorOf(after.socket), after.hub.cursor], ["c7", "c7"]);
  });

  test("is that of the welcome, if nothing came", async () => {
    const storage = new FakeStorage();
    await (await page(storage)).connected();
    assert.equal(cursorOf((await page(storage)).socket), "c0");
  });

  test("is kept only when the notification was handed over", async () => {
    const storage = new FakeStorage();
    const before = await (await page(storage)).connected();
    const during = [];
    before.hub.addEventListener("notification", () => during.push([...storage.entries.values()].includes("c1")));
    before.socket.receive(notification(1));
    assert.deepEqual([during, [...storage.entries.values()].includes("c1")], [[false], true]);
  });

  test("is one hub's and one user's", async () => {
    const storage = new FakeStorage();
    await (await page(storage, { user: "ada" })).connected();
    for (const options of [{ user: "bob" }, {}, { user: "ada", url: "http://other.test/notifications" },
      { user: "ada", persist: "second" }, { user: "ada", persist: false }]) {
      assert.equal(cursorOf((await page(storage, options)).socket), null, JSON.stringify(options));
    }
    assert.equal(cursorOf((await page(storage, { user: "ada", url: "ws://hub.test/notifications" })).socket), "c0");
  });

  test("gives way to one that is given", async () => {
    const storage = new FakeStorage();
    await (await page(storage)).connected();
    assert.equal(cursorOf((await page(storage, { cursor: "mine" })).socket), "mine");
  });

  test("isn't kept with persist off", async () => {
    const storage = new FakeStorage();
    await (await page(storage, { persist: false })).connected();
    assert.equal(storage.entries.size, 0);
  });

  test("lies in the window's sessionStorage", async () => {
    const storage = new FakeStorage();
    const around = { sessionStorage: () => storage };
    await new Scene({}, around).connected();
    const after = new Scene({}, around);
    await settle();
    assert.equal(cursorOf(after.socket), "c0");
  });

  test("is done without, where the browser doesn't allow it", async () => {
    const denied = () => { throw new DOMException("denied", "SecurityError"); };
    const given = { storage: { getItem: denied, setItem: denied } };
    for (const made of [new Scene({}, { sessionStorage: denied }), new Scene(given)]) {
      await made.connected();
      made.socket.receive(notification(1));
      assert.deepEqual([made.hub.state, made.hub.cursor], ["connected", "c1"]);
    }
  });
});
