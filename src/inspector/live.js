// Fetches the page again and puts its content in place, as long as somebody looks at it. Without JavaScript the page
// reloads itself instead.
const pause = document.querySelector("#pause");
let paused = false;

const replace = (next, selector) => {
  const [here, there] = [document, next].map((page) => page.querySelector(selector));
  if (here && there && here.innerHTML !== there.innerHTML) here.replaceWith(document.importNode(there, true));
};

const refresh = async () => {
  const selecting = !document.getSelection().isCollapsed;
  if (paused || document.hidden || selecting) return;
  // What was said once is not said again.
  const address = new URL(location);
  address.searchParams.delete("ended");
  try {
    const answer = await fetch(address, { redirect: "error" });
    if (!answer.ok) throw new Error(answer.status);
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    const focused = document.activeElement?.getAttribute("href");
    replace(next, "#main");
    replace(next, "#status");
    if (focused) [...document.links].find((link) => link.getAttribute("href") === focused)?.focus();
    document.body.classList.remove("stale");
  } catch {
    document.body.classList.add("stale");
  }
};

pause.hidden = false;
pause.addEventListener("click", () => {
  paused = !paused;
  pause.setAttribute("aria-pressed", paused);
  pause.textContent = paused ? "Go on" : "Pause";
});
setInterval(refresh, 5000);
