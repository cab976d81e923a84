/* Keyboard and background work of the review pages. No framework: one stage that shows one task at a time.
 *
 * Keys: 1..9 choose a label (0: none of them), s skip, f flag, x guideline unclear; nothing is sent before Enter.
 * r text shown or blurred, i image (grey, then colour), n note, g guideline, / find a label, u undo, ? help, Esc close.
 *
 * ahead: tasks of this page that are already here, so that an answer shows the next one at once.
 * pending: answers on their way; each keeps its key, so that sending it again is the same answer. */
"use strict";

(() => {
  const RETRY_MS = [500, 1500, 4500];
  const SLOW_MS = 400;
  const status = document.getElementById("status");
  const stage = document.querySelector("[data-stage]");
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

  function say(text, state = "") {
    if (!status) return;
    status.textContent = text;
    status.dataset.state = state;
  }

  function headers(accept) {
    return { Accept: accept, "X-CSRF-Token": document.body.dataset.csrf, "HX-Request": "true" };
  }

  /* Whoever signed in again in another tab has a new token. */
  async function refreshToken() {
    const page = await fetch("/", { headers: { Accept: "text/html" } });
    const found = new DOMParser().parseFromString(await page.text(), "text/html").body.dataset.csrf;
    if (found) document.body.dataset.csrf = found;
  }

  async function messageOf(answer) {
    try {
      const said = await answer.json();
      return said.message || said.detail || `The server said ${answer.status}.`;
    } catch {
      return `The server said ${answer.status}.`;
    }
  }

  const signedOut = (answer) => answer.status === 401 || (answer.redirected && answer.url.includes("/login"));

  // ---- on every page ---------------------------------------------------------------------------------

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-shows]");
    if (!button) return;
    const shown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(shown));
    for (const box of all(button.dataset.shows)) setBlur(box, !shown);
  });

  function setBlur(box, blurred) {
    box.classList.toggle("blurred", blurred);
    box.inert = blurred;
    if (blurred) box.setAttribute("aria-hidden", "true");
    else box.removeAttribute("aria-hidden");
  }

  /* What a search brings is as visible as what stood there. */
  document.addEventListener("htmx:afterSwap", () => {
    for (const button of all("[data-shows][aria-pressed=true]")) {
      for (const box of all(button.dataset.shows)) setBlur(box, false);
    }
  });

  for (const opener of all("[data-opens]")) {
    opener.addEventListener("click", () => one(opener.dataset.opens).showModal());
  }

  if (!stage) return;

  // ---- one task on the stage -------------------------------------------------------------------------

  const { base, voteUrl, mode } = stage.dataset; // mode: review, or lead for an adjudication
  const problems = document.getElementById("problems");
  const progress = document.getElementById("progress");
  const nudge = document.getElementById("nudge");
  const leaseMs = 1000 * Number(stage.dataset.leaseS);
  const ahead = [];
  const pending = new Set();
  const clocks = new WeakMap(); // task -> milliseconds it was really looked at
  let current = one("[data-task]", stage);
  let loading = null;
  let busy = false; // between two tasks: keys wait
  let since = performance.now();
  let lastInput = performance.now();

  const isTask = (node) => Boolean(node && node.dataset.taskId && !node.dataset.sent);
  const isBlurred = (task) => Boolean(one(".content.blurred", task));

  function countTime() {
    const now = performance.now();
    if (isTask(current) && document.visibilityState === "visible") {
      clocks.set(current, (clocks.get(current) || 0) + now - since);
    }
    since = now;
  }

  document.addEventListener("visibilitychange", () => {
    // Hidden now: the time until now was visible, and the other way round.
    const now = performance.now();
    if (isTask(current) && document.visibilityState === "hidden") {
      clocks.set(current, (clocks.get(current) || 0) + now - since);
    }
    since = now;
  });

  function show(task) {
    countTime();
    current = task;
    stage.replaceChildren(task);
    stage.removeAttribute("aria-busy");
    window.scrollTo(0, 0);
    one("h1", task)?.focus({ preventScroll: true });
    if (isTask(task)) preload();
  }

  const parse = (html) => new DOMParser().parseFromString(html, "text/html").querySelector("[data-task]");

  async function fetchTask() {
    const held = [current, ...ahead].filter(isTask).map((task) => task.dataset.taskId);
    const query = new URLSearchParams([...held, ...[...pending].map((vote) => vote.body.task_id)].map((id) => ["after", id]));
    const answer = await fetch(`${base}/next?${query}`, { headers: headers("text/html") });
    if (signedOut(answer)) throw new Error("You were signed out. Sign in again and reload this page.");
    if (!answer.ok) throw new Error(await messageOf(answer));
    const task = parse(await answer.text());
    if (!task) throw new Error("The server's answer holds no task.");
    return document.adoptNode(task);
  }

  function preload() {
    if (mode !== "review" || ahead.length || loading) return;
    loading = fetchTask()
      .then((task) => {
        if (isTask(task)) ahead.push(task);
      })
      .catch(() => {}) // asked for again, aloud, when it is needed
      .finally(() => {
        loading = null;
      });
  }

  async function advance() {
    if (loading && !ahead.length) {
      stage.setAttribute("aria-busy", "true");
      await loading;
    }
    if (ahead.length) return show(ahead.shift());
    stage.setAttribute("aria-busy", "true");
    await Promise.allSettled([...pending].map((vote) => vote.done)); // what is left depends on them
    try {
      show(await fetchTask());
    } catch (error) {
      stage.removeAttribute("aria-busy");
      problem(`The next item could not be loaded. ${error.message}`, [["Try again", () => next()]]);
    }
  }

  async function next() {
    busy = true;
    try {
      await advance();
    } finally {
      busy = false;
    }
  }

  // ---- answers ---------------------------------------------------------------------------------------

  function chosen(task) {
    const inputs = all("input[data-answer]:checked", task);
    if (!inputs.length) return null;
    const answer = inputs[0].dataset.answer;
    const labels = inputs.map((input) => input.value);
    if (answer !== "label") return { answer, label: null };
    return { answer, label: task.dataset.multi ? labels.filter((label) => label !== "none") : labels[0] };
  }

  /* Only one kind of answer at a time; "none" excludes the labels and the other way round. */
  function settle(task, input) {
    if (!input.checked) return;
    const clash = (other) => other.dataset.answer !== input.dataset.answer || (other.value === "none") !== (input.value === "none");
    for (const other of all("input[data-answer]:checked", task)) {
      if (other !== input && (clash(other) || input.dataset.answer !== "label")) other.checked = false;
    }
  }

  function choose(task, input) {
    if (isBlurred(task) && input.dataset.answer !== "skip") return say("The text is blurred: r shows it.", "hint");
    input.checked = input.type === "checkbox" ? !input.checked : true;
    settle(task, input);
    input.focus({ preventScroll: true });
    const words = input.closest("label").querySelector(".choice-name").textContent.trim();
    return say(`${words} ${input.checked ? "chosen" : "not chosen"}. Enter sends.`, "hint");
  }

  function newKey() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  function send() {
    const task = current;
    if (!isTask(task) || busy) return;
    const choice = chosen(task);
    if (!choice) return void say("Choose an answer first: a number for a label, or s, f, x.", "hint");
    if (isBlurred(task) && choice.answer !== "skip") return void say("The text is blurred: r shows it.", "hint");
    countTime();
    const { taskId, token } = task.dataset;
    const note = one("textarea", task).value.trim() || null;
    const seconds = Math.round((clocks.get(task) || 0) / 10) / 100;
    const vote = { body: { task_id: taskId, token, key: newKey(), ...choice, note, seconds }, name: one("h1", task).textContent.trim() };
    task.dataset.sent = "true";
    say("");
    save(vote);
    if (mode === "review") next();
    else busy = true;
  }

  function save(vote) {
    pending.add(vote);
    vote.done = post(vote);
    wait(SLOW_MS).then(() => pending.has(vote) && !vote.failed && say("Saving…", "saving"));
  }

  async function post(vote) {
    vote.failed = false;
    let refreshed = false;
    for (let attempt = 0; ; attempt += 1) {
      try {
        const answer = await fetch(voteUrl, {
          method: "POST",
          keepalive: true,
          headers: { ...headers("application/json"), "Content-Type": "application/json" },
          body: JSON.stringify(vote.body),
        });
        if (signedOut(answer)) return failed(vote, "You were signed out. Sign in in another tab, then try again.", true);
        if (answer.ok) return saved(vote, await answer.json());
        if (answer.status === 403 && !refreshed) {
          refreshed = true;
          await refreshToken();
          continue;
        }
        if (answer.status < 500 && answer.status !== 429) return refused(vote, await messageOf(answer));
      } catch {
        // the network: tried again below
      }
      if (attempt >= RETRY_MS.length) return failed(vote, "The server cannot be reached.");
      say("Not saved yet: the server does not answer. Trying again…", "saving");
      await wait(RETRY_MS[attempt]);
    }
  }

  function saved(vote, answer) {
    pending.delete(vote);
    if (mode === "lead") return leaveFor(stage.dataset.nextUrl);
    if (progress && answer.progress) progress.textContent = answer.progress;
    if (nudge) {
      nudge.hidden = !answer.nudge;
      one("[data-words]", nudge).textContent = answer.nudge || "";
    }
    return say(pending.size ? `Saving ${pending.size}…` : "Saved.", pending.size ? "saving" : "saved");
  }

  function refused(vote, message) {
    pending.delete(vote);
    if (mode === "lead") {
      busy = false;
      delete current.dataset.sent;
    }
    say("An answer was not taken.", "error");
    problem(`${vote.name}: your answer was not taken. ${message}`, []);
  }

  function failed(vote, message, toSignIn = false) {
    vote.failed = true;
    say("An answer is not saved.", "error");
    const actions = [["Try again", () => save(vote)]];
    if (toSignIn) actions.push(["Sign in", () => window.open("/login", "_blank", "noopener")]);
    problem(`${vote.name}: your answer is not saved. ${message} It is kept here; do not close this page.`, actions);
  }

  function problem(message, actions) {
    const line = document.createElement("li");
    line.append(message, " ");
    for (const [words, act] of actions.length ? actions : [["OK", () => {}]]) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = words;
      button.addEventListener("click", () => {
        if (words !== "Sign in") line.remove();
        act();
      });
      line.append(button, " ");
    }
    problems.append(line);
  }

  async function undo() {
    if (mode !== "review" || busy) return;
    busy = true;
    try {
      await Promise.allSettled([...pending].map((vote) => vote.done));
      if (pending.size) return void say("An answer is not saved yet; see above.", "error");
      const answer = await fetch(`${base}/undo`, { method: "POST", headers: headers("text/html") });
      if (signedOut(answer)) return void say("You were signed out. Sign in again and reload this page.", "error");
      if (!answer.ok) return void say(await messageOf(answer), "error");
      const task = document.adoptNode(parse(await answer.text()));
      if (!isTask(task)) return void say(one("p", task).textContent, "hint"); // somebody else has it open
      if (isTask(current)) ahead.unshift(current);
      show(task);
      if (progress && task.dataset.progress) progress.textContent = task.dataset.progress;
      say("Your last answer is taken back; answer again.", "hint");
    } catch {
      say("The server cannot be reached; nothing was taken back.", "error");
    } finally {
      busy = false;
    }
  }

  // ---- what is held: renewed while somebody works, let go when the page goes -------------------------

  const held = () => [current, ...ahead].filter(isTask);

  async function renew() {
    const idle = performance.now() - lastInput;
    if (document.visibilityState !== "visible" || idle > leaseMs || !held().length) return;
    const leases = Object.fromEntries(held().map((task) => [task.dataset.taskId, task.dataset.token]));
    let still;
    try {
      const answer = await fetch(stage.dataset.leasesUrl, {
        method: "POST",
        headers: { ...headers("application/json"), "Content-Type": "application/json" },
        body: JSON.stringify(leases),
      });
      if (!answer.ok || signedOut(answer)) return;
      still = await answer.json();
    } catch {
      return; // no sign of life this time; the next one is soon
    }
    for (const task of held().filter((task) => still[task.dataset.taskId] === false)) {
      if (ahead.includes(task)) ahead.splice(ahead.indexOf(task), 1);
      else if (task === current && !task.dataset.lost) {
        task.dataset.lost = "true";
        problem("This item went to somebody else in the meantime.", [["Next item", () => next()]]);
      }
    }
    preload();
  }

  wait(1500).then(renew);
  setInterval(renew, Math.max(1000, Math.min(60000, leaseMs / 3)));
  for (const sign of ["keydown", "pointerdown", "scroll"]) {
    document.addEventListener(sign, () => (lastInput = performance.now()), { passive: true, capture: true });
  }

  let leaving = false;

  function leaveFor(address) {
    leaving = true;
    location.assign(address);
  }

  window.addEventListener("beforeunload", (event) => {
    if (pending.size && !leaving) event.preventDefault();
  });

  window.addEventListener("pagehide", () => {
    const unsaved = new Set([...pending].map((vote) => vote.body.task_id));
    const gone = held().filter((task) => !unsaved.has(task.dataset.taskId));
    if (!gone.length) return;
    const form = new URLSearchParams({ csrf: document.body.dataset.csrf });
    for (const task of gone) {
      form.append("task_id", task.dataset.taskId);
      form.append("token", task.dataset.token);
    }
    navigator.sendBeacon(stage.dataset.releaseUrl, form);
  });

  window.addEventListener("pageshow", (event) => event.persisted && location.reload());
  window.addEventListener("online", () => [...pending].filter((vote) => vote.failed).forEach(save));

  // ---- the text, the image, the keys -----------------------------------------------------------------

  function reveal() {
    const button = one("[data-reveal]", current);
    if (!button) return;
    const blurred = !isBlurred(current);
    setBlur(one(".content", current), blurred);
    button.setAttribute("aria-pressed", String(!blurred));
    one("[data-words]", button).textContent = blurred ? "Show the text" : "Blur the text";
    current.classList.toggle("is-blurred", blurred);
    say(blurred ? "The text is blurred." : "The text is shown.", "hint");
  }

  function image() {
    const frame = one("[data-image]", current);
    if (!frame) return;
    const button = one("button", frame);
    let picture = one("img", frame);
    if (!picture) {
      picture = document.createElement("img");
      picture.alt = "The item's image";
      picture.className = "grey";
      picture.addEventListener("error", () => {
        picture.remove();
        say("The image cannot be shown: it is missing, too large, or not a PNG, JPEG, GIF or WebP.", "error");
      });
      picture.src = frame.dataset.image;
      frame.prepend(picture);
      one("[data-words]", button).textContent = "Show in colour";
    } else {
      const grey = picture.classList.toggle("grey");
      one("[data-words]", button).textContent = grey ? "Show in colour" : "Show in grey";
    }
  }

  stage.addEventListener("click", (event) => {
    if (event.target.closest("[data-reveal]")) reveal();
    if (event.target.closest("[data-image] button")) image();
    const input = event.target.closest("input[data-answer]");
    if (input && isBlurred(current) && input.dataset.answer !== "skip") {
      event.preventDefault();
      say("The text is blurred: r shows it.", "hint");
    }
  });
  stage.addEventListener("change", (event) => event.target.matches("input[data-answer]") && settle(current, event.target));
  stage.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  stage.addEventListener("input", (event) => {
    if (!event.target.matches("[data-filter]")) return;
    const words = event.target.value.toLocaleLowerCase().split(/\s+/);
    for (const label of all(".choice[data-find]", current)) {
      label.hidden = !words.every((word) => label.dataset.find.includes(word));
    }
  });

  function firstFound() {
    const label = all(".choice[data-find]", current).find((choice) => !choice.hidden);
    const box = one("[data-filter]", current);
    if (!label) return say("No label has these words.", "hint");
    box.value = "";
    for (const choice of all(".choice[data-find]", current)) choice.hidden = false;
    return choose(current, one("input", label));
  }

  const focusOn = (selector, root = document) => one(selector, root)?.focus();
  const answerKeys = { s: "skip", f: "flag", x: "unclear" };
  const keys = {
    r: reveal,
    i: image,
    u: undo,
    n: () => focusOn("textarea", current),
    g: () => focusOn("#guideline-search"),
    "/": () => focusOn("[data-filter]", current),
    "?": () => one("#help").showModal(),
  };

  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.altKey || one("dialog[open]")) return;
    const { key, target } = event;
    const typing = target.matches("textarea, select, input:not([type=radio], [type=checkbox])");
    if (event.ctrlKey || event.metaKey) {
      if (key === "Enter" && target.matches("textarea") && !event.repeat) {
        event.preventDefault();
        send();
      }
      return;
    }
    if (typing) {
      if (key === "Escape") one("h1", current)?.focus();
      if (key === "Enter" && target.matches("[data-filter]")) {
        event.preventDefault();
        firstFound();
      }
      return;
    }
    if (key === "Enter") {
      if (target.closest("button, a, summary")) return;
      event.preventDefault();
      if (!event.repeat) send();
      return;
    }
    if (event.repeat || busy) return;
    if (mode === "lead" && key === "s") return leaveFor(stage.dataset.nextUrl);
    const input = isTask(current)
      && one(answerKeys[key] ? `input[data-answer="${answerKeys[key]}"]` : /^[0-9]$/.test(key) ? `input[data-digit="${key}"]` : "nothing", current);
    const act = keys[key];
    if (!input && !act) return;
    event.preventDefault();
    if (input) choose(current, input);
    else act();
  });

  if (isTask(current)) preload();
  one("h1", stage)?.focus({ preventScroll: true });
})();
