"use strict";
// The page is whole without this: it adds copying, a filter, and opens what a link leads to.
const status = document.getElementById("status");

function copied(button, text) {
  const say = (word) => {
    status.textContent = word;
    button.textContent = word;
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  };
  const selected = () => {
    const range = document.createRange();
    range.selectNodeContents(button.parentElement.querySelector("code"));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    say(document.execCommand("copy") ? "Copied" : "Selected");
  };
  if (navigator.clipboard) navigator.clipboard.writeText(text).then(() => say("Copied"), selected);
  else selected();
}

for (const button of document.querySelectorAll(".copy")) {
  button.hidden = false;
  button.addEventListener("click", () =>
    copied(button, button.parentElement.querySelector("code").textContent));
}

function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let at = target.closest("details"); at; at = at.parentElement.closest("details")) at.open = true;
  (target.closest("details") || target).scrollIntoView();
  if (target.hasAttribute("tabindex")) target.focus({ preventScroll: true });
}
addEventListener("hashchange", openTarget);
if (location.hash) openTarget();
// A link to where one already is makes no event.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  if (link && link.hash === location.hash) openTarget();
});

document.querySelector(".tools").hidden = false;
const only = document.getElementById("only");
const table = document.querySelector(".matrix");
const filter = () => {
  table.classList.toggle("only", only.checked);
  const shown = table.querySelectorAll(only.checked ? "tbody tr:not(.quiet):not(.group)" : "tbody tr:not(.group)").length;
  status.textContent = shown + " lines shown";
};
only.addEventListener("change", filter);
if (only.checked) filter();
const every = (open) => () => {
  for (const each of document.querySelectorAll("details.cell")) each.open = open;
};
document.getElementById("open").addEventListener("click", every(true));
document.getElementById("close").addEventListener("click", every(false));
