// The page of one machine: its picture, its fields, its events with their parameters.

const data = readData(by("data").textContent);
const table = new Table(data);

const model = {
  start: () => table.start(),
  take: (point, { event, params }) => table.after(point, table.step(point, event, params)),
  place: point => point.state,
  label({ event, params }) {
    const told = [...params].filter(([, value]) => value !== null)
      .map(([name, value]) => name + " = " + shortText(value, typeOf(event, name)));
    return event + (told.length ? "(" + told.join(", ") + ")" : "");
  },
  told(point) {
    const possible = [...table.events.keys()].filter(event => table.outlook(point, event).possible);
    return "the state is " + point.state + (table.states.get(point.state).terminal ? ", which is terminal" : "") + ". " +
      (possible.length ? "Possible: " + possible.join(", ") : "Nothing is possible") + ".";
  },
  write({ event, params }) {
    const given = [...params].filter(([, value]) => value !== null)
      .map(([name, value]) => "&" + encodeURIComponent(name) + "=" + encodeURIComponent(String(value)));
    return encodeURIComponent(event) + given.join("");
  },
  read(text) {
    const [name, ...given] = text.split("&"), event = decoded(name), declared = table.events.get(event);
    if (!declared) throw new Error("the machine has no such event");
    const params = new Map();
    for (const each of given) {
      const equals = each.indexOf("="), param = declared.find(one => one.name === decoded(each.slice(0, Math.max(0, equals))));
      if (!param) throw new Error("the event has no parameter " + quoted(readable(each.split("=")[0])));
      params.set(param.name, table.parsed(decoded(each.slice(equals + 1)), param));
    }
    for (const param of declared) {
      if (!params.has(param.name) && !param.optional) throw new Error("its parameter " + param.name + " is missing");
      if (!params.has(param.name)) params.set(param.name, null);
    }
    return { event, params };
  },
};

function typeOf(event, name) { return table.events.get(event).find(each => each.name === name).type; }

// An id that is a small number is told by it; its title has the whole.
function shortText(value, type) {
  const small = type === "UUID" && value !== null && /^0{8}-(0{4}-){3}([0-9a-f]{12})$/.exec(value);
  return small ? "id " + BigInt("0x" + small[2]) : table.text(value, type);
}

// -- fields ------------------------------------------------------------------------------------------------------------

function showState(walk) {
  const { state, fields } = walk.point, before = walk.before?.fields;
  by("state").textContent = state;
  by("state").className = table.states.get(state).terminal ? "terminal" : "";
  by("came").textContent = walk.step ? "by " + walk.step.event + " from " + walk.before.state : "the start";
  const rows = data.document.fields.map(({ name, type }) => {
    const value = fields.get(name), old = before?.get(name), changed = before && old !== value;
    const cell = changed ? [h("del", {}, shortText(old, type)), " → ", h("ins", {}, shortText(value, type))]
      : [h("span", { class: value === null ? "dim" : null }, shortText(value, type))];
    const whole = type === "UUID" ? value : null;
    return h("tr", { class: changed ? "changed" : null }, h("th", { scope: "row" }, name), h("td", { title: whole }, ...cell));
  });
  by("fields").replaceChildren(...rows);
}

// -- events ------------------------------------------------------------------------------------------------------------

function showEvents(walk) {
  const focused = document.activeElement?.closest?.("[data-event]")?.dataset.event;
  const found = [...table.events.keys()].map(event => ({ event, ...table.outlook(walk.point, event) }));
  const possible = found.filter(each => each.possible), refused = found.filter(each => !each.possible);
  by("possible").replaceChildren(...possible.map(each => card(walk, each)));
  by("none").hidden = possible.length > 0;
  by("refused").replaceChildren(...refused.map(each => card(walk, each)));
  by("possible-count").textContent = possible.length;
  by("refused-count").textContent = refused.length;
  if (focused !== undefined && !document.activeElement?.closest?.("[data-event]")) {
    const same = buttonOf(focused);
    (same && !same.closest("#refused") ? same : document.querySelector("#possible button.take") ?? by("state")).focus();
  }
}

function buttonOf(event) {
  return [...document.querySelectorAll("li[data-event]")].find(each => each.dataset.event === event)?.querySelector("button");
}

function card(walk, { event, params }) {
  const chosen = new Map(params), declared = table.events.get(event);
  const hasRows = table.rows(walk.point.state, event).length > 0;
  const id = "outcome-" + [...table.events.keys()].indexOf(event);
  const outcome = h("p", { id, class: "outcome" });
  const problems = new Map();
  const take = () => {
    if (button.getAttribute("aria-disabled") === "true") return walk.say(event + " is refused: " + outcome.textContent);
    walk.take({ event, params: new Map(chosen) });
  };
  const button = h("button", { class: "take", type: "button", "aria-describedby": id, onclick: take }, event);
  const update = () => {
    let way = "", why = [...problems.values()].join("; ");
    const said = [];
    if (!why) {
      try {
        const step = table.step(walk.point, event, chosen);
        way = step.target === walk.point.state ? "stays " + step.target : "→ " + step.target;
        const row = data.document.transitions[step.row];
        if (row.doc) said.push(row.doc);
        const sets = [...step.sets].map(([name, value]) => name + " = " + shortText(value, table.fields.get(name).type));
        if (sets.length) said.push("sets " + sets.join(", "));
        if (step.emits.length) said.push("emits " + step.emits.join(", "));
      } catch (error) {
        if (!(error instanceof Refused || error instanceof NoValue)) throw error;
        why = error.message;
      }
    }
    button.setAttribute("aria-disabled", why !== "");
    to.textContent = way;
    outcome.textContent = why || said.join(" · ");
    outcome.classList.toggle("why", why !== "");
  };
  const to = h("span", { class: "to" });
  const forms = hasRows ? declared.map(param => control(walk, event, param, chosen, problems, update)) : [];
  const made = h("li", { "data-event": event, class: hasRows ? "event" : "event plain" },
    h("div", { class: "line" }, button, to), forms.length ? h("div", { class: "params" }, ...forms) : null, outcome);
  update();
  return made;
}

