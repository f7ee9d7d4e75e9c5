// Sorting, filtering and quick tooltips. Everything on the page can be read without it.
(() => {
  "use strict";
  const key = (row, i) => {
    const cell = row.cells[i];
    const raw = cell.dataset.sort ?? cell.textContent.trim();
    const value = Number(raw);
    return raw !== "" && !Number.isNaN(value) ? value : raw.toLowerCase();
  };
  const order = (a, b, sign) => {
    if (a === b) return 0;
    if (a === "" || b === "") return a === "" ? 1 : -1; // what is missing stays last either way
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return a < b ? -sign : sign;
  };
  const sortable = (table) => {
    [...table.tHead.rows[0].cells].forEach((head, i) => {
      if (head.dataset.plain !== undefined) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        const up = now === "descending" || (now === "none" && head.dataset.first === "up");
        for (const other of table.tHead.querySelectorAll("[aria-sort]")) other.setAttribute("aria-sort", "none");
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const rows = [...table.tBodies[0].rows];
        rows.sort((a, b) => order(key(a, i), key(b, i), up ? 1 : -1));
        table.tBodies[0].append(...rows);
      });
    });
  };
  const filterable = (table, tools) => {
    const what = tools.dataset.filter ?? "columns";
    const search = Object.assign(document.createElement("input"), { type: "search", placeholder: `Filter ${what}` });
    search.setAttribute("aria-label", `Filter ${what} by name`);
    const only = document.createElement("label");
    const box = Object.assign(document.createElement("input"), { type: "checkbox" });
    only.append(box, tools.dataset.only ?? "only drifted");
    const apply = () => {
      for (const row of table.tBodies[0].rows) {
        const named = row.cells[0].textContent.toLowerCase().includes(search.value.trim().toLowerCase());
        row.hidden = !named || (box.checked && row.dataset.drifted === undefined);
      }
    };
    search.addEventListener("input", apply);
    box.addEventListener("change", apply);
    tools.append(search);
    if (table.querySelector("tr[data-drifted]")) tools.append(only);
  };
  const prepare = (root) => {
    for (const table of root.querySelectorAll("table[data-sortable]")) {
      sortable(table);
      const tools = table.closest("section")?.querySelector(".tools");
      if (tools) filterable(table, tools);
    }
  };

  const tip = Object.assign(document.createElement("div"), { className: "tip", hidden: true });
  document.addEventListener("pointermove", (event) => {
    const target = event.target instanceof Element ? event.target.closest(".c-hits > rect, .c-cell, .chart g") : null;
    let title = target?.querySelector(":scope > title");
    if (title) { // the browser's own tooltip would come too, and late
      target.dataset.tip = title.textContent;
      title.remove();
    }
    const words = target?.dataset.tip;
    tip.hidden = !words;
    if (!words) return;
    tip.textContent = words;
    if (!tip.isConnected) document.body.append(tip);
    const room = document.documentElement.clientWidth;
    const left = Math.min(Math.max(8, event.clientX + 14), room - tip.offsetWidth - 8);
    const above = event.clientY + 20 + tip.offsetHeight > window.innerHeight;
    tip.style.left = `${left}px`;
    tip.style.top = `${event.clientY + (above ? -tip.offsetHeight - 10 : 16)}px`;
  });
  document.addEventListener("scroll", () => { tip.hidden = true; }, true);

  const reveal = () => {
    let id = "";
    try { id = decodeURIComponent(location.hash.slice(1)); } catch { return; }
    const target = id && document.getElementById(id);
    if (target instanceof HTMLDetailsElement) { target.open = true; target.scrollIntoView(); }
  };
  window.addEventListener("hashchange", reveal);
  prepare(document);
  reveal();
  document.addEventListener("driftwell:refreshed", (event) => prepare(event.target));
})();
