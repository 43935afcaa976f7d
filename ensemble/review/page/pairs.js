// The view of pairs: one at a time, the next ones with their images ready before they are asked for.

import { get, post } from "./api.js";
import { byId, card, element, say } from "./dom.js";

const AHEAD = 12; // pairs that are ready
const VERDICTS = { yes: "same product", no: "different products", unsure: "unsure" };
const WHY = {
  stratified: "drawn by chance, so that the estimate holds",
  uncertain: "the model is in doubt",
  chosen: "opened by you",
};

export const percent = (score) => `${(100 * score).toFixed(score > 0.1 && score < 0.9 ? 0 : 1)} %`;

export class Pairs {
  constructor(outbox, who) {
    this.outbox = outbox;
    this.who = who;
    this.queue = []; // the first one is shown
    this.answered = new Set(); // keys of pairs that were answered here
    this.asking = null;
    this.isDone = false; // whether the server has nothing left to ask
    this.hide = byId("hide-score");
    this.hide.checked = localStorage.getItem("review:hide-score") !== "no";
    this.hide.addEventListener("change", () => {
      localStorage.setItem("review:hide-score", this.hide.checked ? "yes" : "no");
      this.about();
    });
  }

  /** Ask for more pairs if few are left. */
  fill() {
    if (this.queue.length >= AHEAD) return Promise.resolve();
    this.asking ??= this.ask().finally(() => (this.asking = null));
    return this.asking;
  }

  async ask() {
    const have = this.queue.map((item) => item.position).filter((position) => position !== undefined);
    const pairs = await post("/api/questions", { by: this.who(), have, count: 2 * AHEAD - this.queue.length });
    const keys = new Set(this.queue.map((item) => `${item.pair}`));
    const fresh = pairs.filter((item) => !keys.has(`${item.pair}`) && !this.answered.has(`${item.pair}`));
    const wasEmpty = this.queue.length === 0;
    this.queue.push(...fresh);
    this.ready();
    if (wasEmpty) this.show();
  }

  /** Make the elements of the next pairs, whose images then load. */
  ready() {
    for (const item of this.queue.slice(0, AHEAD)) {
      item.cards ??= item.listings.map((listing) => card(listing, "large"));
    }
  }

  show() {
    const [item] = this.queue;
    this.ready();
    if (item) byId("pair").replaceChildren(...item.cards);
    else this.showEmpty();
    window.scrollTo(0, 0);
    this.about();
  }

  /** Say that there is no pair now; `isDone`: nor will there be one. */
  showEmpty(isDone = this.isDone) {
    this.isDone = isDone;
    if (this.queue.length) return;
    const done = "Nothing is left to ask: all candidate pairs are answered, or follow from answers.";
    const empty = element("p", { className: "empty", textContent: isDone ? done : "Looking for the next pairs …" });
    byId("pair").replaceChildren(empty);
  }

  /** Say why the shown pair is asked about, and its score unless that is hidden. */
  about() {
    const [item] = this.queue;
    if (!item) return say("why", "");
    const others = item.said.filter(([by]) => by !== this.who()).map(([by, verdict]) => `${by}: ${VERDICTS[verdict]}`);
    const score = item.score === null ? "no candidate pair" : `score ${percent(item.score)}`;
    const mine = item.verdict ? [`your answer: ${VERDICTS[item.verdict]}`] : [];
    say("why", [WHY[item.asked] ?? item.asked, ...mine, ...others, ...(this.hide.checked && !mine.length ? [] : [score])].join(" · "));
  }

  answer(verdict) {
    const item = this.queue.shift();
    if (!item) return;
    const { pair, asked, stratum } = item;
    this.answered.add(`${pair}`);
    this.outbox.add("/api/answers", { by: this.who(), pair, verdict, asked, stratum });
    const score = item.score === null ? "" : ` · the model gave ${percent(item.score)}`;
    say("last", `Last answer: ${VERDICTS[verdict]}${score}`);
    this.show();
    this.fill().catch(() => {});
  }

  /** Show a pair before all others. */
  put(item) {
    this.answered.delete(`${item.pair}`);
    this.queue = [item, ...this.queue.filter((other) => `${other.pair}` !== `${item.pair}`)];
    this.show();
  }

  async open(left, right) {
    this.put(await get(`/api/pairs/${left}/${right}?by=${encodeURIComponent(this.who())}`));
  }
}
