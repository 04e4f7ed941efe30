// What the page does with the client: it draws the rows that gormsync holds, and
// turns its forms into edits. Without this script the forms still work.
const $ = (selector, within = document) => within.querySelector(selector);
const list = $('#todos');
const form = $('#add');
const input = form.elements.title;
const gone = 200; // ms that a deleted row takes to fade, as in page.css
const shapes = Object.fromEntries(['row', 'conflict'].map((name) => [name, $(`#${name}`).content.firstElementChild]));

/** @typedef {import('./models').Todo} Todo The model's row, as gormsync.WriteTypes wrote it. */

/** @type {import('../client/src/collection').Collection<Todo>} */
let todos;

function fill(row, { id, title, done }) {
  row.dataset.id = id;
  $('.title', row).textContent = title;
  $('.check', row).ariaChecked = done;
  $('.check', row).ariaLabel = title;
  $('.remove', row).ariaLabel = `Delete: ${title}`;
  for (const form of row.querySelectorAll('form')) form.action = `/todos/${id}/${form.getAttribute('action').split('/').at(-1)}`;
  const field = $('.rename input', row);
  if (field.dataset.title !== title) field.value = field.dataset.title = title; // not while somebody types, unless it is another one
  return row;
}

const order = (a, b) => b.position - a.position || String(b.created_at ?? '~').localeCompare(String(a.created_at ?? '~')) || (a.id < b.id ? -1 : 1);
const present = () => [...list.children].filter((row) => row.dataset.id);
const rowOf = (id) => present().find((row) => row.dataset.id === id);

function arrive() {
  const row = shapes.row.cloneNode(true);
  row.classList.add('arriving');
  return row;
}

function leave(row) {
  if (row.contains(document.activeElement)) ($('.remove', row.nextElementSibling ?? list) ?? input).focus();
  delete row.dataset.id;
  row.classList.add('leaving');
  setTimeout(() => row.remove(), gone);
}

function draw(all) {
  const old = new Map(present().map((row) => [row.dataset.id, row]));
  let before = null; // the rows are put in from the last to the first, each before the one that follows it
  for (const todo of [...all].sort(order).reverse()) {
    const row = fill(old.get(todo.id) ?? arrive(), todo);
    old.delete(todo.id);
    if (!row.isConnected || nextPresent(row) !== before) list.insertBefore(row, before);
    before = row;
  }
  old.forEach(leave);
  count(all.filter((todo) => todo.done).length, all.length);
}

function nextPresent(row) {
  do row = row.nextElementSibling; while (row && !row.dataset.id);
  return row;
}

function count(done, total) {
  $('#count').textContent = total ? `${done} of ${total} done` : 'No to-dos';
  Object.assign($('#bar'), { max: total || 1, value: done });
}

function show({ status, pending }) {
  const words = { live: 'Live', connecting: 'Connecting…', reconnecting: 'Offline', stopped: 'Not connected' };
  Object.assign($('#link'), { hidden: false, textContent: words[status] }).dataset.status = status;
  Object.assign($('#waiting'), { hidden: !pending, textContent: `${pending} waiting` });
}

/** Rows that somebody else changed glow. */
function glow({ ids, source }) {
  for (const id of ids) {
    const row = rowOf(id);
    if (row && $('details', row).open) void tell(row);
    if (!row || source !== 'remote') continue;
    row.classList.remove('changed');
    void row.offsetWidth; // so that a second glow starts anew
    row.classList.add('changed');
  }
}

function complain(problem) {
  $('#problem').textContent = problem;
  input.ariaInvalid = Boolean(problem);
}

const edits = {
  add({ title }) {
    todos.insert({ title: title.trim(), done: false, notes: '', position: Math.max(0, ...todos.all().map((todo) => todo.position)) + 1 });
    form.reset();
  },
  toggle: (_, id) => todos.update(id, { done: !todos.get(id)?.done }),
  rename({ title }, id) {
    if (title.trim() !== todos.get(id)?.title) todos.update(id, { title: title.trim() });
    $('details', rowOf(id)).open = false;
  },
  delete(_, id) {
    const todo = todos.get(id);
    if (!todo) return;
    const { created_at, updated_at, ...fields } = todo; // those two the server sets
    todos.delete(id);
    offer(`Deleted “${todo.title}”.`, () => todos.insert(fields, id));
  },
};

