// Keeps a page fresh: every ten seconds its main part is asked for again, while the page is visible.
(() => {
  "use strict";
  const EVERY = 10_000;
  const main = document.getElementById("main");
  const note = document.getElementById("live");
  let before = null;

  const say = (words, isTrouble = false) => {
    if (!note) return;
    note.textContent = words;
    note.classList.toggle("trouble", isTrouble);
  };
  const isBusy = () => main.contains(document.activeElement) && document.activeElement.matches("input, select, textarea");

  const show = (text) => {
    const open = new Map([...main.querySelectorAll("details[id]")].map((d) => [d.id, d.open]));
    main.innerHTML = text; // from this service alone, which escapes every name
    for (const [id, isOpen] of open) {
      const details = document.getElementById(id);
      if (details) details.open = isOpen;
    }
    main.dispatchEvent(new CustomEvent("driftwell:refreshed", { bubbles: true }));
  };

  const refresh = async () => {
    if (document.visibilityState !== "visible" || isBusy()) return;
    try {
      const answer = await fetch(location.href.split("#")[0], {
        headers: { "X-Driftwell-Fragment": "1", Accept: "text/html" },
        credentials: "same-origin",
        cache: "no-store",
      });
      if (answer.redirected || answer.status === 401) {
        say("You are logged out; load the page again to log in.", true);
        clearInterval(timer);
        return;
      }
      if (!answer.ok) throw new Error(String(answer.status));
      const text = await answer.text();
      if (before !== null && text !== before) show(text);
      before = text;
      say(`Live · ${new Date().toLocaleTimeString()}`);
    } catch {
      say("The service does not answer; what you see may be old.", true);
    }
  };

  const timer = setInterval(refresh, EVERY);
  document.addEventListener("visibilitychange", refresh);
  for (const select of document.querySelectorAll("select[data-goto]")) {
    select.addEventListener("change", () => { location.href = select.value; });
  }
  say("Live");
})();
