/** The service worker, in a stand-in for its surroundings: what is pushed is shown once, and clicks lead home. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import "../../hubd/web/hubd-shown.js";
import "../../hubd/web/hubd-sw.js";
import { FakeAir, FakeDatabases } from "./fake-indexeddb.js";
import { FakeClock } from "./fakes.js";

const ORIGIN = "https://app.test";

/** A ServiceWorkerGlobalScope, and what happened to it. */
class WorkerScene {
  shown = [];
  calls = [];
  opened = [];
  focused = [];
  syncs = [];
  pages = [];
  tags = [];
  subscribed = [];
  answers = {}; // path → an answer, or an error
  air = new FakeAir();
  clock = new FakeClock();
  databases = new FakeDatabases();
  #handlers = {};

  constructor({ address = "/hubd-sw.js", config, settings = {} } = {}) {
    const scene = this;
    this.notebook = new globalThis.hubdShown(this.databases.factory());
    this.scope = {
      location: new URL(address, ORIGIN),
      hubdWorker: config,
      indexedDB: this.databases.factory(),
      BroadcastChannel: this.air.Channel,
      importScripts: (url) => { this.imported = url; this.scope.hubdShown = globalThis.hubdShown; },
      addEventListener: (type, handle) => { this.#handlers[type] = handle; },
      setTimeout: this.clock.setTimeout,
      clearTimeout: this.clock.clearTimeout,
      skipWaiting: () => { this.isEager = true; },
      fetch: (url, options) => this.#fetch(url, options),
      clients: {
        matchAll: async () => this.pages,
        openWindow: async (url) => { this.opened.push(url); },
        claim: async () => {},
      },
      registration: {
        scope: `${ORIGIN}/`,
        showNotification: async (title, options) => {
          if (scene.refusal) throw scene.refusal;
          scene.shown.push({ title, ...options });
        },
        sync: { register: async (tag) => { this.syncs.push(tag); } },
        pushManager: {
          subscribe: async (options) => { this.subscribed.push(options); return { toJSON: () => ({ endpoint: "new" }) }; },
        },
      },
      ...settings,
    };
    new globalThis.HubdWorker(this.scope).listen();
  }

  get types() { return Object.keys(this.#handlers); }

  async #fetch(url, { method, headers, body, signal, ...options }) {
    const { pathname, origin } = new URL(url);
    this.calls.push({ method, path: pathname, origin, authorization: headers.Authorization, body: body && JSON.parse(body),
      options });
    const answer = this.answers[pathname] ?? { status: 200, body: {} };
    if (answer === "silence") {
      return new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("aborted"))));
    }
    if (answer instanceof Error) throw answer;
    const { status, body: said } = answer;
    return { ok: status < 300, status, text: async () => JSON.stringify(said) };
  }

  /** An event, until everything that it waits for is done; time passes meanwhile. */
  async happens(type, event = {}) {
    let isOver = false;
    let waited;
    this.#handlers[type]({ ...event, waitUntil: (promise) => { waited = promise; } });
    const done = Promise.resolve(waited).finally(() => { isOver = true; });
    done.catch(() => {});
    for (let n = 0; n < 4_000 && !isOver; n++) await this.clock.advance(n % 20 === 19 ? 100 : 0);
    return done;
  }

  push(data) {
    const text = typeof data === "string" ? data : JSON.stringify(data);
    return this.happens("push", { data: { json: () => JSON.parse(text) } });
  }

  async click(shown = this.shown.at(-1), action = "") {
    let isClosed = false;
    await this.happens("notificationclick", {
      action, notification: { data: structuredClone(shown.data), close: () => { isClosed = true; } },
    });
    assert.ok(isClosed);
  }

  /** A page of the hub's client that says it will show whatever it is asked about; and does, if it is told to. */
  page({ visibilityState = "visible", url = `${ORIGIN}/`, shows, user = "" } = {}) {
    this.pages.push({ visibilityState, url, focus: async () => { this.focused.push(url); } });
    if (shows === undefined) return;
    const channel = new this.air.Channel();
    channel.onmessage = async ({ data: { hubd, id } }) => {
      if (hubd !== "whose") return;
      channel.postMessage({ hubd: "mine", id, user });
      if (!shows || !(await this.notebook.claim(id, user, "page"))) return;
      channel.postMessage({ hubd: "shown", id, user });
    };
  }
}

