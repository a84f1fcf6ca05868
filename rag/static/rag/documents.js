// Pages of documents: uploads with progress, what becomes of them, questions that are tried.
"use strict";

const PAUSE_MS = 1000; // between two looks at what is under way
const JSON_HEADERS = { Accept: "application/json" };
const LOGGED_OUT = "You are not logged in any more: reload the page.";
const followed = new Map(); // documents of this page's uploads, by row, with their line
let uploading = 0;
let timer = 0;

// --- What becomes of documents and indexes -----------------------------------------------

function replaceChanged(parts) {
    for (const [id, html] of Object.entries(parts)) {
        const place = document.getElementById(id);
        const isTouched = place && place.contains(document.activeElement);
        // Tokens against forged requests are new each time: they are no change.
        const plain = html.replace(/name="csrfmiddlewaretoken" value="\w+"/g, "");
        if (place && !isTouched && place.dataset.shown !== plain) {
            place.dataset.shown = plain;
            place.innerHTML = html;
        }
    }
}

function showState(line, told) {
    const words = told.is_final || told.percent === null
        ? told.state
        : `${told.state}, ${told.percent}%`;
    line.state.textContent = told.reason ? `${words}: ${told.reason}` : words;
    line.item.dataset.state = told.state;
    line.bar.hidden = told.is_final;
    if (told.percent === null) {
        line.bar.removeAttribute("value");
    } else {
        line.bar.value = told.percent;
    }
}

async function look(page) {
    const address = new URL(page.dataset.ragFollow, location.href);
    if (followed.size) {
        address.searchParams.set("followed", [...followed.keys()].slice(0, 100).join());
    }
    const response = await fetch(address, { headers: JSON_HEADERS });
    if (response.redirected || [401, 403, 404].includes(response.status)) {
        return false; // logged out, or the collection is gone: reloading says so
    }
    if (!response.ok) {
        throw new Error(`AILB answered ${response.status}.`);
    }
    const answer = await response.json();
    replaceChanged(answer.parts);
    for (const [row, told] of Object.entries(answer.documents)) {
        const line = followed.get(row);
        if (line) {
            showState(line, told);
            if (told.is_final) {
                followed.delete(row);
            }
        }
    }
    return answer.is_moving || followed.size > 0 || uploading > 0;
}

async function follow(page) {
    timer = 0;
    let goesOn = true;
    if (!document.hidden) {
        try {
            goesOn = await look(page);
        } catch {
            goesOn = true; // the server or the network is away: try again
        }
    }
    if (goesOn) {
        followSoon(page);
    }
}

function followSoon(page) {
    if (page && !timer) {
        timer = setTimeout(follow, PAUSE_MS, page);
    }
}

// --- Uploads -------------------------------------------------------------------------------

function addLine(list, file) {
    const item = document.createElement("li");
    const name = document.createElement("span");
    name.className = "rag-upload-name";
    name.textContent = file.name;
    const bar = document.createElement("progress");
    bar.className = "rag-progress";
    bar.max = 100;
    bar.value = 0;
    bar.setAttribute("aria-label", `Progress of ${file.name}`);
    const state = document.createElement("span");
    state.className = "rag-upload-state";
    state.textContent = "waits";
    item.append(name, bar, state);
    list.append(item);
    list.hidden = false;
    return { item, bar, state };
}

function fail(line, problem) {
    line.item.dataset.state = "failed";
    line.bar.hidden = true;
    line.state.textContent = problem;
}

function readAnswer(request) {
    try {
        return JSON.parse(request.responseText);
    } catch {
        return null; // a page: of the login, or of a server in between
    }
}

function settle(line, request) {
    const answer = readAnswer(request);
    const file = answer?.files?.[0];
    if (!file) {
        const problem = answer?.error?.message;
        const words = request.status === 200 ? LOGGED_OUT : `AILB answered ${request.status}.`;
        fail(line, problem ?? words);
    } else if (file.is_refused) {
        fail(line, file.said);
    } else {
        line.state.textContent = file.said;
        line.bar.removeAttribute("value");
        followed.set(String(file.document), line);
    }
}

