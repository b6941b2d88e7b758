'use strict';
// Sorting and filtering of the photos, and names, merges and drops of the parts. The page is whole
// without this script; it needs no library and no network.
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const root = document.documentElement;
  const one = (selector) => document.querySelector(selector);
  const all = (selector) => Array.from(document.querySelectorAll(selector));
  const numbers = Array.from({length: data.num_parts}, (_, index) => index + 1);
  const fields = {};
  for (const number of numbers) {
    fields[number] = {
      name: one(`[data-name="${number}"]`), into: one(`[data-into="${number}"]`),
      color: one(`[data-color="${number}"]`), dropped: one(`[data-dropped="${number}"]`)};
  }

  // Names. The rules are those of `scops_tf.labels.part_names`, which checks what is saved again.

  const isUnnamed = (number, name) => name === '' || name === `part ${number}`;

  /** The part whose name and colour a part has: the end of the way of its merges. */
  function rootOf(number) {
    const seen = new Set();
    while (!seen.has(number) && Number(fields[number].into.value)) {
      seen.add(number);
      number = Number(fields[number].into.value);
    }
    return seen.has(number) ? Math.min(...seen) : number;
  }

  /** The parts that are shown, as `parts.json` has them, and the part of each number. */
  function groups() {
    const found = new Map();
    const keyOf = {};
    for (const number of numbers) {
      const end = rootOf(number);
      if (fields[number].dropped.checked || fields[end].dropped.checked) continue;
      const name = fields[end].name.value.trim();
      // Parts of one name are one part.
      const key = isUnnamed(end, name) ? `number ${end}` : `name ${name}`;
      keyOf[number] = key;
      if (!found.has(key)) found.set(key, {name, of: [], color: fields[end].color.value, end});
      found.get(key).of.push(number);
    }
    for (const group of found.values()) {
      group.number = group.of[0];
      if (isUnnamed(group.end, group.name)) group.name = `part ${group.number}`;
    }
    const partOf = {};
    for (const number of numbers) partOf[number] = found.get(keyOf[number]) || null;
    return {parts: [...found.values()].sort((a, b) => a.number - b.number), partOf};
  }

  /** [sentence, number of the part at fault], or null. */
  function problem(parts) {
    if (!parts.length) return ['At least one part must be left; all are dropped.', 0];
    const colors = new Map();
    for (const part of parts) {
      if (part.name.toLowerCase() === 'background') {
        return ['“background” is the name of what is no part; give another name.', part.end];
      }
      const other = /^part (\d+)$/.exec(part.name);
      if (other && Number(other[1]) !== part.number) {
        return [`“${part.name}” is the name of another part; give another name.`, part.end];
      }
      if (part.color === '#000000') {
        return ['Black is the colour of the background; give another one.', part.end];
      }
      if (colors.has(part.color)) {
        return [`${colors.get(part.color)} and ${part.name} have the same colour; change one.`,
                part.end];
      }
      colors.set(part.color, part.name);
    }
    return null;
  }

  function content(found) {
    const shown = new Set(found.parts.flatMap((part) => part.of));
    const result = {
      version: 1, num_parts: data.num_parts,
      parts: found.parts.map(({name, of, color}) => ({name, of, color})),
      dropped: numbers.filter((number) => !shown.has(number))};
    if (data.annotated.length) result.photos = data.annotated;
    return result;
  }

  function title(part, number) {
    if (!part) return `part ${number}, dropped`;
    const own = part.name === `part ${part.number}`;
    if (part.of.length > 1) return `${own ? '' : `${part.name}: `}parts ${part.of.join(' + ')}`;
    return own ? part.name : `${part.name} (part ${number})`;
  }

  /** What stands for a part where each part of the model is chosen, also of merged ones. */
  function option(part, number) {
    const own = !part || part.name === `part ${part.number}`;
    return own ? `part ${number}${part ? '' : ', dropped'}` : `${part.name} (part ${number})`;
  }

  let saved = '';
  let visible = numbers;

  function refresh() {
    const found = groups();
    for (const number of numbers) {
      const part = found.partOf[number];
      const end = rootOf(number);
      const inputs = fields[number];
      inputs.name.disabled = inputs.color.disabled = end !== number || inputs.dropped.checked;
      inputs.into.disabled = inputs.dropped.checked;
      inputs.name.setAttribute('aria-invalid', 'false');
      if (part) root.style.setProperty(`--k${number}`, part.color);
      const weight = !part ? 0 : visible.includes(number) ? 1 : .15;
      root.style.setProperty(`--o${number}`, weight);
      const text = title(part, number);
      for (const each of all(`[data-title="${number}"]`)) each.textContent = text;
      for (const each of all(`[data-option="${number}"]`)) {
        each.textContent = (each.dataset.before || '') + option(part, number);
      }
      for (const each of all(`[data-dot="${number}"]`)) {
        each.textContent = part ? part.number : '';
      }
      one(`[data-part="${number}"]`).classList.toggle('gone', !part);
      const legend = one(`[data-legend="${number}"]`);
      legend.classList.toggle('gone', !part);
      legend.hidden = Boolean(part) && part.number !== number;
    }
    const wrong = problem(found.parts);
    const changed = JSON.stringify(content(found)) !== saved;
    one('#problem').hidden = !wrong;
    one('#problem').textContent = wrong ? wrong[0] : '';
    if (wrong && wrong[1]) fields[wrong[1]].name.setAttribute('aria-invalid', 'true');
    one('#status').hidden = Boolean(wrong);
    one('#status').textContent = changed ? 'Changes are not saved yet.' : 'No changes.';
    one('.bar').classList.toggle('changed', changed);
    one('#save').disabled = !changed || Boolean(wrong);
    one('#undo').disabled = !changed;
    return found;
  }

  /** What is saved is what a later undo goes back to. */
  function keep(text) {
    saved = text;
    for (const {name, into, color, dropped} of Object.values(fields)) {
      name.defaultValue = name.value;
      color.defaultValue = color.value;
      dropped.defaultChecked = dropped.checked;
      for (const option of into.options) option.defaultSelected = option.selected;
    }
    refresh();
  }

  async function save() {
    const text = JSON.stringify(content(groups()));
    if (data.token) {
      let answer;
      one('#save').disabled = true;
      one('#status').textContent = 'Saving.';
      try {
        const done = await fetch('parts.json', {
          method: 'PUT', body: text,
          headers: {'Content-Type': 'application/json', 'X-Scops-Token': data.token}});
        answer = {ok: done.ok, text: await done.text()};
      } catch (error) {
        answer = {ok: false, text: 'The server does not answer; start it again. Nothing is saved.'};
      }
      if (!answer.ok) {
        refresh();
        one('#problem').hidden = false;
        one('#problem').textContent = answer.text;
        return;
      }
      keep(text);
      one('#status').textContent = answer.text;
      return;
    }
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([text], {type: 'application/json'}));
    link.download = 'parts.json';
    link.click();
    URL.revokeObjectURL(link.href);
    keep(text);
    one('#status').textContent = `Downloaded. Now run: ${data.command}`;
  }

  function undo() {
    one('#names').reset();
    refresh();
  }

  // Photos.

  const grid = one('#grid');
  const figures = all('#grid figure');

  function valueOf(photo, key) {
    const of_part = /^(presence|area) (\d+)$/.exec(key);
    return of_part ? photo[of_part[1]][Number(of_part[2]) - 1] : photo.scores[key];
  }

  function arrange() {
    const key = one('#sort').value;
    const sign = (data.directions[key] === 'lower' ? -1 : 1) * (one('#reverse').checked ? -1 : 1);
    const filter = Number(one('#filter').value);
    const order = figures.slice();
    if (key) {
      // Photos without the score come last either way.
      const of = (figure) => valueOf(data.photos[figure.dataset.photo], key);
      order.sort((a, b) => {
        const [first, second] = [of(a), of(b)];
        if (first === undefined || second === undefined) {
          return (first === undefined) - (second === undefined);
        }
        return sign * (first - second);
      });
    } else if (one('#reverse').checked) {
      order.reverse();
    }
    let count = 0;
    for (const figure of order) {
      const photo = data.photos[figure.dataset.photo];
      const part = Math.abs(filter);
      figure.hidden = Boolean(filter) && (photo.area[part - 1] > 0) !== (filter > 0);
      count += !figure.hidden;
      const value = key ? valueOf(photo, key) : undefined;
      const shown = value === undefined ? '–' : value.toFixed(/^presence /.test(key) ? 2 : 1);
      figure.querySelector('[data-score]').textContent = key ? `· ${shown}` : '';
      grid.append(figure);
    }
    visible = filter > 0 ? [filter] : numbers;
    one('#shown').textContent = `${count} of ${figures.length} photos`;
    refresh();
  }

  saved = JSON.stringify(content(refresh()));
  refresh();
  one('#names').addEventListener('input', refresh);
  one('#names').addEventListener('submit', (event) => event.preventDefault());
  one('#save').addEventListener('click', save);
  one('#undo').addEventListener('click', undo);
  for (const id of ['sort', 'reverse', 'filter']) {
    one(`#${id}`).addEventListener('change', arrange);
  }
  one('#plain').addEventListener('change', (event) => {
    grid.classList.toggle('plain', event.target.checked);
  });
  window.addEventListener('beforeunload', (event) => {
    if (!one('#save').disabled) event.preventDefault();
  });
  arrange();
})();
