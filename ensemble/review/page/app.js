// The page: its views, keys and buttons, and what it says of progress.

import { GONE, Outbox, get, post } from "./api.js";
import { showContradictions } from "./contradictions.js";
import { byId, say } from "./dom.js";
import { Groups } from "./groups.js";
import { Pairs } from "./pairs.js";

const REFRESH_MS = 2000;
const NAME = "review:name";
const review = byId("review").dataset;
const state = { view: "pairs", name: localStorage.getItem(NAME) ?? review.name, here: 0, progress: null, fault: "" };
const who = () => state.name;

const outbox = new Outbox(
  (progress) => {
    state.here += 1;
    showProgress(progress);
  },
  (count, why) => warn(why && count ? `${why} ${count} answer${count > 1 ? "s wait" : " waits"} to be kept; this page sends ${count > 1 ? "them" : "it"} again.` : why),
);
const pairs = new Pairs(outbox, who);
const groups = new Groups(outbox, who);

// --- what the page says ---

function warn(text) {
  byId("warning").hidden = !text;
  byId("warning").textContent = text;
}

function showProgress(progress) {
  state.progress = progress;
  const others = Object.entries(progress.by).filter(([by]) => by !== who());
  const more = others.map(([by, count]) => `${by} ${count}`).join(", ");
  say("counts", `${progress.answers} answer${progress.answers === 1 ? "" : "s"}${more ? ` (${more})` : ""} · ${state.here} in this session`);
  byId("batch").value = byId("batch").max - progress.until_match;
  byId("match").disabled = progress.is_matching;
  byId("match").textContent = progress.is_matching ? "Matching …" : "Match again";
  say("quality", inWords(progress.quality, progress.is_rough));
  say("line", progress.line);
  pairs.showEmpty(progress.is_done);
  if (progress.fault || state.fault) warn(progress.fault && `The matches could not be made anew: ${progress.fault}`);
  state.fault = progress.fault;
  byId("contradictions-count").hidden = progress.contradictions === 0;
  byId("contradictions-count").textContent = progress.contradictions;
}

function inWords(quality, isRough) {
  if (!quality) return "Precision and recall: not known yet";
  const interval = ({ value, low, high }) => `${value.toFixed(2)} (${low.toFixed(2)}–${high.toFixed(2)})`;
  const unsure = quality.unsure ? `, unsure about ${quality.unsure} more` : "";
  const rough = isRough ? "; with so few, it may well be outside of these intervals" : "";
  const from = `estimated from ${quality.answers} answers about pairs drawn at random${unsure}${rough}`;
  return `Precision ${interval(quality.precision)} · recall ${interval(quality.recall)}, ${from}`;
}

async function refresh() {
  if (!document.hidden) {
    await get("/api/progress").then(showProgress, (error) => error.status && warn(error.message));
    if (pairs.queue.length === 0 && !outbox.sending) await pairs.fill().catch(() => {});
  }
  setTimeout(refresh, REFRESH_MS);
}

// --- views ---

function view(name) {
  state.view = name;
  for (const section of document.querySelectorAll(".view")) section.hidden = section.id !== name;
  for (const bar of document.querySelectorAll("[data-for]")) bar.hidden = bar.dataset.for !== name;
  for (const tab of document.querySelectorAll("[data-view]")) {
    if (tab.dataset.view === name) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  if (name === "groups") outbox.send().then(() => groups.load()).catch(lost);
  if (name === "contradictions") outbox.send().then(() => showContradictions(open)).catch(lost);
}

const lost = (error) => warn(error.status ? error.message : GONE);

function open(left, right) {
  pairs.open(left, right).then(() => view("pairs"), lost);
}

async function undo() {
  await outbox.send();
  const taken = await post("/api/undo", { by: who() }).catch((error) => (lost(error), []));
  state.here = Math.max(0, state.here - (taken.length > 0));
  if (taken.length === 1) {
    view("pairs");
    pairs.put(taken[0]);
  }
  const what = { 0: "You have no answer to take back", 1: "Taken back; answer again" };
  say("last", what[taken.length] ?? `Taken back: the answer about a group, which was kept as ${taken.length} pairs`);
  if (taken.length > 1 && state.view === "groups") groups.step(-1);
  get("/api/progress").then(showProgress, () => {});
}

// --- keys and buttons ---

const OF_PAIRS = { y: "yes", n: "no", u: "unsure", ArrowRight: "yes", ArrowLeft: "no", ArrowDown: "unsure" };
const OF_GROUPS = { y: () => groups.keep(), s: () => groups.step(1), ArrowRight: () => groups.step(1), ArrowLeft: () => groups.step(-1) };
const EVERYWHERE = { z: undo, p: () => view("pairs"), g: () => view("groups"), c: () => view("contradictions"), "?": () => byId("help").showModal() };

function pressed(event) {
  const writes = event.target.matches("input:not([type=checkbox]), textarea");
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || writes || document.querySelector("dialog[open]")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  let work = EVERYWHERE[key];
  if (state.view === "pairs" && OF_PAIRS[key]) work = () => pairs.answer(OF_PAIRS[key]);
  if (state.view === "groups") work = OF_GROUPS[key] ?? (/^[1-9]$/.test(key) ? () => groups.toggle(Number(key)) : work);
  if (!work) return;
  event.preventDefault();
  work();
}

function rename(name) {
  if (!name) return;
  state.name = name;
  localStorage.setItem(NAME, name);
  byId("person").firstElementChild.textContent = name;
  if (state.progress) showProgress(state.progress);
}

function askName() {
  byId("name").value = who();
  byId("who").showModal();
  byId("name").select();
}

document.addEventListener("keydown", pressed);
for (const button of document.querySelectorAll("[data-verdict]")) button.addEventListener("click", () => pairs.answer(button.dataset.verdict));
for (const button of document.querySelectorAll("[data-undo]")) button.addEventListener("click", undo);
for (const button of document.querySelectorAll("[data-view]")) button.addEventListener("click", () => view(button.dataset.view));
byId("group-keep").addEventListener("click", () => groups.keep());
byId("group-next").addEventListener("click", () => groups.step(1));
byId("group-back").addEventListener("click", () => groups.step(-1));
byId("open-help").addEventListener("click", () => byId("help").showModal());
byId("person").addEventListener("click", askName);
byId("who").addEventListener("close", () => rename(byId("name").value.trim()));
byId("match").addEventListener("click", () => post("/api/match", { by: who() }).then(() => get("/api/progress")).then(showProgress, lost));

rename(who());
pairs.show();
outbox.send().then(() => pairs.fill()).catch(lost); // pairs whose answers still wait are not asked again
refresh();
