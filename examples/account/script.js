// Counts down what the page says in words anyway. At the end it leaves the page, so that an unattended screen shows
// nothing: to one that has no session, since a reload would prolong what another tab still uses.
const opened = Date.now();
const clocks = [...document.querySelectorAll("time[data-left]")];
const two = (n) => String(n).padStart(2, "0");

function tick() {
  for (const clock of clocks) {
    const left = Math.max(0, Math.ceil(clock.dataset.left - (Date.now() - opened) / 1000));
    const [hours, minutes] = [left / 3600, (left / 60) % 60].map(Math.floor);
    if (hours >= 48) clock.textContent = `in ${Math.round(left / 86400)} days`;
    else if (hours > 0) clock.textContent = `in ${hours}:${two(minutes)}:${two(left % 60)}`;
    else clock.textContent = `in ${minutes}:${two(left % 60)}`;
    if (left === 0) location.replace("/away");
  }
}
if (clocks.length > 0) {
  tick();
  setInterval(tick, 1000);
}

// Some browsers keep whole pages for the back button, whatever they were told.
addEventListener("pageshow", (event) => event.persisted && location.reload());