function control(walk, event, param, chosen, problems, update) {
  const values = table.choices(walk.point, event, param);
  const name = event + " " + param.name;
  const pick = value => { chosen.set(param.name, value); problems.delete(param.name); update(); };
  if (param.type === "bool") {
    const radios = values.map(value => h("label", {}, h("input", { type: "radio", name,
      checked: value === chosen.get(param.name), onchange: () => pick(value) }), " ", table.text(value, "bool")));
    return h("fieldset", {}, h("legend", {}, param.name), ...radios);
  }
  const isClosed = table.enums.has(param.type), other = String(values.length);
  const options = values.map((value, place) => h("option", { value: String(place),
    selected: value === chosen.get(param.name), title: param.type === "UUID" ? value : null }, shortText(value, param.type)));
  if (!isClosed) options.push(h("option", { value: other }, "other …"));
  const typed = isClosed ? null : h("input", { type: "text", hidden: true, "aria-label": param.name + ", another " + param.type,
    spellcheck: "false", autocomplete: "off", size: param.type === "int" ? 6 : 12, oninput: () => {
      try { pick(table.parsed(typed.value, param)); }
      catch (error) { problems.set(param.name, error.message); update(); }
    } });
  const select = h("select", { onchange: () => {
    if (typed) typed.hidden = select.value !== other;
    if (select.value !== other) return pick(values[Number(select.value)]);
    typed.dispatchEvent(new Event("input"));
    typed.focus();
  } }, ...options);
  return h("label", {}, h("span", {}, param.name), select, typed);
}

// -- the picture -------------------------------------------------------------------------------------------------------

const picture = document.querySelector("#picture svg");

// Each event in a label by itself, and lines that a finger hits.
function wakePicture(walk) {
  const split = text => {
    const words = text.textContent.split(/(, |,$)/);
    text.replaceChildren(...words.filter(Boolean).map(word => {
      const event = word.replace(/^↻ | {2}/, "");
      if (!table.events.has(event)) return word;
      const part = document.createElementNS(picture.namespaceURI, "tspan");
      part.textContent = word;
      part.dataset.event = event;
      return part;
    }));
  };
  picture.querySelectorAll("text.label, g[data-state] text.small").forEach(split);
  for (const wire of picture.querySelectorAll("path.wire[data-to]")) {
    const wide = wire.cloneNode();
    wide.setAttribute("class", "hit");
    wire.after(wide);
  }
  picture.addEventListener("click", event => {
    const part = event.target.closest("tspan[data-event]"), place = event.target.closest("[data-to], g[data-state]");
    const names = part ? [part.dataset.event] : place?.dataset.events?.split("\n") ?? [];
    const open = names.filter(each => isOpen(walk, place, each));
    if (open.length) chosenInPicture(walk, open);
    else if (names.length) walk.say(names.join(", ") + (names.length > 1 ? " are" : " is") + " not possible here.");
  });
}

// What the picture shows there can happen now.
function isOpen(walk, place, event) {
  const { state } = walk.point, { from, to } = place.dataset;
  const target = to ?? place.dataset.state;
  if (to === undefined ? target !== state : from !== "" && !from.split("\n").includes(state)) return false;
  if (to !== undefined && (target === state || (from === "" && table.states.get(state).terminal))) return false;
  return table.outlook(walk.point, event).targets.has(target);
}

function chosenInPicture(walk, events) {
  const [event] = events;
  if (events.length === 1 && !table.events.get(event).length) return walk.take({ event, params: new Map() });
  const button = buttonOf(event);
  button.closest("li").scrollIntoView({ block: "center" });
  button.focus({ preventScroll: true });
  walk.say(events.join(", ") + ": choose in the list.");
}

function showPicture(walk) {
  for (const node of picture.querySelectorAll("g[data-state]")) {
    node.classList.toggle("here", node.dataset.state === walk.point.state);
    node.classList.toggle("was", walk.before?.state === node.dataset.state && walk.before.state !== walk.point.state);
  }
  for (const part of picture.querySelectorAll("[data-events]")) {
    part.classList.toggle("open", part.dataset.events.split("\n").some(event => isOpen(walk, part, event)));
  }
  for (const part of picture.querySelectorAll("tspan[data-event]")) {
    part.classList.toggle("open", isOpen(walk, part.closest("[data-to], g[data-state]"), part.dataset.event));
  }
  const here = picture.querySelector("g.here").getBoundingClientRect(), frame = by("picture").getBoundingClientRect();
  by("picture").scrollLeft += here.left + here.width / 2 - frame.left - frame.width / 2;
}

let isAwake = false;
const walk = new Walk(model, walk => {
  if (!isAwake) wakePicture(walk);
  isAwake = true;
  showState(walk);
  showEvents(walk);
  showPicture(walk);
});
