// Checks the proof of a line or a night in the browser: the same file, the same checks as `xinyi verify`, nothing sent anywhere.
// Formats: https://c2sp.org/tlog-proof, /tlog-checkpoint, /tlog-cosignature, /signed-note; RFC 6962; RFC 8785.
"use strict";

const PRIVATE = ["correction_reason", "counterparty", "counterparty_account", "summary", "vouchers"];
const HEADER = "c2sp.org/tlog-proof@v1";
const NIGHT = "xinyi.certificate-proof/v1";
const SIGNED = 1, COSIGNED = 4;

class Refused extends Error {}

const utf8 = new TextEncoder();
const bytes = (...parts) => {
  const all = parts.map((part) => (typeof part === "string" ? utf8.encode(part) : Uint8Array.from(part)));
  const joined = new Uint8Array(all.reduce((sum, part) => sum + part.length, 0));
  all.reduce((at, part) => (joined.set(part, at), at + part.length), 0);
  return joined;
};
const same = (a, b) => a.length === b.length && a.every((each, at) => each === b[at]);
const hex = (data) => [...data].map((each) => each.toString(16).padStart(2, "0")).join("");
const unhex = (text) => Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
const sha256 = async (data) => new Uint8Array(await crypto.subtle.digest("SHA-256", data));

function unbase64(text, what) {
  try {
    const data = Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
    if (btoa(String.fromCharCode(...data)) === text) return data;
  } catch { /* told below */ }
  throw new Refused(`${what} is no base64`);
}

