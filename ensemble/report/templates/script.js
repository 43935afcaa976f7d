"use strict";
// Moves the threshold: reads the metrics of the nearest point off the curve. The page is complete without it.
{
  const LEFT = 34, RIGHT = 352, TOP = 10, BOTTOM = 198; // of the charts, as in charts.py
  const curves = JSON.parse(document.getElementById("curves").textContent);
  const count = (value) => value.toLocaleString("en-US");
  const metric = (value) => (value === 0 || value === 1 ? String(value) : value.toFixed(3).replace(/^0/, ""));

  const show = (block, curve, place) => {
    const point = curve.points[place];
    const x = LEFT + (RIGHT - LEFT) * point.threshold;
    for (const line of block.querySelectorAll(".cursor")) {
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
    }
    for (const dot of block.querySelectorAll("circle[data-line]")) {
      dot.setAttribute("cx", x);
      dot.setAttribute("cy", BOTTOM - (BOTTOM - TOP) * point[dot.dataset.line]);
    }
    for (const cell of block.querySelectorAll("[data-read]")) {
      const [where, name] = cell.dataset.read.split(".");
      const value = (where === "catalog" ? curve.catalog : curve.points)[place][name];
      cell.textContent = Number.isInteger(value) && name !== "threshold" && cell.dataset.count ? count(value) : metric(value);
    }
    const words = `threshold ${metric(point.threshold)}`;
    const slider = block.querySelector("input");
    slider.setAttribute("aria-valuetext", point.row_f1 === null ? words : `${words}, row F1 ${metric(point.row_f1)}`);
    block.querySelector("button").disabled = place === curve.chosen;
  };

  for (const block of document.querySelectorAll("[data-curve]")) {
    const curve = curves[Number(block.dataset.curve)];
    const slider = block.querySelector("input");
    block.querySelector(".slider").hidden = false;
    slider.addEventListener("input", () => show(block, curve, Number(slider.value)));
    block.querySelector("button").addEventListener("click", () => {
      slider.value = String(curve.chosen);
      show(block, curve, curve.chosen);
    });
    slider.value = String(curve.chosen);
    show(block, curve, curve.chosen);
  }
}
