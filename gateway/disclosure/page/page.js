// The page around the check: reads the file, shows the line or the night.
"use strict";

const yuan = (minor) => {
  const digits = minor.replace("-", "").padStart(3, "0");
  return `${digits.slice(0, -2).replace(/\B(?=(\d{3})+$)/g, ",")}.${digits.slice(-2)}`;
};
const when = (time) => new Date(time).toLocaleString("zh-CN", { timeZone: "Asia/Shanghai", hour12: false });
const amount = (line, minor) => (line.currency === "CNY" ? `${yuan(minor)} 元` : `${minor} (${line.currency})`);

function factsOfLine(line) {
  const received = !line.amount_minor.startsWith("-");
  return [
    ["基金 Fund", line.fund],
    ["序号 No.", line.number],
    ["账簿 Book", line.book === "COMMON" ? "共有资金 common" : "维护基金 maintenance"],
    ["日期 Day", line.effective_date],
    ["类别 Category", line.category],
    ["摘要 Summary", line.summary],
    ["对方 Counterparty", line.counterparty],
    [received ? "收入 Received" : "支出 Paid", amount(line, line.amount_minor)],
    ["余额 Balance", `${line.running_minor.startsWith("-") ? "-" : ""}${amount(line, line.running_minor)}`],
    ["更正 Corrects", line.corrects === "0" ? "" : line.corrects],
    ["更正原因 Reason", line.correction_reason],
    ["签署 Signed", line.signatures.map((mark) => mark.party_name).join("、")],
    ["凭证 Vouchers", String(line.vouchers.length)],
    ["公示时间 Disclosed", when(line.disclosed_at)],
  ];
}

const WORDS = {words};
const word = (name) => `${WORDS[name] ?? ""} ${name.replaceAll("_", " ")}`.trim();

const minus = (currency, minor) => `${minor.startsWith("-") ? "-" : ""}${amount({ currency }, minor.replace("-", ""))}`;

function factsOfNight({ currency, fund, number, date, totals, accounts }, { open_entries, open_lines }) {
  const told = ({ count, amount_minor }) => (count === "0" ? "0" : `${count} · ${minus(currency, amount_minor)}`);
  const open = (name) => (each) => [
    `${name} ${each.id}`, `${minus(currency, each.amount_minor)} · ${each.date} · ${each.days} 天 days · ${word(each.kind)}`,
  ];
  return [
    ["基金 Fund", fund],
    ["序号 No.", number],
    ["日期 Day", date],
    ["新到流水 Entries that came", told(totals.came)],
    ["已对应 Entries matched", told(totals.matched)],
    ["未对应流水 Open entries", told(totals.open_entries)],
    ["未对应明细 Open lines", told(totals.open_lines)],
    ...accounts.map((each) => [
      `账户余额 Balance ${each.account} *${each.ends}`,
      `${minus(currency, each.bank_closing_minor)} · ${[each.proved === "yes" ? "相符 proved" : "未证实 not proved", ...each.findings.map(word)].join(" · ")}`,
    ]),
    ...open_entries.map(open("流水 Entry")),
    ...open_lines.map(open("明细 Line")),
  ];
}

function facts({ line, certificate, details, index, size, logKey, sm2Key, witnesses }) {
  return [
    ...(line ? factsOfLine(line) : factsOfNight(certificate, details)),
    ["日志公钥 Log key", logKey],
    ["国密签名 SM2", sm2Key && `${sm2Key}（本页不验，请用 xinyi verify · not checked by this page, xinyi verify does）`],
    ["位置 Place", `${index + 1} / ${size}`],
    ["见证 Witnessed", witnesses.map(({ name, time }) => `${name} ${when(time * 1000)}`).join("; ") || "无 none"],
  ].filter(([, value]) => value);
}

const PROVED = {
  line: "成立：该明细一字不差地记在公示日志中 · proved: the line stands in the log, word for word",
  night: "成立：该夜核对记在公示日志中，每笔银行流水要么对应明细，要么列为未对应"
    + " · proved: the night stands in the log; every entry of the bank is matched or told as open",
};

function show(verdict, good, rows) {
  const said = document.getElementById("verdict");
  said.textContent = verdict;
  said.className = good ? "good" : "bad";
  const list = document.getElementById("facts");
  list.replaceChildren(...rows.flatMap(([name, value]) => {
    const term = document.createElement("dt"), text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    return [term, text];
  }));
}

async function judge() {
  const [file] = document.getElementById("file").files;
  if (!file) return;
  try {
    const proved = await xinyi.check(await file.text(), document.getElementById("key").value.trim());
    const own = document.getElementById("key").value.trim() ? "" :
      "。密钥取自文件本身，请与公示栏公布的核对 · the key is the file's own: compare it with the one on the notice";
    show(`${proved.line ? PROVED.line : PROVED.night}${own}`, true, facts(proved));
  } catch (error) {
    show(`不成立 · NOT proved: ${error.message}`, false, []);
  }
}

document.getElementById("file").addEventListener("change", judge);
document.getElementById("key").addEventListener("change", judge);
