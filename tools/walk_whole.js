// The page of the whole: the store and the memory of drivers side by side, and what can happen to them.

const data = JSON.parse(by("data").textContent);
const PLAIN = "", CRASH = "crash", BROKEN = "The page ends here";
const named = data.actions.map(([isOlder, call, fate]) => (isOlder ? "older driver: " : "") + call + (fate ? ": " + fate : ""));
const numbers = new Map(named.map((name, number) => [name, number]));

const pairs = flat => Array.from({ length: flat.length / 2 }, (_, at) => [flat[2 * at], flat[2 * at + 1]]);
const isFollowed = id => id < data.followed;

// The numbers of what leads on from a state, of the refused calls with their reasons, of what changes nothing.
function moves(id) {
  if (!isFollowed(id)) return { leads: new Map(), refused: new Map(), still: [] };
  const [, , , leads, refused, still] = data.states[id];
  return { leads: new Map(pairs(leads)), refused: new Map(pairs(data.lists[refused])), still: data.lists[still] };
}

// What stands in each pane: a Map from the number of a path to its text.
function panesOf(id) {
  return new Map(pairs(data.states[id][0]).map(([pane, part]) =>
    [data.panes[pane], new Map(pairs(data.parts[part]).map(([path, text]) => [path, data.texts[text]]))]));
}

// A text that may be broken where its words end.
function broken(text) {
  return text.split(/(?<=_)/).flatMap((part, place) => place ? [document.createElement("wbr"), part] : [part]);
}

// What is different between two states, in words; what panes share is told once.
function changes(before, after) {
  const was = panesOf(before), now = panesOf(after), panes = new Map();
  const tell = (pane, what) => panes.set(what, [...(panes.get(what) ?? []), pane]);
  for (const pane of data.panes) {
    const one = was.get(pane), other = now.get(pane);
    if (!one?.size && !other?.size) continue;
    if (!one?.size || !other?.size) tell(pane, one?.size ? "gone" : "new");
    else for (const what of differences(one, other)) tell(pane, what);
  }
  return [...panes].map(([what, those]) => those.join(", ") + (/^(new|gone)$/.test(what) ? " " : ": ") + what);
}

// Groups that came or went as a whole, and values that became others.
function differences(was, now) {
  const groups = values => new Set([...values.keys()].map(path => data.paths[path][0]).filter(Boolean));
  const [before, after] = [groups(was), groups(now)], told = new Set();
  for (const path of [...new Set([...was.keys(), ...now.keys()])].sort((left, right) => left - right)) {
    const [group, name] = data.paths[path], left = was.get(path), right = now.get(path);
    if (left === right) continue;
    if (group && before.has(group) !== after.has(group)) {
      const state = [...now].find(([each]) => data.paths[each][0] === group && data.paths[each][1] === "state");
      told.add(group + (after.has(group) ? " new" + (state ? ", " + state[1] : "") : " gone"));
    } else told.add((group ? group + " " : "") + name + " " + (left ?? "none") + " → " + (right ?? "none"));
  }
  return told;
}

// The most telling first: states, then what is there and was not, then the rest.
function summary(before, after, most) {
  const weight = each => (/ state /.test(each) ? 0 : / (new|gone)(,|$)/.test(each) ? 1 : 2);
  const told = changes(before, after).sort((left, right) => weight(left) - weight(right));
  return told.slice(0, most).join(" · ") + (told.length > most ? " · " + (told.length - most) + " more" : "");
}

const model = {
  start: () => ({ id: 0, last: null }),
  take({ id }, action) {
    if (!isFollowed(id)) throw new Error(BROKEN + ": " + data.limit + " is the limit.");
    const { leads, refused, still } = moves(id);
    if (leads.has(action)) return { id: leads.get(action), last: id };
    if (refused.has(action)) throw new Error("it is refused: " + data.reasons[refused.get(action)]);
    throw new Error(still.includes(action) ? "it changes nothing here" : "it cannot happen here");
  },
  label: action => named[action],
  place: ({ id, last }) => last === null ? "nothing is stored, nobody has opened it" : summary(last, id, 2),
  told({ id, last }) {
    const { leads, refused } = moves(id);
    const calls = new Set([...leads.keys()].map(each => data.actions[each][1]));
    return (last === null ? "" : summary(last, id, 4) + ". ") + calls.size + " things can happen, " + refused.size + " are refused.";
  },
  write: action => encodeURIComponent(named[action]),
  read(text) {
    const name = decoded(text);
    if (!numbers.has(name)) throw new Error("nothing of that name can happen within the bounds of this page");
    return numbers.get(name);
  },
};

// -- panes -------------------------------------------------------------------------------------------------------------

function showPanes({ id, last }) {
  const now = panesOf(id), was = last === null ? now : panesOf(last);
  const names = data.panes.filter(name => now.get(name)?.size || was.get(name)?.size || name === "store");
  const head = h("tr", {}, h("td", {}), ...names.map(name => {
    const is = Boolean(now.get(name)?.size), had = Boolean(was.get(name)?.size);
    const mark = is === had ? (is ? null : h("span", { class: "dim" }, "empty")) :
      h("span", { class: is ? "came" : "went" }, is ? "new" : "gone");
    return h("th", { scope: "col" }, name + " ", mark);
  }), names.length > 1 ? h("td", { class: "sign" }) : null);
  const paths = [...new Set([...now.values(), ...was.values()].flatMap(each => [...each.keys()]))].sort((a, b) => a - b);
  const bodies = [];
  let group = null, body = null;
  for (const path of paths) {
    if (data.paths[path][0] !== group) {
      group = data.paths[path][0];
      body = h("tbody", {}, group ? h("tr", {}, h("th", { scope: "rowgroup", colspan: String(names.length + 1) }, group)) : null);
      bodies.push(body);
    }
    body.append(paneRow(path, names, now, was));
  }
  by("panes").replaceChildren(h("thead", {}, head), ...bodies);
}

