// Tells the page what changed on the server, as events on the body: "live-runs" for any run and
// "live-runs-ID" for one, alike for agents and questions, and "live-missed" when something may have
// been missed. Parts of a page that show such things fetch themselves anew when they hear one;
// without this file a page is right when it is loaded, and stays as it is.
"use strict";

(() => {
  const longestPause = 30000;
  const topics = ["runs", "agents", "questions"];
  let pause = 1000;

  function say(name) {
    document.body.dispatchEvent(new CustomEvent(`live-${name}`));
  }

  function tell(topic, id) {
    say(topic);
    if (id) {
      say(`${topic}-${id}`);
    }
  }

  function tellAll() {
    topics.forEach(say);
    say("missed");
  }

  function connect() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    // Nobody is woken for what the page does not show.
    const shown = topics.filter((topic) => document.querySelector(`[hx-trigger*="live-${topic}"]`));
    const wanted = shown.join(",") || "none";
    const socket = new WebSocket(`${scheme}//${location.host}/live?topics=${wanted}`);
    socket.addEventListener("open", () => {
      // What changed while nobody listened was missed.
      if (pause > 1000) {
        tellAll();
      }
      pause = 1000;
    });
    socket.addEventListener("message", (message) => {
      const wake = JSON.parse(message.data);
      if (wake.topic === "all") {
        tellAll();
      } else {
        tell(wake.topic, wake.subject_id);
      }
    });
    socket.addEventListener("close", () => {
      setTimeout(connect, pause * (0.5 + Math.random()));
      pause = Math.min(pause * 2, longestPause);
    });
  }

  connect();
})();
