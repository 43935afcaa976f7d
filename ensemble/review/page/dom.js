// Elements of the page. All text of listings goes through textContent, so that no title can be anything but text.

/** Return an element with properties and children; a text child is text. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

export const byId = (id) => document.getElementById(id);

/** Set the text of an element; nothing keeps its line. */
export function say(id, text) {
  byId(id).textContent = text || "\u00a0";
}

const KINDS = new Set(["only", "conflict", "quantity_same", "quantity_conflict"]);

/** Return a title with its differences marked. */
export function title(listing) {
  const line = element("p", { className: "title", dir: "auto" });
  if (listing.title.length === 0) {
    line.classList.add("muted");
    line.textContent = "no title";
  }
  for (const [text, kind] of listing.title) {
    line.append(KINDS.has(kind) ? element("mark", { className: kind, textContent: text }) : document.createTextNode(text));
  }
  return line;
}

/** Return the image of a listing, which begins to load; where there is none, a box of the same size says so. */
export function image(listing, size, lazy = false) {
  const box = element("figure", { className: "image" });
  const without = (why) => box.replaceChildren(element("figcaption", { textContent: why }));
  if (!listing.image) {
    without(listing.fault);
    return box;
  }
  const shown = element("img", { alt: `Image of listing ${listing.id}`, width: 720, height: 720, decoding: "async" });
  if (lazy) shown.loading = "lazy";
  shown.addEventListener("error", () => without("the image cannot be shown"));
  shown.src = `/image/${size}/${listing.row}?${document.getElementById("review").dataset.catalog}`;
  box.append(shown);
  return box;
}

/** Return the other facts of a listing. */
export function facts(listing) {
  const line = element("p", { className: "facts" });
  line.append(element("bdi", { textContent: listing.id }));
  if (listing.quantities) line.append(" · ", listing.quantities);
  return line;
}

/** Return a listing as a card. */
export function card(listing, size) {
  const text = element("div", { className: "text" }, title(listing), facts(listing));
  return element("article", { className: "listing" }, image(listing, size), text);
}
