// The page of new keys: copying one, and reloading without posting the form again.
"use strict";

const page = document.getElementById("new-keys");
history.replaceState(null, "", page.dataset.after);

function select(element) {
    const range = document.createRange();
    range.selectNodeContents(element);
    const selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
}

async function copy(button) {
    const code = button.parentElement.querySelector("code");
    select(code);
    try {
        await navigator.clipboard.writeText(code.textContent);
    } catch {
        // Without TLS browsers give pages no clipboard; the selection can still be copied.
        if (!document.execCommand("copy")) {
            return;
        }
    }
    button.textContent = "Copied";
}

for (const button of page.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", () => copy(button));
}
