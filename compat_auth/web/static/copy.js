"use strict";
// A convenience: without this script, the user selects and copies the token by hand.
const secret = document.getElementById("secret");
const button = document.getElementById("copy");
const copied = document.getElementById("copied");

async function copy() {
  secret.select();
  try {
    await navigator.clipboard.writeText(secret.value);
    copied.textContent = "Copied.";
  } catch {
    // On plain HTTP browsers have no clipboard for pages.
    copied.textContent = "Your browser does not let this page copy. The token is selected: copy it yourself.";
  }
}

secret.addEventListener("focus", () => secret.select());
button.addEventListener("click", copy);
button.hidden = false;
