// The view of groups: one proposed group at a time; some of its listings can be taken out.

import { get } from "./api.js";
import { byId, card, element, say } from "./dom.js";
import { percent } from "./pairs.js";

export class Groups {
  constructor(outbox, who) {
    this.outbox = outbox;
    this.who = who;
    this.all = [];
    this.place = 0;
    this.group = null;
  }

  /** Read the proposed groups anew, and show the first one. */
  async load() {
    this.all = await get("/api/groups");
    this.place = 0;
    await this.show();
  }

  async show() {
    const named = this.all[this.place];
    this.group = named ? await get(`/api/groups/${named.row}?part=${named.part}`).catch(() => null) : null;
    byId("group-keep").disabled = !this.group;
    byId("group-back").disabled = this.place === 0;
    byId("group-next").disabled = this.place >= this.all.length;
    if (!this.group) {
      const text = this.all.length ? "That was the last group." : "There are no groups of two or more listings yet.";
      byId("group").replaceChildren(element("p", { className: "empty", textContent: text }));
      return say("group-about", "");
    }
    byId("group").replaceChildren(...this.group.listings.map((listing, number) => this.member(listing, number)));
    window.scrollTo(0, 0);
    this.about();
  }

  /** Return a listing as a card that can be taken out. */
  member(listing, number) {
    const box = element("input", { type: "checkbox", checked: true, value: `${listing.row}` });
    const key = number < 9 ? [element("kbd", { textContent: `${number + 1}` })] : [];
    const label = element("label", { className: "listing" });
    label.append(element("span", { className: "check" }, box, "same product ", ...key), ...card(listing, "small").childNodes);
    box.addEventListener("change", () => {
      label.classList.toggle("out", !box.checked);
      this.about();
    });
    return label;
  }

  rows(checked) {
    const boxes = [...byId("group").querySelectorAll("input")];
    return boxes.filter((box) => box.checked === checked).map((box) => Number(box.value));
  }

  about() {
    const out = this.rows(false).length;
    const kept = this.rows(true).length;
    const settled = this.group.settled ? " · your answers connect all of it" : "";
    const weakest = this.group.weakest ? `weakest link ${percent(this.group.weakest)}` : "held together by the group alone";
    const { part, parts, listings } = this.all[this.place];
    const count = parts > 1 ? `part ${part + 1} of ${parts}: ${kept + out} of ${listings} listings` : `${listings} listings`;
    say("group-about", `Group ${this.place + 1} of ${this.all.length} · ${count} · ${weakest}${settled}`);
    const words = out === 0 ? "All the same" : kept === 1 ? "All different from the one kept" : `${kept} are the same, ${out} out`;
    byId("group-keep").firstChild.textContent = `${words} `;
    byId("group-keep").disabled = kept === 0;
  }

  keep() {
    if (!this.group || byId("group-keep").disabled) return;
    this.outbox.add("/api/groups", { by: this.who(), same: this.rows(true), out: this.rows(false) });
    this.step(1);
  }

  step(by) {
    const place = this.place + by;
    if (place < 0 || place > this.all.length) return;
    this.place = place;
    this.show();
  }

  toggle(number) {
    byId("group").querySelectorAll("input")[number - 1]?.click();
  }
}