function send(form, file, line) {
    const data = new FormData();
    data.set("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
    data.set("file", file);
    return new Promise((done) => {
        const request = new XMLHttpRequest();
        request.open("POST", form.action);
        request.setRequestHeader("Accept", JSON_HEADERS.Accept);
        request.upload.addEventListener("progress", (event) => {
            if (event.lengthComputable) {
                const percent = Math.floor((100 * event.loaded) / event.total);
                line.bar.value = percent;
                line.state.textContent = `uploading, ${percent}%`;
            }
        });
        request.addEventListener("load", () => settle(line, request));
        request.addEventListener("error", () => fail(line, "The connection broke: try again."));
        request.addEventListener("loadend", done);
        request.send(data);
    });
}

async function sendEach(form, page, files) {
    const list = form.querySelector("[data-rag-uploads]");
    const most = Number(form.dataset.most);
    const waiting = files.map((file) => ({ file, line: addLine(list, file) }));
    uploading += 1;
    // One at a time: each is held in the server's memory while it is taken in.
    for (const { file, line } of waiting) {
        if (file.size > most) {
            fail(line, `It is larger than the ${most / 2 ** 20} MB that are allowed: split it.`);
        } else if (!file.size) {
            fail(line, "It is empty, or a folder: bring a file with text.");
        } else {
            await send(form, file, line);
            followSoon(page);
        }
    }
    uploading -= 1;
    followSoon(page);
}

function setUp(form, page) {
    const input = form.elements.file;
    const area = form.querySelector(".rag-drop");
    let queue = Promise.resolve();
    const take = (chosen) => {
        const files = input.multiple ? [...chosen] : [...chosen].slice(0, 1);
        queue = queue.then(() => sendEach(form, page, files));
    };
    form.classList.add("rag-scripted");
    form.querySelector("[data-rag-plain]").hidden = true;
    // Before the theme's own listener, which looks for a field that is not here.
    form.addEventListener("change", (event) => {
        event.stopPropagation();
        take(input.files);
        input.value = "";
    }, true);
    form.addEventListener("submit", (event) => event.preventDefault());
    for (const kind of ["dragenter", "dragover"]) {
        area.addEventListener(kind, (event) => {
            event.preventDefault();
            area.classList.add("rag-over");
        });
    }
    area.addEventListener("dragleave", () => area.classList.remove("rag-over"));
    area.addEventListener("drop", (event) => {
        event.preventDefault();
        area.classList.remove("rag-over");
        take(event.dataTransfer.files);
    });
}

// A file that misses the area must not take the place of the page.
function ignoreDrops() {
    for (const kind of ["dragover", "drop"]) {
        window.addEventListener(kind, (event) => {
            if (event.dataTransfer?.types.includes("Files")) {
                event.preventDefault();
            }
        });
    }
}

// --- Questions -----------------------------------------------------------------------------

async function ask(form) {
    const place = document.querySelector("[data-rag-hits]");
    const button = form.querySelector("button");
    button.disabled = true;
    place.classList.add("rag-waits");
    try {
        const response = await fetch(form.action, {
            method: "POST",
            headers: JSON_HEADERS,
            body: new FormData(form),
        });
        if (!response.ok || response.redirected) {
            throw new Error(response.redirected ? LOGGED_OUT : `AILB answered ${response.status}.`);
        }
        place.innerHTML = await response.text();
    } catch (error) {
        place.textContent = error.message;
    } finally {
        button.disabled = false;
        place.classList.remove("rag-waits");
    }
}

document.addEventListener("DOMContentLoaded", () => {
    const page = document.querySelector("[data-rag-follow]");
    const forms = document.querySelectorAll("[data-rag-upload]");
    for (const form of forms) {
        setUp(form, page);
    }
    if (forms.length) {
        ignoreDrops();
    }
    for (const form of document.querySelectorAll("[data-rag-try]")) {
        form.addEventListener("submit", (event) => {
            event.preventDefault();
            ask(form);
        });
    }
    if (page && "moving" in page.dataset) {
        followSoon(page);
    }
});
