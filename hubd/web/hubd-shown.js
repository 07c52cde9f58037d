// @ts-check
/**
 * What was shown to the person, by whichever page or service worker of this origin: each notification once.
 *
 * It lies in IndexedDB, whose transactions are one after the other for all of them: whoever adds an id first shows it.
 * A plain script, as service workers take in scripts and not modules: it puts `HubdShown` into the global scope, where
 * a page that imports it finds it as well.
 */

(() => {
  const NAME = "hubd";
  const VERSION = 1;
  const KEPT = 1_000;
  const KEPT_MS = 7 * 86_400_000;
  const SLOW_MS = 3_000; // a database that doesn't answer must not keep anything from being shown

  /** @typedef {{ id: string, capability: string, url: string, at: number }} WaitingAck */

  class HubdShown {
    #indexedDB;
    #now;
    /** @type {Promise<IDBDatabase | null> | undefined} */ #opening;
    /** @type {Set<string>} for browsers that have no database to give */ #own = new Set();

    /** @param {any} indexedDB the browser's @param {() => number} now */
    constructor(indexedDB, now = Date.now) {
      this.#indexedDB = indexedDB;
      this.#now = now;
    }

    /** Whether whoever asks is to show this one: nobody did before. @param {string} id @returns {Promise<boolean>} */
    async claim(id) {
      const claimed = await this.#do("shown", "readwrite", async (store) => {
        if (await asked(store.get(id))) return false;
        store.put({ id, at: this.#now() });
        return true;
      });
      if (claimed === undefined) return !this.#own.has(id) && Boolean(this.#own.add(id));
      if (claimed) this.#forgetOld();
      return claimed;
    }

    /** It couldn't be shown after all. @param {string} id */
    async unclaim(id) {
      this.#own.delete(id);
      await this.#do("shown", "readwrite", async (store) => store.delete(id));
    }

    /** Whether it was shown. @param {string} id @returns {Promise<boolean>} */
    async has(id) {
      const found = await this.#do("shown", "readonly", (store) => asked(store.get(id)));
      return found !== undefined ? found !== null : this.#own.has(id);
    }

    /** What a worker or a page is to know later. @param {string} name @returns {Promise<any>} */
    async setting(name) {
      return (await this.#do("settings", "readonly", (store) => asked(store.get(name))))?.value;
    }

    /** @param {string} name @param {any} value */
    async set(name, value) {
      await this.#do("settings", "readwrite", async (store) => store.put({ name, value }));
    }

    /** An ack that is still to be said. @param {WaitingAck} ack */
    async keepAck(ack) {
      await this.#do("acks", "readwrite", async (store) => store.put(ack));
    }

    /** @param {string} id */
    async dropAck(id) {
      await this.#do("acks", "readwrite", async (store) => store.delete(id));
    }

    /** @returns {Promise<WaitingAck[]>} */
    async waitingAcks() {
      return (await this.#do("acks", "readonly", (store) => asked(store.getAll()))) ?? [];
    }

    /** The oldest go: from the count and from the age on. */
    #forgetOld() {
      return this.#do("shown", "readwrite", async (store) => {
        const left = (await asked(store.count())) - KEPT;
        const before = this.#now() - KEPT_MS;
        let place = 0;
        const cursor = store.index("at").openCursor();
        cursor.onsuccess = () => {
          const entry = cursor.result;
          if (!entry || (place >= left && entry.value.at > before)) return;
          place++;
          entry.delete();
          entry.continue();
        };
      });
    }

    /**
     * One transaction; undefined where there is no database. Null stands for what isn't there.
     * @param {string} name @param {IDBTransactionMode} mode @param {(store: IDBObjectStore) => Promise<any>} work
     */
    async #do(name, mode, work) {
      const database = await this.#open();
      if (!database) return undefined;
      try {
        const transaction = database.transaction(name, mode);
        const done = new Promise((resolve, reject) => {
          transaction.oncomplete = resolve;
          transaction.onabort = transaction.onerror = () => reject(transaction.error);
        });
        const [result] = await Promise.all([work(transaction.objectStore(name)), done]);
        return result;
      } catch {
        this.#opening = undefined; // closed under us, or deleted: the next one opens it anew
        return undefined;
      }
    }

    #open() {
      this.#opening ??= new Promise((resolve) => {
        const slow = setTimeout(() => resolve(null), SLOW_MS);
        const end = (/** @type {any} */ database) => { clearTimeout(slow); resolve(database); };
        try {
          const opening = this.#indexedDB.open(NAME, VERSION);
          opening.onupgradeneeded = () => make(opening.result);
          opening.onsuccess = () => {
            opening.result.onversionchange = () => { opening.result.close(); this.#opening = undefined; };
            end(opening.result);
          };
          opening.onerror = opening.onblocked = () => end(null);
        } catch {
          end(null); // switched off by the browser
        }
      });
      return this.#opening;
    }
  }

  /** @param {IDBDatabase} database */
  function make(database) {
    database.createObjectStore("shown", { keyPath: "id" }).createIndex("at", "at");
    database.createObjectStore("acks", { keyPath: "id" });
    database.createObjectStore("settings", { keyPath: "name" });
  }

  /** The result of a request, null where there is none. @param {IDBRequest} request @returns {Promise<any>} */
  function asked(request) {
    return new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result ?? null);
      request.onerror = () => reject(request.error);
    });
  }

  Object.assign(globalThis, { HubdShown });
})();
