// Tells the page what changed on the server, as events on the body: "live-runs", "live-agents",
// "live-questions". Parts of a page that show such things fetch themselves anew when they hear one;
// without this file a page is right when it is loaded, and stays as it is.
"use strict";

(() => {
  const longestPause = 30000;
  const topics = ["runs", "agents", "questions"];
  let pause = 1000;

  function tell(topic, id) {
    document.body.dispatchEvent(new CustomEvent(`live-${topic}`, { detail: { id } }));
  }

  function connect() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/live`);
    socket.addEventListener("open", () => {
      // What changed while nobody listened was missed.
      if (pause > 1000) {
        topics.forEach((topic) => tell(topic, ""));
      }
      pause = 1000;
    });
    socket.addEventListener("message", (message) => {
      const wake = JSON.parse(message.data);
      (wake.topic === "all" ? topics : [wake.topic]).forEach((topic) => tell(topic, wake.subject_id));
    });
    socket.addEventListener("close", () => {
      setTimeout(connect, pause * (0.5 + Math.random()));
      pause = Math.min(pause * 2, longestPause);
    });
  }

  connect();
})();