const light = (more = {}) => ({ id: "n1", title: "Hi", body: "there", hub_capability: "cap_1", ...more });

describe("a push", () => {
  test("is shown, with all that the publisher wished", async () => {
    const scene = new WorkerScene();
    await scene.push(light({
      url: "/orders/1", sent_at: 1_800_000_000_000, priority: "critical", hub_tag: "order-1",
      hub_push: {
        title: "Own", icon: "/i.png", image: "javascript:alert(1)", badge: "https://cdn.test/b.png", lang: "de",
        actions: [{ action: "pay", title: "Pay", url: "/pay", icon: "data:x" }], silent: true, vibrate: [1],
      },
    }));
    assert.deepEqual(scene.shown, [{
      title: "Own", body: "there", tag: "order-1", renotify: true, icon: `${ORIGIN}/i.png`, lang: "de",
      badge: "https://cdn.test/b.png", actions: [{ action: "pay", title: "Pay" }], requireInteraction: true, silent: true,
      timestamp: 1_800_000_000_000,
      data: { id: "n1", url: "/orders/1", capability: "cap_1", actions: { pay: "/pay" } },
    }]);
  });

  test("without wishes is plain, under its id", async () => {
    const scene = new WorkerScene({ config: { icon: "/std.png" } });
    await scene.push({ id: "n1", title: "Hi" });
    const [{ tag, renotify, icon, requireInteraction, body }] = scene.shown;
    assert.deepEqual([tag, renotify, icon, requireInteraction, body], ["n1", false, "/std.png", false, undefined]);
  });

  for (const garbage of ["Test push message", "[1]", "null", "{}", '{"id": 7}', ""]) {
    test(`of garbage shows something: ${garbage || "nothing"}`, async () => {
      const scene = new WorkerScene();
      await scene.push(garbage);
      await scene.happens("push", { data: null });
      assert.deepEqual(scene.shown.map(({ title, body }) => [title, body]),
        Array(2).fill(["app.test", "You have a new notification"]));
    });
  }

  test("is shown once, however often it comes", async () => {
    const scene = new WorkerScene();
    await Promise.all([scene.push(light()), scene.push(light())]);
    await scene.push(light());
    await scene.push(light({ id: "n2" }));
    assert.deepEqual(scene.shown.map(({ tag }) => tag), ["n1", "n2"]);
  });

  test("that a page has shown isn't shown", async () => {
    const scene = new WorkerScene();
    await scene.notebook.claim("n1", "ada", "page");
    await scene.push(light());
    assert.deepEqual(scene.shown, []);
  });

  test("is shown to another user of the browser", async () => {
    const scene = new WorkerScene();
    await scene.notebook.set("registration", { user: "bob" });
    await scene.notebook.claim("n1", "ada", "page");
    await scene.push(light());
    assert.equal(scene.shown.length, 1);
  });

  test("without a database is shown all the same", async () => {
    const scene = new WorkerScene();
    scene.databases.isBroken = true;
    await scene.push(light());
    assert.equal(scene.shown.length, 1);
  });

  test("that the browser doesn't show counts as not shown", async () => {
    const scene = new WorkerScene();
    scene.refusal = new TypeError("no permission");
    await assert.rejects(scene.push(light()), /no permission/);
    scene.refusal = undefined;
    await scene.push(light());
    assert.equal(scene.shown.length, 1);
  });
});

