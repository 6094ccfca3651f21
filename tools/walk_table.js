// What a compiled table does, from the JSON document of its machine: the same steps, refusals and words as the library.
// Values: an int is a BigInt, an id a text, a member of an enumeration its name, nothing is null. Names are keys of Maps.

class Refused extends Error {}
class NoValue extends Error {}

function ordered(value) {
  if (value === null) throw new NoValue();
  return value;
}

const COMPARE = {
  "=": (left, right) => left === right,
  "!=": (left, right) => left !== right,
  "<": (left, right) => ordered(left) < ordered(right),
  "<=": (left, right) => ordered(left) <= ordered(right),
  ">": (left, right) => ordered(left) > ordered(right),
  ">=": (left, right) => ordered(left) >= ordered(right),
};

function evaluate(node, fields, params) {
  const of = each => evaluate(each, fields, params);
  switch (node.op) {
    case "field": return fields.get(node.name);
    case "param": return params.has(node.name) ? params.get(node.name) : null;
    case "const": case "uuid": return node.value;
    case "member": return node.member;
    case "plus_one": return ordered(of(node.of)) + 1n;
    case "compare": {
      const left = of(node.left), right = of(node.right);
      return COMPARE[node.by](left, right);
    }
    case "is_none": return of(node.of) === null;
    case "is_in": {
      const value = of(node.of);
      return node.options.some(each => of(each) === value);
    }
    case "not": return !of(node.of);
    case "and": return node.of.every(of);
    case "or": return node.of.some(of);
    default: throw new Error("no such expression: " + node.op);
  }
}

function parts(node) {
  const below = [node.of, node.left, node.right, node.options].flat().filter(each => each !== undefined);
  return [node, ...below.flatMap(parts)];
}

// A text as Python shows it: in single quotation marks, unless there are such and no double ones in it.
function quoted(text) {
  const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
  const plain = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", [mark]: "\\" + mark };
  const hex = (code, width) => code.toString(16).padStart(width, "0");
  const shown = [...text].map(char => {
    if (char in plain) return plain[char];
    if (char === " " || !/[\p{C}\p{Z}]/u.test(char)) return char;
    const code = char.codePointAt(0);
    return code < 0x100 ? "\\x" + hex(code, 2) : code < 0x10000 ? "\\u" + hex(code, 4) : "\\U" + hex(code, 8);
  });
  return mark + shown.join("") + mark;
}

class Table {
  constructor({ document, texts }) {
    this.machine = document;
    this.texts = texts;
    this.states = new Map(document.states.map(each => [each.name, each]));
    this.events = new Map(document.events.map(each => [each.name, each.params]));
    this.fields = new Map(document.fields.map(each => [each.name, each]));
    this.enums = new Map(document.enums.map(each => [each.name, each.members]));
    const nodes = document.transitions.flatMap(row => [row.guard, ...row.sets.map(each => each.value)].flatMap(parts));
    this.seen = new WeakMap();
    this.constants = { int: [], str: [], UUID: [] };
    for (const node of nodes) {
      const kind = node.op === "uuid" ? "UUID" : node.op !== "const" ? "" :
        typeof node.value === "bigint" ? "int" : typeof node.value === "string" ? "str" : "";
      if (kind && !this.constants[kind].includes(node.value)) this.constants[kind].push(node.value);
    }
  }

  start() {
    const fields = this.machine.fields.map(each => [each.name, evaluate(each.default, new Map(), new Map())]);
    return { state: this.machine.initial, fields: new Map(fields) };
  }

  rows(state, event) {
    return this.machine.transitions.filter(row => row.event === event && row.source.includes(state));
  }

  // Throws Refused with the reason that TransitionRefused has, or NoValue with the problem of the SpecError.
  step({ state, fields }, event, params) {
    const rows = this.rows(state, event);
    if (!rows.length) throw new Refused(this.states.get(state).terminal ? "terminal state" : "no row");
    try {
      for (const row of rows) {
        if (!evaluate(row.guard, fields, params)) continue;
        const sets = new Map(row.sets.map(each => [each.field, evaluate(each.value, fields, params)]));
        return { row: this.machine.transitions.indexOf(row), target: row.target, sets, emits: row.emits };
      }
    } catch (error) {
      if (!(error instanceof NoValue)) throw error;
      throw new NoValue("no value for " + this.read(rows, event, fields, params) + "; put is_some() before an order or a + 1");
    }
    const guards = rows.map(row => row.text).join("; ");
    throw new Refused("guard not met: " + guards + " (" + this.read(rows, event, fields, params) + ")");
  }

