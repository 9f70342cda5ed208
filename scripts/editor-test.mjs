// A small client of the language server protocol: opens playbooks in
// yaml-language-server and checks what it marks, completes and explains.
// usage: node editor-test.mjs SERVER FOLDER
import { spawn } from "node:child_process";
import { pathToFileURL } from "node:url";
import assert from "node:assert/strict";
import path from "node:path";

const [program, folder] = process.argv.slice(2);
const server = spawn(process.execPath, [program, "--stdio"], { stdio: ["pipe", "pipe", "inherit"] });
const answers = new Map(); // id of a request: its resolve
const diagnostics = new Map(); // uri: [resolve]
let buffer = Buffer.alloc(0);
let lastId = 0;

function send(message) {
  const body = JSON.stringify({ jsonrpc: "2.0", ...message });
  server.stdin.write(`Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
}

function request(method, params) {
  const id = ++lastId;
  send({ id, method, params });
  return new Promise((resolve) => answers.set(id, resolve));
}

function receive(message) {
  if (message.method === "workspace/configuration") {
    const settings = { validate: true, completion: true, hover: true, schemaStore: { enable: false } };
    send({ id: message.id, result: message.params.items.map((item) => (item.section === "yaml" ? settings : {})) });
  } else if (message.method === "textDocument/publishDiagnostics") {
    diagnostics.get(message.params.uri)?.(message.params.diagnostics);
  } else if (message.method && message.id !== undefined) {
    send({ id: message.id, result: null });
  } else if (message.id !== undefined) {
    assert.equal(message.error, undefined);
    answers.get(message.id)(message.result);
  }
}

server.stdout.on("data", (chunk) => {
  buffer = Buffer.concat([buffer, chunk]);
  for (;;) {
    const end = buffer.indexOf("\r\n\r\n");
    if (end < 0) return;
    const length = Number(/Content-Length: (\d+)/i.exec(buffer.subarray(0, end).toString())[1]);
    if (buffer.length < end + 4 + length) return;
    const body = buffer.subarray(end + 4, end + 4 + length).toString();
    buffer = buffer.subarray(end + 4 + length);
    receive(JSON.parse(body));
  }
});
server.on("exit", (code) => {
  if (!ended) throw new Error(`the server ended with ${code}`);
});
let ended = false;
setTimeout(() => {
  console.error("editor: no answer in two minutes");
  process.exit(1);
}, 120_000).unref();

const modeline = "# yaml-language-server: $schema=.erbridge/playbook.schema.json\n";

// open gives a text to the server and returns what it marks in it.
function open(name, text) {
  const uri = pathToFileURL(path.join(folder, name)).href;
  const marked = new Promise((resolve) => diagnostics.set(uri, resolve));
  send({ method: "textDocument/didOpen", params: { textDocument: { uri, languageId: "yaml", version: 1, text } } });
  return marked.then((list) => ({ uri, list }));
}

// place is where the first | stands in a text, and the text without it.
function place(text) {
  const before = text.slice(0, text.indexOf("|")).split("\n");
  return { text: text.replace("|", ""), position: { line: before.length - 1, character: before.at(-1).length } };
}

async function completions(name, marked) {
  const { text, position } = place(modeline + marked);
  const { uri } = await open(name, text);
  const result = await request("textDocument/completion", { textDocument: { uri }, position });
  return result.items.map((item) => item.label);
}

await request("initialize", {
  processId: process.pid,
  rootUri: pathToFileURL(folder).href,
  capabilities: { textDocument: { publishDiagnostics: {}, completion: { completionItem: { snippetSupport: true } }, hover: {} }, workspace: { configuration: true } },
});
send({ method: "initialized", params: {} });

const good = "playbook: p\nsteps:\n  - do: alert.note\n    with: {text: hello}\n";
assert.deepEqual((await open("good.yaml", modeline + good)).list, [], "a good playbook is marked");

const bad = "playbook: p\nmod: observe\nmode: sometimes\nsteps:\n  - do: alert.note\n    with: {txt: hello}\n";
const { list } = await open("bad.yaml", modeline + bad);
const lines = [...new Set(list.map((d) => d.range.start.line))].sort();
assert.ok(lines.includes(2), `the unknown key is not marked: ${JSON.stringify(list)}`);
assert.ok(lines.includes(3), `the unknown mode is not marked: ${JSON.stringify(list)}`);
assert.ok(lines.includes(6), `the unknown argument is not marked: ${JSON.stringify(list)}`);

const keys = await completions("keys.yaml", "playbook: p\n|\nsteps:\n  - do: alert.note\n");
for (const key of ["match", "enrich", "cooldown", "finally"]) assert.ok(keys.includes(key), `no ${key} among ${keys}`);

const modes = await completions("modes.yaml", "playbook: p\nmode: |\nsteps:\n  - do: alert.note\n");
for (const mode of ["observe", "enforce"]) assert.ok(modes.includes(mode), `no ${mode} among ${modes}`);

const actions = await completions("actions.yaml", "playbook: p\nsteps:\n  - do: |\n");
for (const action of ["host.contain", "alert.note", "process.kill"]) assert.ok(actions.includes(action), `no ${action} among ${actions}`);

const args = await completions("args.yaml", "playbook: p\nsteps:\n  - do: host.contain\n    with:\n      |\n");
for (const arg of ["host", "direction"]) assert.ok(args.includes(arg), `no ${arg} among ${args}`);

const { uri } = await open("hover.yaml", modeline + good);
const hover = await request("textDocument/hover", { textDocument: { uri }, position: { line: 1, character: 2 } });
assert.match(JSON.stringify(hover.contents), /name/i, "the key playbook is not explained");

ended = true;
await request("shutdown", null);
send({ method: "exit" });
console.log("editor: diagnostics, completion and explanations come from the schema");
process.exit(0);
