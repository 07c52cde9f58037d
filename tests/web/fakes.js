/**
 * Stand-ins for a browser: a clock that is moved by hand, a page, and a WebSocket whose other end is the test.
 */

import { Hubd } from "../../hubd/web/hubd.js";

// Node 18 knows Event, but not yet this child of it.
globalThis.CustomEvent ??= class CustomEvent extends Event {
  constructor(type, { detail, ...options } = {}) {
    super(type, options);
    this.detail = detail;
  }
};

/** Lets everything that waits for resolved promises go on. */
export const settle = () => new Promise((resolve) => setImmediate(resolve));

export class FakeClock {
  time = 1_000_000;
  #timers = new Map();
  #last = 0;

  now = () => this.time;
  setTimeout = (run, ms) => {
    this.#timers.set(++this.#last, { run, at: this.time + ms });
    return this.#last;
  };
  clearTimeout = (timer) => this.#timers.delete(timer);

  get waiting() { return this.#timers.size; }

  /** Moves on, stopping at each timer that falls due. */
  async advance(ms) {
    const end = this.time + ms;
    await settle();
    for (;;) {
      const due = [...this.#timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
      if (!due) break;
      this.#timers.delete(due[0]);
      this.time = Math.max(this.time, due[1].at);
      due[1].run();
      await settle();
    }
    this.time = end;
  }
}

export class FakeSocket {
  readyState = 0;
  sent = [];
  closed = false;

  constructor(url, protocols) {
    this.url = new URL(url);
    this.protocols = protocols;
  }

  send(text) { this.sent.push(JSON.parse(text)); }
  close() { this.closed = true; this.readyState = 3; }

  /** What the hub's side does. */
  open() { this.readyState = 1; this.onopen?.({}); }
  receive(frame) { this.onmessage?.({ data: typeof frame === "string" ? frame : JSON.stringify(frame) }); }
  end(code = 1006, reason = "") { this.readyState = 3; this.onclose?.({ code, reason }); }

  actions(name) { return this.sent.filter(({ action }) => action === name); }
}

export class FakePage {
  document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  window = new EventTarget();
  navigator = { onLine: true };

  turn(visibilityState) {
    this.document.visibilityState = visibilityState;
    this.document.dispatchEvent(new Event("visibilitychange"));
  }

  network(onLine) {
    this.navigator.onLine = onLine;
    this.window.dispatchEvent(new Event(onLine ? "online" : "offline"));
  }
}

export const notification = (n, more = {}) => ({ id: `id-${n}`, type: "alert", title: "hi", cursor: `c${n}`, ...more });

/** A client in fake surroundings, with everything that it emitted and every socket that it opened. */
export class Scene {
  clock = new FakeClock();
  page = new FakePage();
  sockets = [];
  events = [];
  random = () => 0.5;

  constructor(options = {}, { listen = true, page = true } = {}) {
    const sockets = this.sockets;
    class WebSocket extends FakeSocket {
      constructor(...args) { super(...args); sockets.push(this); }
    }
    const { now, setTimeout, clearTimeout } = this.clock;
    const { document, window, navigator } = page ? this.page : {};
    const env = { document, window, navigator, now, setTimeout, clearTimeout, random: () => this.random() };
    this.hub = new Hubd({ url: "http://hub.test/notifications", WebSocket, env, ...options });
    const types = ["state", "welcome", "gap", "read", "retract", "presence", "error"];
    for (const event of listen ? [...types, "notification"] : types) {
      this.hub.addEventListener(event, ({ detail }) => this.events.push({ event, ...detail }));
    }
  }

  get socket() { return this.sockets.at(-1); }
  of(type) { return this.events.filter(({ event }) => event === type); }
  get lastState() { return this.of("state").at(-1); }
  get waitMs() { return this.lastState.retryAt - this.clock.time; }

  /** Up to the welcome of the newest socket. */
  async connected(welcome = {}) {
    await settle();
    this.socket.open();
    const topics = this.socket.url.searchParams.get("topics")?.split(",") ?? [];
    const usual = { hub: "welcome", user: "ada", connection: "n1", cursor: "c0", topics, ping_s: 25 };
    this.socket.receive({ ...usual, ...welcome });
    await settle();
    return this;
  }

  /** Through the wait, to the next socket. */
  async retried() {
    await this.clock.advance(this.waitMs);
    return this.socket;
  }

  /** Answers the newest action of that name. */
  async reply(action, more = {}) {
    await settle();
    this.socket.receive({ hub: "reply", ref: this.socket.actions(action).at(-1).ref, ok: true, ...more });
    await settle();
  }
}