  after({ fields }, step) {
    return { state: step.target, fields: new Map([...fields, ...step.sets]) };
  }

  read(rows, event, fields, params) {
    const found = op => rows.flatMap(row =>
      [...new Set(parts(row.guard).filter(each => each.op === op).map(each => each.name))].sort());
    const declared = this.events.get(event);
    const told = [
      ...[...new Set(found("field"))].map(name => [name, fields.get(name), this.fields.get(name).type]),
      ...[...new Set(found("param"))].map(name =>
        [name, params.has(name) ? params.get(name) : null, declared.find(each => each.name === name).type]),
    ];
    return told.map(([name, value, type]) => name + " = " + this.text(value, type)).join(", ");
  }

  text(value, type) {
    if (value === null) return "none";
    if (this.enums.has(type)) return this.texts[type][value];
    return type === "str" ? quoted(value) : String(value);
  }

  // -- values that a person may want to try ---------------------------------------------------------------------------

  choices({ fields }, event, param) {
    const none = param.optional ? [null] : [];
    if (param.type === "bool") return [...none, false, true];
    if (this.enums.has(param.type)) return [...none, ...this.enums.get(param.type)];
    const held = [...this.fields.values()].filter(each => each.type === param.type)
      .map(each => fields.get(each.name)).filter(each => each !== null);
    const known = [...this.constants[param.type], ...held];
    const made = { int: number => BigInt(number), str: number => "text " + (number + 1), UUID: newId }[param.type];
    const more = param.type === "int" ? [0n, 1n, 2n, 3n, ...known.map(each => each + 1n)]
      : [0, 1, 2, 3].map(made).filter(each => !known.includes(each)).slice(0, 2);
    const all = [...new Set([...known, ...more])];
    if (param.type === "int") all.sort((left, right) => left < right ? -1 : left > right ? 1 : 0);
    return [...none, ...all];
  }

  // What `event` can do at `point` with the choices: the first parameters that are not refused (else the first of all),
  // whether there are any, and to which states they lead.
  outlook(point, event) {
    if (!this.seen.has(point)) this.seen.set(point, new Map());
    const known = this.seen.get(point);
    if (!known.has(event)) known.set(event, this.tried(point, event));
    return known.get(event);
  }

  tried(point, event) {
    const params = this.events.get(event), domains = params.map(each => this.choices(point, event, each));
    const first = new Map(params.map((each, place) => [each.name, domains[place][0]]));
    const targets = new Set();
    let found = null, left = this.rows(point.state, event).length ? 2000 : 0;
    const search = (place, chosen) => {
      if (place < params.length) {
        for (const value of domains[place]) if (left > 0) search(place + 1, chosen.set(params[place].name, value));
      } else if (left-- > 0) {
        const step = this.attempt(point, event, chosen);
        if (step) targets.add(step.target);
        if (step) found ??= new Map(chosen);
      }
    };
    search(0, new Map());
    return { params: found ?? first, possible: found !== null, targets };
  }

  // The step, or null where it is refused.
  attempt(point, event, params) {
    try { return this.step(point, event, params); }
    catch (error) {
      if (error instanceof Refused || error instanceof NoValue) return null;
      throw error;
    }
  }

  // A value as written in an address or a field of a form; throws with what is wrong.
  parsed(text, param) {
    const problem = wanted => new Error(param.name + " has to be " + wanted + ", not " + quoted(text));
    switch (param.type) {
      case "str": return text;
      case "int":
        if (!/^-?[0-9]+$/.test(text)) throw problem("a whole number");
        return BigInt(text);
      case "bool":
        if (!["true", "false"].includes(text)) throw problem("true or false");
        return text === "true";
      case "UUID":
        if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) throw problem("an id (UUID)");
        return text.toLowerCase();
      default:
        if (!this.enums.get(param.type).includes(text)) throw problem("one of " + this.enums.get(param.type).join(", "));
        return text;
    }
  }
}

function newId(number) {
  return "00000000-0000-0000-0000-" + (number + 1).toString(16).padStart(12, "0");
}

// The document as it was written: a whole number of any size is a BigInt.
function readData(text) {
  return JSON.parse(text, (key, value, context) => typeof value === "number" ? BigInt(context?.source ?? value) : value);
}
