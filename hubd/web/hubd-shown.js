// @ts-check
/**
 * What the pages of a browser and its service worker know together, in IndexedDB: who has shown what.
 *
 * It is a classic script that leaves its class in `globalThis.hubdShown`, so that workers can take it by
 * `importScripts`, which knows no modules, and pages by `import`.
 */
(() => {
  "use strict";

  const SHOWN_MAX = 1_000;
  const SHOWN_MS = 7 * 86_400_000;
  const TIDY_EVERY = 50; //  claims; and with the first one of each page and worker
  const ACKS_MAX = 100;
  const ACKS_MS = 86_400_000;
  const SLOW_MS = 3_000; //  a database that doesn't open must not keep anything from being shown

  /** @param {any} request of IndexedDB @returns {Promise<any>} */
  const done = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

  /**
   * The notebook in IndexedDB: who has shown what. A transaction that writes has it for itself, over all pages and the
   * worker; so of several who claim an id, one gets it.
   */
  class Shown {
    /** @type {Promise<any> | undefined} */ #database;
    #indexedDB;
    #now;
    #claims = 0;

    /** @param {any} indexedDB @param {() => number} [now] */
    constructor(indexedDB, now = Date.now) {
      this.#indexedDB = indexedDB;
      this.#now = now;
    }

    /**
     * Whether this one is to show it: nobody has, for this user.
     * @param {string} id @param {string} user "": not known, then it counts for all @param {string} by
     * @returns {Promise<boolean>}
     */
    async claim(id, user, by) {
      const isFirst = await this.#write("shown", async (store) => {
        const entry = (await done(store.get(id))) ?? { id, users: {} };
        if (isTaken(entry, user)) return false;
        entry.users[user] = by;
        entry.at = this.#now();
        await done(store.put(entry));
        return true;
      });
      if (this.#claims++ % TIDY_EVERY === 0) await this.#tidy("shown", SHOWN_MAX, SHOWN_MS).catch(() => {});
      return isFirst;
    }

    /** @param {string} id @param {string} user @returns {Promise<boolean>} */
    async has(id, user) {
      return isTaken(await this.#read("shown", (store) => store.get(id)), user);
    }

    /** It wasn't shown after all. @param {string} id @param {string} user */
    release(id, user) {
      return this.#write("shown", async (store) => {
        const entry = await done(store.get(id));
        if (!entry) return;
        delete entry.users[user];
        await done(Object.keys(entry.users).length ? store.put(entry) : store.delete(id));
      });
    }

    /** @param {string} name @returns {Promise<any>} */
    async get(name) {
      return (await this.#read("state", (store) => store.get(name)))?.value;
    }

    /** @param {string} name @param {any} value undefined: forget it */
    set(name, value) {
      return this.#write("state", (store) => {
        return done(value === undefined ? store.delete(name) : store.put({ name, value }));
      });
    }

    /** An ack that couldn't be said. @param {string} id @param {string} capability */
    async keepAck(id, capability) {
      await this.#write("acks", (store) => done(store.put({ id, capability, at: this.#now() })));
      await this.#tidy("acks", ACKS_MAX, ACKS_MS).catch(() => {});
    }

    /** @returns {Promise<{ id: string, capability: string }[]>} */
    keptAcks() {
      return this.#read("acks", (store) => store.getAll());
    }

    /** @param {string} id */
    dropAck(id) {
      return this.#write("acks", (store) => done(store.delete(id)));
    }

    /** @param {string} name @param {number} most @param {number} ms */
    #tidy(name, most, ms) {
      return this.#write(name, async (store) => {
        const entries = (await done(store.getAll())).sort((/** @type {any} */ a, /** @type {any} */ b) => a.at - b.at);
        const tooOld = this.#now() - ms;
        for (const [place, { id, at }] of entries.entries()) {
          if (at < tooOld || place < entries.length - most) await done(store.delete(id));
        }
      });
    }

    /** @param {string} name @param {(store: any) => any} ask */
    async #read(name, ask) {
      const database = await this.#opened();
      return done(ask(database.transaction(name, "readonly").objectStore(name)));
    }

    /** @param {string} name @param {(store: any) => Promise<any>} work @returns {Promise<any>} */
    async #write(name, work) {
      const database = await this.#opened();
      const transaction = database.transaction(name, "readwrite");
      const over = new Promise((resolve, reject) => {
        transaction.oncomplete = resolve;
        transaction.onabort = () => reject(transaction.error);
      });
      const [result] = await Promise.all([work(transaction.objectStore(name)), over]);
      return result;
    }

    #opened() {
      this.#database ??= this.#open().catch((error) => { this.#database = undefined; throw error; });
      return this.#database;
    }

    async #open() {
      const request = this.#indexedDB.open("hubd", 1);
      request.onupgradeneeded = () => {
        for (const name of ["shown", "acks"]) request.result.createObjectStore(name, { keyPath: "id" });
        request.result.createObjectStore("state", { keyPath: "name" });
      };
      const database = await new Promise((resolve, reject) => {
        const slow = setTimeout(() => reject(new Error("IndexedDB doesn't open")), SLOW_MS);
        done(request).finally(() => clearTimeout(slow)).then(resolve, reject);
      });
      const forget = () => { this.#database = undefined; };
      database.onversionchange = () => { database.close(); forget(); };
      database.onclose = forget;
      return database;
    }
  }

  /** @param {any} entry @param {string} user */
  const isTaken = (entry, user) => {
    const users = entry?.users ?? {};
    return user === "" ? Object.keys(users).length > 0 : user in users || "" in users;
  };

  /** @type {any} */ (globalThis).hubdShown = Shown;
})();
