// What a page does without, and is handier with: a button that copies a command or a token, and
// moments, which pages give in UTC, in the time of the browser's own place when pointed at.
"use strict";

(() => {
  function addCopying(shown) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(shown.textContent);
      button.textContent = "Copied";
      setTimeout(() => {
        button.textContent = "Copy";
      }, 2000);
    });
    shown.after(button);
  }

  // Browsers offer it to pages that came by TLS or from this machine.
  if (navigator.clipboard) {
    document.querySelectorAll("pre.secret").forEach(addCopying);
  }

  document.addEventListener("pointerover", (event) => {
    const moment = event.target.closest("time[datetime]");
    if (moment && !moment.title.endsWith("here")) {
      moment.title = `${moment.title}; ${new Date(moment.dateTime).toLocaleString()} here`;
    }
  });
})();
