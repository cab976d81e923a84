/* The compare page, in a file and in the app: texts shown when asked for, filters, SQL to the clipboard. */
"use strict";

(() => {
  const STEP = 50;
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const says = document.getElementById("flip-count");

  for (const tool of all("[data-with-script]")) tool.hidden = false;

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-unblur], [data-copy], [data-filter], #flip-more");
    if (!button) return;
    if (button.dataset.unblur) unblur(button);
    else if ("copy" in button.dataset) copy(button);
    else if (button.dataset.filter) choose(button.dataset.filter);
    else more();
  });

  function unblur(button) {
    const shown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(shown));
    for (const box of all(button.dataset.unblur)) {
      box.classList.toggle("blurred", !shown);
      box.inert = !shown;
      if (shown) box.removeAttribute("aria-hidden");
      else box.setAttribute("aria-hidden", "true");
    }
  }

  async function copy(button) {
    const box = button.parentElement.querySelector("pre");
    getSelection().selectAllChildren(box);
    try {
      await navigator.clipboard.writeText(box.textContent.trim());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Selected: copy it with the keyboard";
    }
  }

  // ---- the table of a file: all rows are there, so many are shown ---------------------------------------

  const rows = all("#flip-table tbody tr");
  const further = document.getElementById("flip-more");
  if (!further) return openAsked();
  let chosen = "all";
  let shown = STEP;

  function draw() {
    let found = 0;
    for (const row of rows) {
      const fits = row.dataset.under.split(" ").includes(chosen);
      found += fits ? 1 : 0;
      row.hidden = !fits || found > shown;
    }
    further.hidden = found <= shown;
    says.textContent = found > shown ? `${shown} of ${found} shown` : `${found} shown`;
    for (const button of all("[data-filter]")) {
      button.setAttribute("aria-pressed", String(button.dataset.filter === chosen));
    }
  }

  function choose(name) {
    chosen = name;
    shown = STEP;
    draw();
  }

  function more() {
    const first = rows.filter((row) => !row.hidden).length;
    shown += STEP;
    draw();
    const next = rows.filter((row) => !row.hidden)[first];
    const link = next && next.querySelector("a");
    if (link) link.focus();
  }

  /* A link to an item opens its traces. */
  function openAsked() {
    const asked = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (asked && asked.tagName === "DETAILS") {
      asked.open = true;
      asked.scrollIntoView();
      asked.querySelector("summary").focus({ preventScroll: true });
    }
  }

  draw();
  openAsked();
  addEventListener("hashchange", openAsked);
})();
