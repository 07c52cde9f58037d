/** Having a browser notified while no page is open, with stand-ins for its push service and the hub. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { FakeDatabases } from "./fake-indexeddb.js";
import { Scene, settle } from "./fakes.js";

const KEY = "BKey-_10"; // base64url
const bytes = (key) => Uint8Array.from(atob(key.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0)).buffer;
const DAY = 86_400_000;
const wait = async () => { for (let n = 0; n < 40; n++) await settle(); };

/** A browser: what it was allowed, its one subscription, and its database. */
class PushBrowser {
  databases = new FakeDatabases();
  notebook = new globalThis.hubdShown(this.databases.factory());
  permission = "granted";
  answer = "granted";
  asked = 0;
  subscription = null;
  registered = [];
  #made = 0;

  window() {
    const browser = this;
    return {
      location: { href: "http://hub.test/app/" },
      indexedDB: this.databases.factory(),
      PushManager: class {},
      Notification: {
        get permission() { return browser.permission; },
        requestPermission: async () => { browser.asked++; browser.permission = browser.answer; },
      },
    };
  }

  navigator() {
    const pushManager = {
      getSubscription: async () => this.subscription,
      subscribe: async ({ applicationServerKey, userVisibleOnly }) => {
        assert.ok(userVisibleOnly);
        if (this.subscription) throw new DOMException("another key", "InvalidStateError");
        const endpoint = `https://push.test/${++this.#made}`;
        this.subscription = {
          endpoint, options: { applicationServerKey: bytes(applicationServerKey) }, toJSON: () => ({ endpoint }),
          unsubscribe: async () => { this.subscription = null; },
        };
        return this.subscription;
      },
    };
    const registration = { active: {}, pushManager, getNotifications: async () => [] };
    return {
      serviceWorker: {
        register: async (url, options) => { this.registered.push([url, options]); return registration; },
        getRegistration: async () => (this.registered.length ? registration : undefined),
        getRegistrations: async () => [registration],
      },
      userActivation: { isActive: true },
    };
  }

  /** A page that is connected, and a hub that answers it. */
  async page({ user = "ada", key = KEY, status = 201, push, token } = {}) {
    const scene = new Scene({ autoConnect: false, push, token }, {
      more: { window: this.window(), navigator: this.navigator() },
    });
    scene.states = [];
    scene.hub.addEventListener("push", ({ detail }) => scene.states.push(detail.state));
    scene.hub.connect();
    await scene.connected({ user });
    scene.answerAll = async () => {
      for (let n = 0; n < 6; n++) {
        await wait();
        for (const request of scene.requests.filter(({ isAnswered }) => !isAnswered)) {
          request.isAnswered = true;
          if (request.path.endsWith("vapid-public-key")) {
            await (key ? request.answer(200, { key }) : request.problem(404, "not_found"));
          } else if (request.method === "DELETE") await request.answer(204);
          else if (status > 299) await request.problem(status, "invalid");
          else await request.answer(status, { id: "dev_1" });
        }
      }
    };
    await scene.answerAll();
    return scene;
  }

  /** The promise's outcome, while the hub answers. */
  async outcome(scene, promise) {
    const settled = promise.then((value) => value, (error) => error.code);
    await scene.answerAll();
    return settled;
  }

  async on(options) {
    const scene = await this.page(options);
    assert.equal(await this.outcome(scene, scene.hub.push.enable()), "dev_1");
    return scene;
  }
}

const told = (scene) => scene.asked("/push-subscriptions").map(({ body }) => body);

