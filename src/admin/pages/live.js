// Shows the page anew when something happened, at most once a second, and every five seconds in
// any case. The page is whole without it.
"use strict";
const PAUSE = 1000, ANYWAY = 5000;
let asked = false, last = 0;

async function show() {
  asked = false;
  // Nobody looks, or somebody reads or types.
  if (document.hidden || document.querySelector("main :focus") || !getSelection().isCollapsed) return;
  last = Date.now();
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of ["main", "footer"]) {
      const now = page.querySelector(part);
      if (now) document.querySelector(part).replaceWith(now);
    }
  } catch { /* The process is gone: the page stays as it was. */ }
}

function ask() {
  if (asked) return;
  asked = true;
  setTimeout(show, Math.max(0, PAUSE - (Date.now() - last)));
}

const events = new EventSource("/events?kept=no");
for (const kind of ["event", "lagged"]) events.addEventListener(kind, ask);
setInterval(ask, ANYWAY);
