// The page around the check: reads the file, shows the line.
"use strict";

const yuan = (minor) => {
  const digits = minor.replace("-", "").padStart(3, "0");
  return `${digits.slice(0, -2).replace(/\B(?=(\d{3})+$)/g, ",")}.${digits.slice(-2)}`;
};
const when = (time) => new Date(time).toLocaleString("zh-CN", { timeZone: "Asia/Shanghai", hour12: false });
const amount = (line, minor) => (line.currency === "CNY" ? `${yuan(minor)} 元` : `${minor} (${line.currency})`);

function facts({ line, index, size, logKey, witnesses }) {
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
    ["日志公钥 Log key", logKey],
    ["位置 Place", `${index + 1} / ${size}`],
    ["见证 Witnessed", witnesses.map(({ name, time }) => `${name} ${when(time * 1000)}`).join("; ") || "无 none"],
  ].filter(([, value]) => value);
}

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
    show(`成立：该明细一字不差地记在公示日志中 · proved: the line stands in the log, word for word${own}`, true, facts(proved));
  } catch (error) {
    show(`不成立 · NOT proved: ${error.message}`, false, []);
  }
}

document.getElementById("file").addEventListener("change", judge);
document.getElementById("key").addEventListener("change", judge);