function submit(event) {
  const { action } = event.target;
  const [, table, id, kind = 'add'] = new URL(action).pathname.split('/');
  if (table !== 'todos') return;
  event.preventDefault();
  /** @type {any} */
  const fields = Object.fromEntries(new FormData(event.target));
  const bad = 'title' in fields && !fields.title.trim();
  complain(bad ? `Write what is to be done, in 1 to ${input.maxLength} characters.` : '');
  if (bad) event.target.elements.title.focus();
  else edits[kind](fields, id);
}

/** Offers to take something back, for some seconds. */
function offer(text, undo) {
  const toast = $('#toast');
  clearTimeout(toast.timer);
  toast.hidden = false;
  $('span', toast).textContent = text;
  $('button', toast).onclick = () => (undo(), (toast.hidden = true));
  toast.timer = setTimeout(() => (toast.hidden = true), 8000);
}

/** What a change did, from the rows before and after it. */
function deed({ action, data }, before) {
  if (action === 'delete') return 'deleted it';
  if (action === 'create') return before ? 'brought it back' : `added “${data.title}”`;
  const did = [];
  if (before && before.title !== data.title) did.push(`renamed it to “${data.title}”`);
  if (before && before.done !== data.done) did.push(data.done ? 'ticked it' : 'unticked it');
  return did.join(' and ') || 'changed it';
}

/** Writes a to-do's history into its row. */
async function tell(row) {
  const { id } = row.dataset;
  const history = $('.history', row);
  const changes = await fetch(`/todos/${id}/history`, { headers: { accept: 'application/json' } }).then((answer) => answer.json()).catch(() => null);
  if (!changes) return void (history.textContent = 'The history is on the server, which cannot be reached now.');
  const data = changes.map((change) => change.data);
  history.replaceChildren(...changes.map((change, at) => {
    const line = document.createElement('li');
    const when = new Date(change.created_at);
    line.append(`${change.actor || 'Somebody'} ${deed(change, data.slice(at + 1).find(Boolean))} `, Object.assign(document.createElement('time'), { dateTime: change.created_at, title: when.toLocaleString(), textContent: when.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }) }));
    if (at && change.data) line.append(' ', Object.assign(document.createElement('button'), { type: 'button', textContent: 'Back to this', onclick: () => todos.update(id, { title: change.data.title, done: change.data.done }) }));
    return line;
  }));
}

/** Somebody else's title stands; this device's one is offered again. */
function clash({ id, conflicts = [], mine, theirs }) {
  const lost = conflicts.find(({ field }) => field === 'title');
  const row = rowOf(id);
  if (!row || !theirs || !lost) return complain(`“${theirs?.title ?? mine?.title}” was changed or deleted by somebody else; your change was not made.`);
  $('.conflict', row)?.remove();
  const box = shapes.conflict.cloneNode(true);
  const choose = (kind, title, act) => {
    const button = $(`.${kind}`, box);
    $('span', button).textContent = title;
    button.onclick = () => (box.remove(), act());
  };
  choose('mine', lost.client_value, () => todos.update(id, { title: lost.client_value }));
  choose('theirs', lost.server_value, () => {});
  row.append(box);
}

async function follow(gormsync) {
  todos = /** @type {any} */ (gormsync.collection('todos'));
  const state = () => show(gormsync);
  gormsync.on('status', state);
  gormsync.on('pending', state);
  gormsync.on('conflict', clash);
  gormsync.on('rejected', ({ error }) => complain(error.message));
  document.addEventListener('submit', submit);
  list.addEventListener('toggle', ({ target }) => target.open && tell(target.closest('.todo')), true);
  state();
  await gormsync.ready;
  // Before the first snapshot is in, the page shows what the server wrote into it.
  if (!todos.all().length && gormsync.status !== 'live') await new Promise((known) => gormsync.on('status', ({ status }) => status === 'live' && known(undefined)));
  todos.subscribe(draw);
  gormsync.on('change', glow);
}

if (window.gormsync) void follow(window.gormsync);
void navigator.serviceWorker?.register('/sw.js');
