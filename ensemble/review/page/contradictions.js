// The view of answers that contradict each other, each of which opens as a pair.

import { get } from "./api.js";
import { byId, card, element } from "./dom.js";

const VERDICTS = { yes: "same product", no: "different products", unsure: "unsure" };

/** Show all contradictions; `open` is called with the rows of a pair that is to be looked at again. */
export async function showContradictions(open) {
  const all = await get("/api/contradictions");
  const empty = element("p", { className: "empty", textContent: "No answers contradict each other." });
  byId("contradictions").replaceChildren(...(all.length ? all.map((one) => contradiction(one, open)) : [empty]));
}

function contradiction({ listings, answers }, open) {
  const letter = new Map(listings.map((listing, number) => [listing.row, String.fromCharCode(65 + (number % 26))]));
  const cards = listings.map((listing) => {
    const shown = card(listing, "small");
    shown.querySelector(".text").prepend(element("b", { textContent: letter.get(listing.row) }));
    return shown;
  });
  const lines = answers.map(({ pair, said }) => {
    const words = said.map(([by, verdict]) => `${VERDICTS[verdict]} (${by})`).join(" · ");
    const [left, right] = pair.map((row) => letter.get(row));
    const button = element("button", { type: "button", textContent: `Look at ${left} and ${right} again` });
    button.addEventListener("click", () => open(...pair));
    return element("li", {}, element("span", { dir: "auto", textContent: `${left} and ${right}: ${words}` }), button);
  });
  const heading = element("h2", { textContent: `${listings.length} listings cannot be as they were answered` });
  const grid = element("div", { className: "cards" }, ...cards);
  return element("article", { className: "contradiction" }, heading, grid, element("ul", {}, ...lines));
}
