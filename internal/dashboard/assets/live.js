// Replaces the live parts of a page as the server sends them. Without it everything works, and stands still.
"use strict";
(() => {
  const page = document.body.dataset.page;
  const state = document.getElementById("live-state");
  const toggle = document.getElementById("live-toggle");
  let source = null;
  let stopped = false;

  // Spoken once a change of state, not once an update.
  const say = (text, kind) => {
    if (state.textContent !== text) state.textContent = text;
    state.dataset.kind = kind;
  };

  // A person who is typing, choosing or selecting text there is not interrupted.
  const busy = (part) => {
    const active = document.activeElement;
    if (part.contains(active) && active.matches("input, select, textarea")) return true;
    const chosen = getSelection();
    return !chosen.isCollapsed && part.contains(chosen.anchorNode);
  };

  // What had the focus has it again: the same id, or the same link.
  const same = (part, was) => {
    if (!was) return null;
    if (was.id) return document.getElementById(was.id);
    if (was.hasAttribute("href")) return part.querySelector(`[href="${CSS.escape(was.getAttribute("href"))}"]`);
    return was.matches(".wide") ? part.querySelector(".wide") : null;
  };

  const replace = (event) => {
    const { id, html } = JSON.parse(event.data);
    const part = document.getElementById(id);
    if (!part || busy(part)) return;
    const was = part.contains(document.activeElement) ? document.activeElement : null;
    const scrolled = part.querySelector(".wide")?.scrollLeft ?? 0;
    part.innerHTML = html;
    const region = part.querySelector(".wide");
    if (region) region.scrollLeft = scrolled;
    same(part, was)?.focus({ preventScroll: true });
  };

  const close = () => {
    source?.close();
    source = null;
  };

  const open = () => {
    close();
    source = new EventSource("/live?" + new URLSearchParams({ page }));
    source.onopen = () => say("Live", "on");
    source.onerror = () => say("Reconnecting", "off");
    source.addEventListener("part", replace);
  };

  if (page && state && toggle) {
    toggle.hidden = false;
    toggle.addEventListener("click", () => {
      stopped = !stopped;
      toggle.textContent = stopped ? "Resume updates" : "Pause updates";
      if (stopped) {
        close();
        say("Paused", "off");
      } else open();
    });
    // Nobody sees what a hidden page shows.
    document.addEventListener("visibilitychange", () => {
      if (stopped) return;
      if (document.hidden) close();
      else open();
    });
    addEventListener("pagehide", close);
    open();
  }

  const copy = document.getElementById("copy");
  const address = document.getElementById("address");
  if (copy && address && navigator.clipboard) {
    copy.hidden = false;
    copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText(address.value);
      copy.textContent = "Copied";
    });
  }
})();
