// Requests to the server. An answer waits in the outbox, on this device, until the server says that it is on the disk.

const review = document.getElementById("review").dataset;
const RETRY_MS = 1000;
// What waits is kept for the address of this page, so that a server at another port does not get it.
const restart = `start it again with --port ${location.port} and open the address that it prints`;
export const GONE = `The server does not answer. If its command has ended, ${restart}.`;

/** A request that the server refused; anything else that goes wrong with a request is the connection. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function request(path, options) {
  const response = await fetch(path, { credentials: "same-origin", ...options });
  if (!response.ok) throw new Refusal(response.status, (await response.text()).slice(0, 300));
  return response.json();
}

export const get = (path) => request(path);

export function post(path, body) {
  const headers = { "Content-Type": "application/json", "X-Review-Token": review.csrf };
  return request(path, { method: "POST", headers, body: JSON.stringify(body) });
}

/** Answers on their way to the disk, sent one after the other and again until they arrive. */
export class Outbox {
  /** `kept` is called with what the server says to an answer, `waits` with how many wait and why. */
  constructor(kept, waits) {
    this.kept = kept;
    this.waits = waits;
    this.name = `review:${review.catalog}:`;
    this.waiting = Object.keys(localStorage).filter((key) => key.startsWith(this.name)).sort();
    this.count = 0;
    this.sending = null;
    this.send();
  }

  /** Add an answer; return at once. */
  add(path, body) {
    const time = `${Date.now()}`.padStart(15, "0");
    const key = `${this.name}${time}:${`${this.count++}`.padStart(6, "0")}:${Math.random()}`;
    localStorage.setItem(key, JSON.stringify([path, body]));
    this.waiting.push(key);
    this.send();
  }

  /** Send what waits; return a promise that is kept when nothing does. */
  send() {
    this.sending ??= this.sendAll().finally(() => (this.sending = null));
    return this.sending;
  }

  async sendAll() {
    while (this.waiting.length) {
      const [key] = this.waiting;
      const [path, body] = JSON.parse(localStorage.getItem(key) ?? "[null]");
      let progress = null;
      try {
        if (path) progress = await post(path, body);
      } catch (error) {
        if (error instanceof Refusal && ![403, 500, 503].includes(error.status)) {
          this.done(key, `An answer was refused: ${error.message}`); // it would be refused again
          continue;
        }
        const why = error instanceof Refusal ? error.message : GONE;
        this.waits(this.waiting.length, why);
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
        continue;
      }
      this.done(key, "");
      if (progress) this.kept(progress);
    }
  }

  done(key, why) {
    localStorage.removeItem(key);
    this.waiting.shift();
    this.waits(this.waiting.length, why);
  }
}