describe("enable", () => {
  test("asks, subscribes with the hub's key and tells the hub", async () => {
    const browser = new PushBrowser();
    browser.permission = "default";
    const scene = await browser.page({ token: "jwt" });
    assert.equal(scene.hub.push.state, "off");
    assert.equal(await browser.outcome(scene, scene.hub.push.enable()), "dev_1");
    assert.deepEqual([browser.asked, scene.hub.push.state, scene.states], [1, "on", ["on"]]);
    assert.deepEqual(browser.registered, [["http://hub.test/hubd-sw.js", { updateViaCache: "none" }]]);
    assert.deepEqual(told(scene), [{ endpoint: "https://push.test/1", applicationServerKey: KEY }]);
    assert.equal(scene.asked("/push-subscriptions")[0].headers.Authorization, "Bearer jwt");
    const { user, id, key } = await browser.notebook.get("registration");
    assert.deepEqual([user, id, key], ["ada", "dev_1", KEY]);
  });

  for (const [answer, code, state] of [["denied", "denied", "denied"], ["default", "dismissed", "off"]]) {
    test(`says ${code} when that is the answer`, async () => {
      const browser = new PushBrowser();
      Object.assign(browser, { permission: "default", answer });
      const scene = await browser.page();
      assert.equal(await browser.outcome(scene, scene.hub.push.enable()), code);
      assert.deepEqual([scene.hub.push.state, told(scene)], [state, []]);
    });
  }

  test("doesn't ask out of the blue", async () => {
    const browser = new PushBrowser();
    browser.permission = "default";
    const scene = await browser.page();
    scene.page.navigator.userActivation.isActive = false;
    assert.equal(await browser.outcome(scene, scene.hub.push.enable()), "no_gesture");
    assert.equal(browser.asked, 0);
  });

  test("says that the hub can't, without asking", async () => {
    const browser = new PushBrowser();
    browser.permission = "default";
    const scene = await browser.page({ key: null });
    assert.equal(scene.hub.push.state, "not_on_this_hub");
    assert.equal(await browser.outcome(scene, scene.hub.push.enable()), "not_on_this_hub");
    assert.equal(browser.asked, 0);
  });

  test("says that the browser can't, or that nobody is connected", async () => {
    const scene = await new Scene().connected();
    assert.equal(scene.hub.push.state, "unsupported");
    await assert.rejects(scene.hub.push.enable(), { code: "unsupported" });
    await scene.hub.push.disable();
    const browser = new PushBrowser();
    const early = new Scene({ autoConnect: false }, { more: { window: browser.window(), navigator: browser.navigator() } });
    await assert.rejects(early.hub.push.enable(), { code: "not_connected" });
  });

  test("hands on what the hub says", async () => {
    const browser = new PushBrowser();
    const scene = await browser.page({ status: 422 });
    assert.equal(await browser.outcome(scene, scene.hub.push.enable()), "invalid");
    assert.equal(await browser.notebook.get("registration"), undefined);
  });

  test("takes another worker, for other pages", async () => {
    const browser = new PushBrowser();
    await browser.on({ push: { worker: "/sw.js", scope: "/app/" } });
    assert.deepEqual(browser.registered, [["http://hub.test/sw.js", { updateViaCache: "none", scope: "/app/" }]]);
  });
});

test("disable ends it, here and at the hub", async () => {
  const browser = new PushBrowser();
  const scene = await browser.on();
  await browser.outcome(scene, scene.hub.push.disable());
  assert.deepEqual([browser.subscription, scene.hub.push.state], [null, "off"]);
  assert.deepEqual(scene.asked("/devices/dev_1", "DELETE").length, 1);
  assert.equal((await browser.page()).hub.push.state, "off");
});

describe("the next page", () => {
  test("finds it on, and tells the hub nothing", async () => {
    const browser = new PushBrowser();
    await browser.on();
    const next = await browser.page();
    assert.deepEqual([next.hub.push.state, told(next)], ["on", []]);
  });

  const changes = {
    "a day later": async (browser) => {
      const registration = await browser.notebook.get("registration");
      await browser.notebook.set("registration", { ...registration, at: registration.at - DAY - 1 });
    },
    "when the browser lost it": (browser) => { browser.subscription = null; },
    "when the worker asked for it": (browser) => browser.notebook.set("renew", true),
  };
  for (const [when, change] of Object.entries(changes)) {
    test(`registers anew ${when}`, async () => {
      const browser = new PushBrowser();
      await browser.on();
      await change(browser);
      const next = await browser.page();
      assert.deepEqual([next.hub.push.state, told(next).length], ["on", 1]);
      assert.deepEqual(told(await browser.page()), []);
    });
  }

  test("subscribes anew when the hub has another key", async () => {
    const browser = new PushBrowser();
    await browser.on();
    const next = await browser.page({ key: "BKey-_20" });
    assert.deepEqual(told(next), [{ endpoint: "https://push.test/2", applicationServerKey: "BKey-_20" }]);
  });

  test("of another user takes it over, unless it is told not to", async () => {
    const browser = new PushBrowser();
    await browser.on();
    const kept = await browser.page({ user: "bob", push: { follow: false } });
    assert.deepEqual([kept.hub.push.state, told(kept)], ["other_user", []]);
    const taken = await browser.page({ user: "bob" });
    assert.deepEqual([taken.hub.push.state, told(taken).length], ["on", 1]);
    assert.equal((await browser.notebook.get("registration")).user, "bob");
  });

  test("finds it off when the permission was taken back", async () => {
    const browser = new PushBrowser();
    await browser.on();
    browser.permission = "denied";
    assert.equal((await browser.page()).hub.push.state, "denied");
  });
});
