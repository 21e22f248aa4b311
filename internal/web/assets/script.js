// SPDX-License-Identifier: LGPL-2.1-or-later

// The page is written by the server; this puts the parts of it that have changed in the place of the old ones.
"use strict";

const live = document.getElementById("live");
const lost = document.getElementById("lost");
const say = document.getElementById("say");
let stream, heard;

const written = new Map(); // parts by their ids, as the server wrote them
for (const part of live.children) written.set(part.id, part.outerHTML);

// Text that somebody is selecting stays as it is for now, and so does a field in which he is writing.
function inUse(part) {
  const selection = getSelection();
  return !selection.isCollapsed && part.contains(selection.anchorNode) || part.querySelector("input:focus");
}

// Where a table was scrolled to, and what had the focus, stays.
function keepPlace(old, part) {
  const from = old.querySelectorAll(".scroll"), to = part.querySelectorAll(".scroll");
  from.forEach((box, i) => {
    if (!to[i]) return;
    to[i].scrollLeft = box.scrollLeft;
    if (box === document.activeElement) to[i].focus({ preventScroll: true });
  });
}

function show(update) {
  document.title = update.title;
  if (say.textContent !== update.say) say.textContent = update.say;
  const next = document.createElement("template");
  next.innerHTML = update.html;
  const parts = [...next.content.children];
  for (const old of [...live.children]) {
    if (!parts.some((part) => part.id === old.id)) old.remove();
  }
  let before = null;
  for (const part of parts) {
    const old = document.getElementById(part.id);
    const html = part.outerHTML;
    if (old && (written.get(part.id) === html || inUse(old))) {
      before = old;
      continue;
    }
    written.set(part.id, html);
    live.insertBefore(part, before ? before.nextSibling : live.firstChild);
    if (old) {
      keepPlace(old, part);
      old.remove();
    }
    before = part;
  }
  live.dataset.updates = Number(live.dataset.updates || 0) + 1;
}

function hear() {
  heard = Date.now();
  lost.hidden = true;
}

function follow() {
  if (stream) stream.close();
  heard = Date.now();
  stream = new EventSource("events" + location.search);
  stream.onmessage = (message) => {
    hear();
    show(JSON.parse(message.data));
  };
  stream.addEventListener("beat", hear);
  stream.onerror = () => { lost.hidden = false; };
}

// A browser does not try again by itself when it was refused, and does not notice a network that is gone.
setInterval(() => {
  const silent = Date.now() - heard > 45000;
  if (silent) lost.hidden = false;
  if (silent || stream.readyState === EventSource.CLOSED) follow();
}, 5000);

follow();