// RFC 8785 for what stands in a proof: texts, lists and objects, no numbers.
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  const fields = Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`);
  return `{${fields.join(",")}}`;
}

async function entryOf(line, salt) {
  const key = await crypto.subtle.importKey("raw", salt, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const open = { ...line, commitments: {} };
  for (const name of PRIVATE) {
    const said = bytes(name, [0], canonical(line[name]));
    open.commitments[name] = hex(new Uint8Array(await crypto.subtle.sign("HMAC", key, said)));
    delete open[name];
  }
  return utf8.encode(canonical(open));
}

// --- a night ---------------------------------------------------------------------------------------------------------

const sum = (parts) => parts.reduce((total, part) => total + BigInt(part.amount_minor), 0n);
const total = (parts) => ({ amount_minor: String(sum(parts)), count: String(parts.length) });

function totalsOf({ came, matches, open_entries, open_lines }) {
  const matched = total(matches.flatMap((match) => match.entries));
  return { came: total(came), matched, open_entries: total(open_entries), open_lines: total(open_lines) };
}

function requireBalanced(account) {
  const figure = (name) => BigInt(account[`${name}_minor`]);
  const left = figure("bank_closing") - figure("ledger") - (figure("open_bank") - figure("open_ledger"));
  if (left !== figure("difference") || (left !== 0n && account.proved !== "no")) {
    throw new Refused(`the balance of account ${account.account} does not come to its difference`);
  }
}

// Every entry that came is matched or open, to the fen.
function requireAccounted({ came, matches, open_entries }) {
  const told = new Map();
  for (const part of [...matches.flatMap((match) => match.entries), ...open_entries]) {
    told.set(part.id, (told.get(part.id) ?? 0n) + BigInt(part.amount_minor));
  }
  for (const entry of came) {
    if (told.get(entry.id) !== BigInt(entry.amount_minor)) {
      throw new Refused(`entry ${entry.id} of ${entry.date} is neither matched nor open to the fen`);
    }
  }
}

async function entryOfNight(certificate, details) {
  const digest = hex(await sha256(utf8.encode(canonical(details))));
  if (digest !== certificate.details_sha256) throw new Refused("its details are not those of the certificate");
  if (details.fund !== certificate.fund || details.number !== certificate.number) {
    throw new Refused("its details are those of another certificate");
  }
  if (canonical(totalsOf(details)) !== canonical(certificate.totals)) {
    throw new Refused("its details do not come to what it says of them");
  }
  certificate.accounts.forEach(requireBalanced);
  if (details.matches.some((match) => sum(match.entries) !== sum(match.lines))) {
    throw new Refused("a match has entries and lines over different sums");
  }
  requireAccounted(details);
  return utf8.encode(canonical(certificate));
}

// --- notes and keys -------------------------------------------------------------------------------------------------

async function keyOf(written, wanted) {
  const [, name, id, encoded] = written.match(/^([^\s+]+)\+([0-9a-f]{8})\+(.+)$/) ?? [];
  const raw = unbase64(encoded ?? "!", "a key");
  const named = await sha256(bytes(name, "\n", raw));
  if (raw[0] !== wanted || raw.length !== 33 || hex(named.slice(0, 4)) !== id) throw new Refused(`${written} is no key`);
  return { name, id, key: await crypto.subtle.importKey("raw", raw.slice(1), "Ed25519", false, ["verify"]) };
}

function noteOf(text) {
  const at = text.lastIndexOf("\n\n");
  if (at < 0 || !text.endsWith("\n")) throw new Refused("the checkpoint has no signatures");
  const lines = text.slice(at + 2, -1).split("\n").map((line) => {
    const [, name, encoded] = line.match(/^\u2014 ([^\s+]+) (\S+)$/) ?? [];
    const raw = unbase64(encoded ?? "!", "a signature");
    return { name, id: hex(raw.slice(0, 4)), signature: raw.slice(4) };
  });
  return { text: text.slice(0, at + 1), lines };
}

const linesOf = (note, key) => note.lines.filter((line) => line.name === key.name && line.id === key.id);
const signs = (key, signature, message) => crypto.subtle.verify("Ed25519", key.key, signature, message);

async function requireSigned(note, log) {
  const [line] = linesOf(note, log);
  if (!line || !(await signs(log, line.signature, utf8.encode(note.text)))) {
    throw new Refused(`the log ${log.name} has not signed this`);
  }
}

async function requireCosigned(note, witness) {
  const [line] = linesOf(note, witness);
  const time = line ? new DataView(line.signature.buffer, line.signature.byteOffset).getBigUint64(0) : 0n;
  const message = utf8.encode(`cosignature/v1\ntime ${time}\n${note.text}`);
  if (!line || !(await signs(witness, line.signature.slice(8), message))) {
    throw new Refused(`the witness ${witness.name} has not cosigned this`);
  }
  return { name: witness.name, time: Number(time) };
}

// --- the tree -------------------------------------------------------------------------------------------------------

// Whether each sibling stands on the left, from the leaf up. Sizes may be beyond 32 bits: no bit operators.
function waysUp(index, size) {
  const ways = [];
  for (let start = 0, end = size; end - start > 1;) {
    let half = 1;
    while (half * 2 < end - start) half *= 2;
    ways.unshift(index >= start + half);
    if (index < start + half) end = start + half;
    else start += half;
  }
  return ways;
}

async function rootOf(index, size, entry, hashes) {
  if (!(index >= 0 && index < size)) throw new Refused(`a tree of ${size} leaves has no leaf ${index}`);
  const ways = waysUp(index, size);
  if (ways.length !== hashes.length) throw new Refused("the proof has another length than its place needs");
  let running = await sha256(bytes([0], entry));
  for (const [at, onLeft] of ways.entries()) {
    const pair = onLeft ? [hashes[at], running] : [running, hashes[at]];
    running = await sha256(bytes([1], ...pair));
  }
  return running;
}

// --- the file -------------------------------------------------------------------------------------------------------

function parse(text) {
  const gap = text.indexOf("\n\n");
  const lines = text.slice(0, gap).split("\n");
  if (gap < 0 || lines[0] !== HEADER || !lines[1]?.startsWith("extra ") || !/^index (0|[1-9]\d*)$/.test(lines[2])) {
    throw new Refused("this is no proof of a line or a night");
  }
  const extra = JSON.parse(new TextDecoder().decode(unbase64(lines[1].slice(6), "its extra data")));
  const hashes = lines.slice(3).map((line) => unbase64(line, "a hash"));
  if (hashes.some((each) => each.length !== 32)) throw new Refused("a hash has not 32 bytes");
  return { extra, hashes, index: Number(lines[2].slice(6)), note: noteOf(text.slice(gap + 2)) };
}

// What a proof has proved; throws Refused with the reason otherwise. Keys given by the reader go before the file's.
async function check(text, logKey = "", witnessKeys = []) {
  const { extra, hashes, index, note } = parse(text);
  const log = await keyOf(logKey || extra.log_key, SIGNED);
  await requireSigned(note, log);
  const [origin, size, root] = note.text.split("\n");
  if (origin !== log.name) throw new Refused(`the checkpoint is of ${origin}, not of ${log.name}`);
  const witnesses = [];
  for (const written of witnessKeys.length ? witnessKeys : extra.witness_keys) {
    witnesses.push(await requireCosigned(note, await keyOf(written, COSIGNED)));
  }
  const entry = extra.schema === NIGHT
    ? await entryOfNight(extra.certificate, extra.details)
    : await entryOf(extra.line, unhex(extra.salt));
  const found = await rootOf(index, Number(size), entry, hashes);
  if (!same(found, unbase64(root, "the root"))) throw new Refused("what is shown is not what stands in the log");
  return { line: extra.line, certificate: extra.certificate, details: extra.details, index, size: Number(size), logKey: logKey || extra.log_key, sm2Key: extra.sm2_key, witnesses };
}

globalThis.xinyi = { check, Refused };
