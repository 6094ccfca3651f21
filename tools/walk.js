// A walk through a model: steps with undo and redo, the trace, keys, what is announced, and the address.
//
// A model has start() → point, take(point, step) → point or throws, write(step) → text, read(text, point) → step or
// throws, label(step) and told(point), both texts. `show(walk)` draws all else.

function h(tag, given = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter(each => each !== null && each !== false));
  return made;
}

const by = id => document.getElementById(id);

class Walk {
  constructor(model, show) {
    this.model = model;
    this.show = show;
    this.titled = document.title;
    by("undo").addEventListener("click", () => this.go(this.at - 1));
    by("redo").addEventListener("click", () => this.go(this.at + 1));
    by("restart").addEventListener("click", () => this.go(0));
    by("share").addEventListener("click", () => this.share());
    document.addEventListener("keydown", event => this.key(event));
    addEventListener("hashchange", () => { if (location.hash !== this.written) this.open(); });
    this.open();
  }

  get point() { return this.points[this.at]; }
  get before() { return this.at ? this.points[this.at - 1] : null; }
  get step() { return this.at ? this.steps[this.at - 1] : null; }

  // -- moving ----------------------------------------------------------------------------------------------------------

  take(step) {
    const point = this.model.take(this.point, step);
    this.steps.splice(this.at, Infinity, step);
    this.points.splice(this.at + 1, Infinity, point);
    this.at += 1;
    this.moved();
  }

  go(number) {
    const wanted = Math.max(0, Math.min(this.points.length - 1, number));
    if (wanted === this.at) return this.say(number < this.at ? "This is the start." : "There is nothing to do again.");
    this.at = wanted;
    this.moved();
  }

  moved() {
    const steps = this.steps.slice(0, this.at).map(each => this.model.write(each));
    this.written = steps.length ? "#" + steps.join("/") : "";
    history.replaceState(null, "", this.written || location.pathname + location.search);
    this.notice("");
    this.draw();
    this.say((this.step ? this.model.label(this.step) + ": " : "Start: ") + this.model.told(this.point));
  }

  // What the address tells, as far as it fits.
  open() {
    this.steps = [];
    this.points = [this.model.start()];
    const told = location.hash.slice(1);
    let problem = "";
    for (const text of told ? told.split("/") : []) {
      try {
        const point = this.points.at(-1), step = this.model.read(text, point);
        this.points.push(this.model.take(point, step));
        this.steps.push(step);
      } catch (error) {
        problem = "The address does not fit: step " + this.points.length + ", " + readable(text) + ": " + error.message +
          ". Shown is what is before it.";
        break;
      }
    }
    this.at = this.steps.length;
    this.written = location.hash;
    this.notice(problem);
    this.draw();
    this.say(problem || this.model.told(this.point));
  }

  // -- telling ---------------------------------------------------------------------------------------------------------

  draw() {
    by("undo").setAttribute("aria-disabled", this.at === 0);
    by("redo").setAttribute("aria-disabled", this.at === this.steps.length);
    document.title = this.at ? this.titled + " · " + this.at : this.titled;
    const items = this.points.map((point, number) => h("li", {},
      h("a", { href: "#", "aria-current": number === this.at ? "step" : null, class: number > this.at ? "undone" : null,
        onclick: event => { event.preventDefault(); this.go(number); } },
        h("span", { class: "number" }, String(number)),
        h("code", { class: "what" }, number ? this.model.label(this.steps[number - 1]) : "start"),
        h("span", { class: "more" }, this.model.place(point)))));
    by("trace").replaceChildren(...items);
    const current = by("trace").querySelector("[aria-current]"), list = by("trace");
    list.scrollTop = Math.max(0, current.offsetTop + current.offsetHeight - list.clientHeight);
    this.show(this);
  }

  say(text) { by("live").textContent = text; }

  notice(text) {
    by("notice").hidden = !text;
    by("notice").textContent = text;
  }

  async share() {
    try {
      await navigator.clipboard.writeText(location.href);
      this.say("The link is copied.");
      by("share").textContent = "copied";
      setTimeout(() => { by("share").textContent = "copy link"; }, 1500);
    } catch {
      this.notice("The link of this point is the address of the page: " + location.href);
    }
  }

  key(event) {
    const at = event.target, isField = at instanceof Element && at.closest("input, select, textarea");
    const undoes = event.key.toLowerCase() === "z" && !event.shiftKey;
    if ((event.ctrlKey || event.metaKey) && !event.altKey) {
      if (isField || !["z", "y"].includes(event.key.toLowerCase())) return;
      this.go(this.at + (undoes ? -1 : 1));
    } else if (event.altKey || isField) return;
    else if (["ArrowLeft", "u"].includes(event.key)) this.go(this.at - 1);
    else if (["ArrowRight", "r"].includes(event.key)) this.go(this.at + 1);
    else if (event.key === "Home") this.go(0);
    else if (event.key === "End") this.go(this.points.length - 1);
    else if (event.key === "ArrowDown") nextButton(1);
    else if (event.key === "ArrowUp") nextButton(-1);
    else return;
    event.preventDefault();
  }
}

// Up and down go from event to event.
function nextButton(by) {
  const all = [...document.querySelectorAll("button.take")].filter(each => each.offsetParent !== null);
  const here = all.indexOf(document.activeElement);
  const next = here < 0 ? (by > 0 ? 0 : all.length - 1) : Math.max(0, Math.min(all.length - 1, here + by));
  all[next]?.focus();
}

function readable(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

function decoded(text) {
  try { return decodeURIComponent(text); } catch { throw new Error("it is not written as an address is"); }
}
