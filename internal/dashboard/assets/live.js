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

  // What is there becomes what is wanted, and stays the same thing where it can: the focus, a click that has begun, and what
  // a screen reader has read outlive an update. Rows are told apart by their keys.
  const patch = (there, wanted) => {
    const known = new Map([...there.childNodes].filter((n) => n.dataset?.key).map((n) => [n.dataset.key, n]));
    let at = there.firstChild;
    const drop = () => {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    };
    for (const want of [...wanted.childNodes]) {
      const key = want.dataset?.key;
      const same = key && known.get(key);
      if (same && same.parentNode === there) while (at && at !== same) drop();
      if (!at || at.nodeName !== want.nodeName || at.dataset?.key !== key) {
        there.insertBefore(want, at);
        continue;
      }
      if (at.nodeType === Node.ELEMENT_NODE) {
        for (const { name } of [...at.attributes]) if (!want.hasAttribute(name)) at.removeAttribute(name);
        for (const { name, value } of want.attributes) if (at.getAttribute(name) !== value) at.setAttribute(name, value);
        patch(at, want);
      } else if (at.data !== want.data) at.data = want.data;
      at = at.nextSibling;
    }
    while (at) drop();
  };

  // Text that a person is selecting stays; what came meanwhile is shown afterwards.
  const held = new Map();
  const selecting = (part) => {
    const chosen = getSelection();
    return !chosen.isCollapsed && part.contains(chosen.anchorNode);
  };
  const put = (id, html) => {
    const part = document.getElementById(id);
    held.delete(id);
    if (!part) return;
    if (selecting(part)) {
      held.set(id, html);
      return;
    }
    const wanted = document.createElement("template");
    wanted.innerHTML = html;
    patch(part, wanted.content);
  };
  document.addEventListener("selectionchange", () => [...held].forEach(([id, html]) => put(id, html)));

  const replace = (event) => {
    const { id, html } = JSON.parse(event.data);
    put(id, html);
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
