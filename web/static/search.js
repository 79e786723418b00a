// Offers values while somebody types into a filter of the search form: the most
// frequent ones among the crashes that the rest of the form selects. The form
// works without this script.
"use strict";
(() => {
  const form = document.getElementById("search");
  const fields = form.elements.namedItem("field");
  const list = document.createElement("datalist");
  list.id = "values";
  form.append(list);
  let waiting, asked;

  // The field that an input is about.
  const fieldOf = (input) => input.name === "value" ? fields.value : input.name;

  // Whether values are compared with operators, so that "=" is the whole value.
  const hasOperators = (field) => {
    const option = [...fields.options].find((o) => o.value === field);
    return option !== undefined && "operators" in option.dataset;
  };

  const question = (field, text) => {
    const q = new URLSearchParams();
    for (const [name, value] of new FormData(form)) {
      if (value === "" || name === "field" || name === "value" || name === field) continue;
      if (name === "from") q.append("date", ">=" + value);
      else if (name === "to") q.append("date", "<" + new Date(Date.parse(value) + 86400e3).toISOString().slice(0, 10));
      else q.append(name, value);
    }
    q.set("_field", field);
    q.set("_value", text);
    return q;
  };

  const offer = async (input) => {
    const field = fieldOf(input);
    const [, not, operator] = /^(!?)([=~^$@]?)/.exec(input.value);
    const signs = field === "q" || !hasOperators(field) ? "" : not + operator;
    if (field === "" || operator === "@" && signs !== "") return;
    asked?.abort();
    asked = new AbortController();
    let answer;
    try {
      const reply = await fetch("/api/SuperSearchValues/?" + question(field, input.value.slice(signs.length)), { signal: asked.signal });
      if (!reply.ok) return;
      answer = await reply.json();
    } catch {
      return; // another question is under way, or there is no server: the form still works
    }
    list.replaceChildren(...answer.values.map((v) => {
      const option = document.createElement("option");
      option.value = field === "q" ? v.term : (signs || (hasOperators(field) ? "=" : "")) + v.term;
      option.label = (v.field ? v.field + " · " : "") + v.count;
      if (v.field) option.dataset.field = v.field;
      return option;
    }));
  };

  // A value of a field that was chosen in the box for all fields is a filter.
  const filter = (input) => {
    const chosen = [...list.options].find((o) => o.dataset.field && o.value === input.value);
    if (!chosen) return false;
    const added = document.createElement("input");
    added.type = "hidden";
    added.name = chosen.dataset.field;
    added.value = (hasOperators(added.name) ? "=" : "") + chosen.value;
    form.append(added);
    input.value = "";
    form.requestSubmit();
    return true;
  };

  for (const input of form.querySelectorAll("input[data-values]")) {
    input.setAttribute("list", list.id);
    input.autocomplete = "off";
    input.addEventListener("focus", () => { list.replaceChildren(); offer(input); });
    input.addEventListener("input", (event) => {
      // Browsers send no inputType, or this one, when an option was chosen.
      const chosen = !(event instanceof InputEvent) || event.inputType === "insertReplacementText";
      if (input.name === "q" && chosen && filter(input)) return;
      clearTimeout(waiting);
      waiting = setTimeout(() => offer(input), 120);
    });
  }
})();