describe("a page that is looked at", () => {
  test("shows it itself", async () => {
    const scene = new WorkerScene();
    scene.page({ shows: true });
    await scene.push(light());
    assert.deepEqual([scene.shown, scene.databases.shown], [[], ["n1"]]);
  });

  test("that doesn't do what it said is waited for, not for long", async () => {
    const scene = new WorkerScene();
    scene.page({ shows: false });
    const before = scene.clock.time;
    await scene.push(light());
    assert.equal(scene.shown.length, 1);
    assert.ok(scene.clock.time - before >= 3_000 && scene.clock.time - before < 4_000);
  });

  test("that isn't the hub's is no reason to wait long", async () => {
    const scene = new WorkerScene();
    scene.page();
    const before = scene.clock.time;
    await scene.push(light());
    assert.equal(scene.shown.length, 1);
    assert.ok(scene.clock.time - before < 500);
  });

  test("is asked only when it is visible", async () => {
    const scene = new WorkerScene();
    scene.page({ visibilityState: "hidden", shows: true });
    await scene.push(light());
    assert.equal(scene.shown.length, 1);
  });
});

describe("a light push", () => {
  test("is completed from the hub, by its capability", async () => {
    const scene = new WorkerScene({ address: "/hubd-sw.js?hub=/push/" });
    scene.answers["/push/api/notifications/n1"] = { status: 200, body: { id: "n1", title: "Whole", body: "long", n: 1 } };
    await scene.push(light({ fetch: true, hub_push: { lang: "de" } }));
    assert.deepEqual(scene.shown.map(({ title, body, lang }) => [title, body, lang]), [["Whole", "long", "de"]]);
    const [{ method, authorization, options }] = scene.calls;
    assert.deepEqual([method, authorization, options.credentials], ["GET", "Bearer cap_1", "omit"]);
    assert.equal(scene.shown[0].data.capability, "cap_1");
    assert.equal(scene.imported, `${ORIGIN}/push/hubd-shown.js`);
  });

  for (const answer of [{ status: 404, body: {} }, { status: 200, body: undefined }, new Error("offline"), "silence"]) {
    test(`is shown as it is where the rest can't be had: ${JSON.stringify(answer)} ${answer}`, async () => {
      const scene = new WorkerScene();
      scene.answers["/api/notifications/n1"] = answer;
      await scene.push(light({ fetch: true }));
      assert.deepEqual(scene.shown.map(({ title, body }) => [title, body]), [["Hi", "there"]]);
    });
  }
});

describe("a click", () => {
  test("focuses the page that is there, or opens one, and acks", async () => {
    const scene = new WorkerScene();
    await scene.push(light({ url: "/orders/1" }));
    await scene.click();
    scene.page({ url: `${ORIGIN}/` });
    scene.page({ url: `${ORIGIN}/orders/1#top` });
    await scene.click();
    assert.deepEqual([scene.opened, scene.focused], [[`${ORIGIN}/orders/1`], [`${ORIGIN}/orders/1#top`]]);
    const [{ method, path, authorization, body, options }] = scene.calls;
    assert.deepEqual([method, path, authorization, body], ["POST", "/api/acks", "Bearer cap_1", { ids: ["n1"] }]);
    assert.ok(options.keepalive);
  });

  test("on an action leads where that does", async () => {
    const scene = new WorkerScene();
    await scene.push(light({ url: "/a", hub_push: { actions: [{ action: "b", title: "B", url: "/b" }] } }));
    await scene.click(scene.shown[0], "b");
    assert.deepEqual(scene.opened, [`${ORIGIN}/b`]);
  });

  for (const url of ["javascript:alert(1)", "https://evil.test/", "data:text/html,x", "//evil.test/x", "http://[", 7, null,
    "\\\\evil.test", "blob:https://app.test/x"]) {
    test(`never leads to ${url}`, async () => {
      const scene = new WorkerScene();
      await scene.push(light({ url, hub_push: { actions: [{ action: "b", title: "B", url }] } }));
      await scene.click();
      await scene.click(scene.shown[0], "b");
      assert.deepEqual(scene.opened, [`${ORIGIN}/`, `${ORIGIN}/`]);
    });
  }

  test("leads to other origins that are allowed", async () => {
    const config = { origins: ["https://shop.test"] };
    for (const options of [{ config }, { address: "/hubd-sw.js?origins=https://a.test,https://shop.test" }]) {
      const scene = new WorkerScene(options);
      await scene.push(light({ url: "https://shop.test/x" }));
      await scene.click();
      assert.deepEqual(scene.opened, ["https://shop.test/x"]);
    }
  });

  test("that leads nowhere shows the page that is there, or the start", async () => {
    const scene = new WorkerScene({ config: { start: "/inbox" } });
    await scene.push(light());
    await scene.click();
    scene.page({ url: `${ORIGIN}/any` });
    await scene.click();
    assert.deepEqual([scene.opened, scene.focused], [[`${ORIGIN}/inbox`], [`${ORIGIN}/any`]]);
  });
});

