// Somebody who clicks twice, by habit or because nothing seems to happen, wants a thing once: while
// what a form has sent is on its way, nothing is sent again. Without this file, asking twice for a
// run is noticed by the server.
"use strict";

(() => {
  const longestWait = 5000;
  let sentAt = -Infinity;

  document.addEventListener("submit", (event) => {
    if (event.target.method !== "post") {
      return;
    }
    const now = performance.now();
    if (now - sentAt < longestWait) {
      event.preventDefault();
    } else {
      sentAt = now;
    }
  });
  // Also when somebody comes back to a page that the browser has kept.
  addEventListener("pageshow", () => {
    sentAt = -Infinity;
  });
})();
