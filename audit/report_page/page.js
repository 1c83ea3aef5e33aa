"use strict";
// Filters, sorting and the rows behind a table. Without this script the page still says everything but the rows' texts.
// Harvested text comes from the JSON block and is only ever put into textContent.
(() => {
  const data = JSON.parse(document.getElementById("page-data").textContent) || {};

  function make(name, text, className) {
    const node = document.createElement(name);
    if (text !== undefined) node.textContent = text;
    if (className) node.className = className;
    return node;
  }

  // What a table lists: its rows, or its bodies where it says that each of them is one thing.
  const things = (table) => [...("bodies" in table.dataset ? table.tBodies : table.tBodies[0].rows)];
  const firstRow = (thing) => thing.rows ? thing.rows[0] : thing;

  // A fieldset with data-filters="TABLE_ID": each input with data-key narrows what is listed by its data-KEY, or by all
  // that it says where the key is "text".
  for (const fields of document.querySelectorAll("fieldset[data-filters]")) {
    const table = document.getElementById(fields.dataset.filters);
    const count = fields.querySelector("output");
    const inputs = [...fields.querySelectorAll("[data-key]")];
    const rows = things(table);
    const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
    const apply = () => {
      let shown = 0;
      for (const row of rows) {
        row.hidden = !inputs.every((input) => {
          const wanted = input.value.trim().toLowerCase();
          if (!wanted) return true;
          return input.dataset.key === "text" ? texts.get(row).includes(wanted) : row.dataset[input.dataset.key] === wanted;
        });
        if (!row.hidden) shown += 1;
      }
      count.textContent = `${shown} of ${rows.length} shown`;
    };
    fields.addEventListener("input", apply);
    fields.querySelector("button").addEventListener("click", () => {
      for (const input of inputs) input.value = "";
      apply();
      inputs[0].focus();
    });
    fields.hidden = false;
    apply();
  }

  // A button in a heading sorts its table by that column: by data-value where the cells have one, else by their text.
  for (const button of document.querySelectorAll("th > button[data-sort]")) {
    button.disabled = false;
    button.addEventListener("click", () => {
      const heading = button.closest("th");
      const table = heading.closest("table");
      const descending = heading.getAttribute("aria-sort") === "ascending";
      for (const other of heading.parentNode.children) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const value = (thing) => {
        const cell = firstRow(thing).cells[heading.cellIndex];
        return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
      };
      const rows = things(table).map((thing) => [value(thing), thing]);
      rows.sort(([a], [b]) => (typeof a === "number" ? a - b : a < b ? -1 : a > b ? 1 : 0) * (descending ? -1 : 1));
      const parent = rows.length ? rows[0][1].parentNode : table;
      parent.append(...rows.map(([, thing]) => thing));
    });
  }

  // A button with data-row opens that row of the data: its texts, then where it comes from.
  const dialog = document.getElementById("row");
  if (dialog) {
    const content = dialog.querySelector(".content");
    const show = (row) => {
      const parts = [];
      for (const text of row.texts) {
        parts.push(make("h3", text.title));
        const block = make("div", text.text || "empty", text.text ? "harvested" : "harvested absent");
        block.dir = "auto";
        parts.push(block);
        if (text.more) parts.push(make("p", `${text.more.toLocaleString("en")} more characters are not shown`, "more"));
      }
      const list = make("dl", undefined, "facts");
      for (const [name, value] of row.facts) {
        const pair = make("div");
        pair.append(make("dt", name), make("dd"));
        pair.lastChild.append(value === null ? make("span", "not recorded", "absent") : make("bdi", value));
        list.append(pair);
      }
      parts.push(make("h3", "Where it comes from"), list);
      dialog.querySelector("h2").textContent = row.title;
      content.replaceChildren(...parts);
      dialog.showModal();
      content.scrollTop = 0;
    };
    for (const button of document.querySelectorAll("button[data-row]")) {
      button.disabled = false;
      button.addEventListener("click", () => show(data.rows[Number(button.dataset.row)]));
    }
    dialog.querySelector("button").addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
    });
  }

  // A link to something within closed details opens them.
  const reveal = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
  };
  addEventListener("hashchange", reveal);
  reveal();
})();