function paneRow(path, names, now, was) {
  let isChanged = false;
  const cells = names.map(name => {
    const before = was.get(name)?.get(path), after = now.get(name)?.get(path);
    const isThere = now.get(name)?.size, wasThere = was.get(name)?.size;
    if (wasThere && !isThere) return h("td", {}, before === undefined ? "" : h("del", {}, broken(before)));
    if (!wasThere || before === after) {
      return h("td", {}, after === undefined ? h("span", { class: "dim", title: "not there" }, "–") : broken(after));
    }
    isChanged = true;
    return h("td", { class: "changed" }, ...(before === undefined ? [] : [h("del", {}, broken(before)), " → "]),
      after === undefined ? h("span", { class: "dim" }, "none") : h("ins", {}, broken(after)));
  });
  const values = new Set(names.map(name => now.get(name)?.get(path)).filter(each => each !== undefined));
  const apart = values.size > 1;
  const sign = h("td", { class: "sign", title: apart ? "they differ here" : null }, apart ? "≠" : "");
  return h("tr", { class: isChanged ? "changed" : null }, h("th", { scope: "row" }, data.paths[path][1]), ...cells, names.length > 1 ? sign : null);
}

// -- what can happen ---------------------------------------------------------------------------------------------------

const OPENS = ["open", "time passes", "crash"];
const fates = [PLAIN, ...new Set(data.actions.map(each => each[2]).filter(Boolean))];
let fate = PLAIN;

function showFates(walk) {
  const radios = fates.map(each => h("label", {}, h("input", { type: "radio", name: "fate", checked: each === fate,
    onchange: () => { fate = each; showMoves(walk); } }), " ", each || "it lands"));
  by("fates").replaceChildren(h("legend", {}, "What becomes of the commit"), ...radios);
}

function showMoves(walk) {
  const { id } = walk.point, { leads, refused, still } = moves(id);
  const focused = document.activeElement?.closest?.("[data-call]")?.dataset.call;
  const calls = new Map();
  for (const action of leads.keys()) {
    const [isOlder, call, ending] = data.actions[action], key = (isOlder ? "older driver: " : "") + call;
    if (!calls.has(key)) calls.set(key, new Map());
    calls.get(key).set(ending, action);
  }
  const cards = [...calls].map(([key, endings]) => card(walk, key, endings));
  const isWorld = each => OPENS.includes(each.dataset.call.replace("older driver: ", ""));
  by("world").replaceChildren(...cards.filter(isWorld));
  by("calls").replaceChildren(...cards.filter(each => !isWorld(each)));
  by("refused").replaceChildren(...[...refused].map(([action, reason]) => h("li", { class: "plain" },
    h("code", {}, named[action]), h("span", { class: "why" }, data.reasons[reason]))));
  by("still").textContent = still.map(each => named[each]).join(", ") || "none";
  by("refused-count").textContent = refused.size;
  by("still-count").textContent = still.length;
  const isOpened = [...panesOf(id).keys()].some(each => each !== "store");
  by("none").hidden = cards.some(each => !isWorld(each));
  by("none").textContent = isOpened ? "No command changes anything here." : "Nobody has it open: open it to go on.";
  if (focused !== undefined && !document.activeElement?.closest?.("[data-call]")) {
    const same = [...document.querySelectorAll("li[data-call]")].find(each => each.dataset.call === focused);
    (same ?? document.querySelector("li[data-call]"))?.querySelector("button").focus();
  }
}

function card(walk, key, endings) {
  const own = key.endsWith(CRASH) || key === "time passes", action = own ? endings.get(PLAIN) : endings.get(fate);
  const id = "outcome-" + key.replace(/\W/g, "-");
  const said = action === undefined ? "it has no such ending here"
    : summary(walk.point.id, moves(walk.point.id).leads.get(action), 3);
  const button = h("button", { class: "take", type: "button", "aria-describedby": id, "aria-disabled": String(action === undefined),
    onclick: () => action === undefined ? walk.say(key + ": " + said) : walk.take(action) }, key);
  return h("li", { "data-call": key }, h("div", { class: "line" }, button), h("p", { id, class: "outcome" }, said));
}

function showBounds({ id }) {
  const [, runs, crashes] = data.states[id], { bounds } = data;
  const told = [["inputs at most", bounds.inputs], ["runs", runs + " of " + (bounds.runs ?? "any")],
    ["crashes", crashes + " of " + (bounds.crashes ?? "any")], ["kinds", bounds.kinds.join(", ")], ["drivers at most", bounds.openers]];
  by("bounds").replaceChildren(...told.map(([name, value]) => h("span", {}, name + " ", h("b", {}, String(value)))));
  by("end").hidden = isFollowed(id);
  by("end").textContent = BROKEN + ". It has " + data.states.length + " states, and the limit of " + data.limit +
    " was hit before this one was looked at: go back, or make a page with a higher --limit.";
}

new Walk(model, walk => {
  showBounds(walk.point);
  showPanes(walk.point);
  showFates(walk);
  showMoves(walk);
});
