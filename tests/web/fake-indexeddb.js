/** As much of IndexedDB as hubd uses: transactions that write are one after the other, over all who opened it. */

/** What one origin has. Each page and worker opens it through its own `factory()`. */
export class FakeDatabases {
  #stores = new Map(); // name → { keyPath, entries }
  #turn = Promise.resolve();
  isBroken = false;

  get shown() { return [...this.#stores.get("shown").entries.keys()]; }
  get acks() { return [...this.#stores.get("acks").entries.values()]; }

  factory() {
    return { open: () => this.#open() };
  }

  #open() {
    if (this.isBroken) throw new DOMException("switched off", "SecurityError");
    const request = { result: this.#handle() };
    queueMicrotask(() => {
      if (this.#stores.size === 0) request.onupgradeneeded?.({});
      request.onsuccess?.({});
    });
    return request;
  }

  #handle() {
    return {
      createObjectStore: (name, { keyPath }) => this.#stores.set(name, { keyPath, entries: new Map() }),
      transaction: (name, mode) => this.#transaction(name, mode),
      close() {},
    };
  }

  #transaction(name, mode) {
    const { keyPath, entries } = this.#stores.get(name);
    const waiting = [];
    const transaction = { objectStore: () => store };
    const ask = (work) => {
      if (transaction.isOver) throw new DOMException("over", "TransactionInactiveError");
      const request = {};
      waiting.push(() => { request.result = work(); request.onsuccess?.({}); });
      return request;
    };
    const store = {
      get: (key) => ask(() => structuredClone(entries.get(key))),
      getAll: () => ask(() => structuredClone([...entries.values()])),
      put: (value) => ask(() => void entries.set(value[keyPath], structuredClone(value))),
      delete: (key) => ask(() => void entries.delete(key)),
    };
    const run = async () => {
      await null;
      while (waiting.length) {
        waiting.shift()();
        await new Promise((resolve) => setImmediate(resolve));
      }
      transaction.isOver = true;
      transaction.oncomplete?.({});
    };
    if (mode === "readwrite") this.#turn = this.#turn.then(run);
    else run();
    return transaction;
  }
}

/** A BroadcastChannel for those who were given the same air. */
export class FakeAir {
  #channels = new Set();

  get Channel() {
    const channels = this.#channels;
    return class extends EventTarget {
      onmessage = null;

      constructor() {
        super();
        channels.add(this);
      }

      postMessage(data) {
        for (const other of channels) {
          if (other !== this) setImmediate(() => channels.has(other) && other.hear(structuredClone(data)));
        }
      }

      close() { channels.delete(this); }

      hear(data) {
        const event = Object.assign(new Event("message"), { data });
        this.onmessage?.(event);
        this.dispatchEvent(event);
      }
    };
  }
}
