/** What a page shows of what other pages and the worker of its browser may show as well. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { FakeAir, FakeDatabases } from "./fake-indexeddb.js";
import { notification, Scene, settle } from "./fakes.js";

/** A browser: its database, what its pages say to each other, and what its worker shows. */
class BrowserScene {
  databases = new FakeDatabases();
  air = new FakeAir();
  displayed = [];
  registrations = [{ getNotifications: async () => this.displayed }];

  async page({ visible = true, toasts = true, user = "ada", listen = true, decline = false, ...options } = {}) {
    const more = {
      window: { indexedDB: this.databases.factory(), BroadcastChannel: this.air.Channel },
      navigator: { serviceWorker: { getRegistrations: async () => this.registrations } },
    };
    const scene = new Scene({ autoConnect: false, ...options }, { listen, more });
    scene.page.document.visibilityState = visible ? "visible" : "hidden";
    scene.toasts = [];
    if (toasts) {
      scene.hub.addEventListener("toast", (event) => {
        if (decline) return event.preventDefault();
        scene.toasts.push(event.detail.id);
      });
    }
    scene.hub.connect();
    return scene.connected({ user });
  }

  display(id) {
    const shown = { data: { id }, close: () => { this.displayed = this.displayed.filter((one) => one !== shown); } };
    this.displayed.push(shown);
  }
}

const wait = async () => { for (let n = 0; n < 30; n++) await settle(); };
const seen = (...pages) => pages.map(({ toasts }) => toasts);
const acks = (scene) => scene.socket.actions("ack").flatMap(({ ids }) => ids);

describe("a toast", () => {
  test("comes to one page of all that are visible, a notification to all", async () => {
    const browser = new BrowserScene();
    const [one, two] = [await browser.page(), await browser.page()];
    for (const n of [1, 2, 3, 4]) for (const page of n % 2 ? [one, two] : [two, one]) page.socket.receive(notification(n));
    await wait();
    assert.deepEqual([...one.toasts, ...two.toasts].sort(), ["id-1", "id-2", "id-3", "id-4"]);
    assert.deepEqual([one, two].map((page) => page.of("notification").length), [4, 4]);
  });

  test("waits in a hidden page until somebody looks, unless it was shown meanwhile", async () => {
    const browser = new BrowserScene();
    const [one, two] = [await browser.page({ visible: false }), await browser.page({ visible: false })];
    for (const n of [1, 2]) for (const page of [one, two]) page.socket.receive(notification(n));
    await wait();
    assert.deepEqual(seen(one, two), [[], []]);
    const worker = new globalThis.hubdShown(browser.databases.factory());
    assert.ok(await worker.claim("id-1", "ada", "worker"));
    two.page.turn("visible");
    await wait();
    one.page.turn("visible");
    await wait();
    assert.deepEqual(seen(one, two), [[], ["id-2"]]);
  });

  test("comes to each user of the browser", async () => {
    const browser = new BrowserScene();
    const [ada, bob] = [await browser.page(), await browser.page({ user: "bob" })];
    for (const page of [ada, bob]) page.socket.receive(notification(1));
    await wait();
    assert.deepEqual(seen(ada, bob), [["id-1"], ["id-1"]]);
  });

  test("that no listener shows may be shown by others", async () => {
    const browser = new BrowserScene();
    const page = await browser.page({ decline: true });
    page.socket.receive(notification(1));
    await wait();
    assert.deepEqual(browser.databases.shown, []);
  });

  test("doesn't come for what was read elsewhere or taken back", async () => {
    const browser = new BrowserScene();
    const page = await browser.page({ visible: false });
    for (const n of [1, 2, 3]) page.socket.receive(notification(n));
    page.socket.receive({ hub: "read", ids: ["id-1"] });
    page.socket.receive({ hub: "retract", ids: ["id-2"] });
    await wait();
    page.page.turn("visible");
    await wait();
    assert.deepEqual(page.toasts, ["id-3"]);
    page.socket.receive({ hub: "read", ids: ["id-4"] });
    page.socket.receive(notification(4));
    await wait();
    assert.deepEqual(page.toasts, ["id-3"]);
    const worker = new globalThis.hubdShown(browser.databases.factory());
    assert.equal(await worker.claim("id-1", "", "worker"), false, "nor by the worker");
  });

  test("is shown by every page where there is no database", async () => {
    const browser = new BrowserScene();
    browser.databases.isBroken = true;
    const page = await browser.page();
    page.socket.receive(notification(1));
    await wait();
    assert.deepEqual(page.toasts, ["id-1"]);
  });

  test("is an ack where nothing else displays it", async () => {
    const browser = new BrowserScene();
    const page = await browser.page({ listen: false });
    page.socket.receive(notification(1));
    await wait();
    await page.clock.advance(50);
    assert.deepEqual(acks(page), ["id-1"]);
  });
});

describe("the worker asks", () => {
  const ask = async (browser, user = "") => {
    const heard = [];
    const channel = new browser.air.Channel();
    channel.onmessage = ({ data }) => heard.push(data.hubd);
    channel.postMessage({ hubd: "whose", id: "id-9", user });
    await wait();
    return heard;
  };

  test("and a visible page that is connected says that it will", async () => {
    const browser = new BrowserScene();
    const page = await browser.page();
    assert.deepEqual(await ask(browser), ["mine"]);
    assert.deepEqual(await ask(browser, "ada"), ["mine"]);
    assert.deepEqual(await ask(browser, "bob"), []);
    page.page.turn("hidden");
    assert.deepEqual(await ask(browser), []);
    page.page.turn("visible");
    page.socket.end();
    assert.deepEqual(await ask(browser), []);
    page.hub.close();
    assert.deepEqual(await ask(browser), []);
  });

  test("and a page that shows nothing keeps silent", async () => {
    const browser = new BrowserScene();
    await browser.page({ toasts: false, listen: false });
    assert.deepEqual(await ask(browser), []);
  });
});

describe("what the worker shows", () => {
  test("is taken away when it was read elsewhere, or taken back", async () => {
    const browser = new BrowserScene();
    const page = await browser.page({ visible: false });
    for (const id of ["id-1", "id-2", "id-3"]) browser.display(id);
    page.socket.receive({ hub: "read", ids: ["id-1"] });
    page.socket.receive({ hub: "retract", ids: ["id-3"] });
    await wait();
    assert.deepEqual(browser.displayed.map(({ data }) => data.id), ["id-2"]);
  });

  test("is taken away when this page's ack is confirmed", async () => {
    const browser = new BrowserScene();
    const page = await browser.page();
    browser.display("id-1");
    page.socket.receive(notification(1));
    await page.clock.advance(50);
    assert.equal(browser.displayed.length, 1);
    await page.reply("ack");
    await wait();
    assert.deepEqual(browser.displayed, []);
  });
});

test("the notebook holds a thousand ids, for a week", async () => {
  const databases = new FakeDatabases();
  let now = 0;
  const notebook = new globalThis.hubdShown(databases.factory(), () => now);
  for (let n = 0; n < 1_060; n++) await notebook.claim(`id-${n}`, "ada", "page");
  assert.ok(databases.shown.length <= 1_050 && databases.shown.includes("id-1059") && !databases.shown.includes("id-0"));
  now += 7 * 86_400_000 + 1;
  assert.ok(await new globalThis.hubdShown(databases.factory(), () => now).claim("id-1059x", "ada", "page"));
  assert.deepEqual(databases.shown, ["id-1059x"]);
});