describe("an ack", () => {
  test("is said when it is dismissed, and not when it is shown", async () => {
    const scene = new WorkerScene();
    await scene.push(light());
    assert.deepEqual(scene.calls, []);
    await scene.happens("notificationclose", { notification: scene.shown[0] });
    assert.deepEqual(scene.calls.map(({ path }) => path), ["/api/acks"]);
  });

  for (const failure of [new Error("offline"), { status: 503 }, { status: 429 }, "silence"]) {
    test(`that fails is said again: ${JSON.stringify(failure)} ${failure}`, async () => {
      const scene = new WorkerScene();
      await scene.push(light());
      scene.answers["/api/acks"] = failure;
      await scene.click();
      assert.deepEqual([scene.databases.acks.map(({ id }) => id), scene.syncs], [["n1"], ["hubd-acks"]]);
      delete scene.answers["/api/acks"];
      await scene.happens("sync", { tag: "hubd-acks" });
      assert.deepEqual(scene.calls.map(({ body }) => body), [{ ids: ["n1"] }, { ids: ["n1"] }]);
      assert.deepEqual(scene.databases.acks, []);
    });
  }

  test("that is refused for good is dropped", async () => {
    const scene = new WorkerScene();
    await scene.push(light());
    scene.answers["/api/acks"] = { status: 401 };
    await scene.click();
    assert.deepEqual(scene.databases.acks, []);
  });

  test("that was kept goes with the next push", async () => {
    const scene = new WorkerScene();
    await scene.notebook.keepAck("n0", "cap_0");
    await scene.push(light());
    assert.deepEqual(scene.calls.map(({ authorization, body }) => [authorization, body]), [["Bearer cap_0", { ids: ["n0"] }]]);
  });
});

describe("the subscription", () => {
  const changed = { oldSubscription: { options: { applicationServerKey: "key" } } };

  test("is renewed by cookie", async () => {
    const scene = new WorkerScene();
    await scene.notebook.set("registration", { user: "ada", key: "text" });
    await scene.happens("pushsubscriptionchange", changed);
    assert.deepEqual(scene.subscribed, [{ userVisibleOnly: true, applicationServerKey: "key" }]);
    const [{ path, body, options, authorization }] = scene.calls;
    assert.deepEqual([path, body, options.credentials, authorization], [
      "/api/push-subscriptions", { endpoint: "new", applicationServerKey: "text" }, "include", undefined]);
    assert.equal(await scene.notebook.get("renew"), undefined);
  });

  test("is left to the next page where the worker may not", async () => {
    const scene = new WorkerScene();
    const heard = [];
    new scene.air.Channel().onmessage = ({ data }) => heard.push(data);
    scene.answers["/api/push-subscriptions"] = { status: 401 };
    await scene.happens("pushsubscriptionchange", changed);
    await scene.clock.advance(0);
    assert.deepEqual([await scene.notebook.get("renew"), heard], [true, [{ hubd: "renew" }]]);
  });
});

test("in an application's own worker it takes over nothing but its events", () => {
  const scene = new WorkerScene({ address: "/sw.js" });
  assert.deepEqual(scene.types,
    ["push", "notificationclick", "notificationclose", "pushsubscriptionchange", "sync"]);
  assert.deepEqual(new WorkerScene().types.slice(-2), ["install", "activate"]);
});
