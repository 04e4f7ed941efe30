// What the page does with the client: it draws the rows that gormsync holds, and
// sends its forms without leaving the page. Without this script the forms still work.
const list = document.querySelector('#todos');
const blank = document.querySelector('#row').content.firstElementChild;
const form = document.querySelector('#add');
const input = form.elements.title;
const gone = 200; // ms that a deleted row takes to fade, as in page.css

// Changes that this window asked for: rows by id, new ones by their title.
const mine = new Set();

function fill(row, { id, title, done, notes }) {
  row.dataset.id = id;
  row.querySelector('.title').textContent = title;
  row.querySelector('.notes').textContent = notes;
  row.querySelector('.check').ariaChecked = done;
  row.querySelector('.check').ariaLabel = title;
  row.querySelector('.remove').ariaLabel = `Delete: ${title}`;
  const [toggle, remove] = row.querySelectorAll('form');
  toggle.action = `/todos/${id}/toggle`;
  remove.action = `/todos/${id}/delete`;
  return row;
}

const order = (a, b) => b.position - a.position || Date.parse(b.created_at) - Date.parse(a.created_at) || (a.id < b.id ? -1 : 1);
const present = () => [...list.children].filter((row) => row.dataset.id);

function arrive() {
  const row = blank.cloneNode(true);
  row.classList.add('arriving');
  return row;
}

function leave(row) {
  if (row.contains(document.activeElement)) (row.nextElementSibling?.querySelector('.remove') ?? input).focus();
  delete row.dataset.id;
  row.classList.add('leaving');
  setTimeout(() => row.remove(), gone);
}

function draw(todos) {
  const old = new Map(present().map((row) => [row.dataset.id, row]));
  let before = null; // the rows are put in from the last to the first, each before the one that follows it
  for (const todo of [...todos].sort(order).reverse()) {
    const row = fill(old.get(todo.id) ?? arrive(), todo);
    old.delete(todo.id);
    if (!row.isConnected || nextPresent(row) !== before) list.insertBefore(row, before);
    before = row;
  }
  old.forEach(leave);
  count(todos.filter((todo) => todo.done).length, todos.length);
}

function nextPresent(row) {
  do row = row.nextElementSibling; while (row && !row.dataset.id);
  return row;
}

function count(done, total) {
  document.querySelector('#count').textContent = total ? `${done} of ${total} done` : 'No to-dos';
  Object.assign(document.querySelector('#bar'), { max: total || 1, value: done });
}

function show(status) {
  const words = { live: 'Live', connecting: 'Connecting…', reconnecting: 'Reconnecting…', stopped: 'Not connected' };
  const link = document.querySelector('#link');
  link.hidden = false;
  link.dataset.status = status;
  link.textContent = words[status];
}

/** Rows that another window changed glow; this one's own do not. */
function glow({ ids }) {
  for (const row of present().filter((row) => ids.includes(row.dataset.id))) {
    const own = mine.delete(row.dataset.id) || mine.delete(row.querySelector('.title').textContent);
    row.classList.remove('changed');
    if (own) continue;
    void row.offsetWidth; // so that a second glow starts anew
    row.classList.add('changed');
  }
}

function complain(problem, field) {
  document.querySelector('#problem').textContent = problem;
  input.ariaInvalid = Boolean(problem && field);
  if (problem && field) input.focus();
}

async function send(sent) {
  const response = await fetch(sent.action, { method: 'POST', body: new URLSearchParams(new FormData(sent)), headers: { accept: 'application/json' } })
    .catch(() => null);
  if (!response) return 'The server cannot be reached. Nothing was saved: try again when it is back.';
  if (response.ok) return '';
  const { message } = await response.json().catch(() => ({}));
  return message ?? `The server answered ${response.status}. Nothing was saved.`;
}

async function submit(event) {
  event.preventDefault();
  const sent = event.target;
  const own = sent === form ? input.value.trim() : sent.closest('.todo').dataset.id;
  const check = sent.querySelector('.check');
  mine.add(own);
  if (check) check.ariaChecked = check.ariaChecked !== 'true'; // at once; the feed confirms it
  const problem = await send(sent);
  complain(problem, sent === form);
  if (problem) mine.delete(own);
  if (problem) draw(gormsync.collection('todos').all());
  else if (gormsync.status !== 'live') location.reload(); // the feed is away, but the server is there
  else if (sent === form) form.reset();
}

function follow(gormsync) {
  const todos = gormsync.collection('todos');
  let known = false; // before the first snapshot is in, the page shows what the server wrote into it
  todos.subscribe((all) => known && draw(all));
  gormsync.on('change', (change) => known && glow(change));
  const status = ({ status }) => {
    show(status);
    if (status !== 'live' || known) return;
    known = true;
    draw(todos.all());
  };
  gormsync.on('status', status);
  status(gormsync);
  document.addEventListener('submit', submit);
}

if (window.gormsync) follow(window.gormsync);
