"""All commands under their nouns, by who uses them."""

import typer

from gateway.cli import (
    audit,
    backup,
    bank,
    case,
    change,
    doctor,
    estate,
    fund,
    keys,
    ledger,
    line,
    match,
    notice,
    party,
    payment,
    proof,
    question,
    reconcile,
    resolution,
    restore,
    rule,
    run,
    start,
    voucher,
    witness,
)
from gateway.cli.frame import (
    EVERYONE,
    FIRM,
    OPERATOR,
    SIGNERS,
    SUPERVISOR,
    TRUSTEE,
    offline,
    remote,
)

app = typer.Typer(
    name="xinyi",
    help="Xinyi Gateway 信义网关: property service under trust, from a signed request to a "
    "reconciled, published line.\n\nExit status: 0 clean, 1 mismatches or a person's no, "
    "2 failure.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

app.add_typer(payment.app, name="payment", rich_help_panel=f"{FIRM} · {SIGNERS}")
app.add_typer(voucher.app, name="voucher", rich_help_panel=f"{FIRM} · {SIGNERS}")
app.add_typer(keys.app, name="keys", rich_help_panel=f"{FIRM} · {SIGNERS}")
app.add_typer(ledger.app, name="ledger", rich_help_panel=TRUSTEE)
app.command("serve", rich_help_panel=OPERATOR)(start.serve)
app.command("demo", rich_help_panel=OPERATOR)(start.demo)
app.command("found", rich_help_panel=OPERATOR)(start.found)
offline(app, "doctor", OPERATOR)(doctor.doctor)
app.add_typer(bank.app, name="bank", rich_help_panel=OPERATOR)
app.add_typer(run.app, name="run", rich_help_panel=OPERATOR)
app.add_typer(case.app, name="case", rich_help_panel=OPERATOR)
app.add_typer(resolution.app, name="resolution", rich_help_panel=OPERATOR)
app.add_typer(match.app, name="match", rich_help_panel=OPERATOR)
app.add_typer(rule.app, name="rule", rich_help_panel=OPERATOR)
app.add_typer(audit.app, name="audit", rich_help_panel=OPERATOR)
app.add_typer(backup.app, name="backup", rich_help_panel=OPERATOR)
app.add_typer(restore.app, name="restore", rich_help_panel=OPERATOR)
app.add_typer(reconcile.app, name="reconcile", rich_help_panel=OPERATOR)
remote(app, "whoami", EVERYONE)(party.whoami)
app.add_typer(witness.app, name="witness", rich_help_panel=SUPERVISOR)
offline(app, "verify", EVERYONE)(proof.verify)
remote(app, "notice", EVERYONE)(notice.notice)
app.add_typer(proof.app, name="proof", rich_help_panel=EVERYONE)
app.add_typer(line.app, name="line", rich_help_panel=EVERYONE)
app.add_typer(question.app, name="question", rich_help_panel=EVERYONE)
app.add_typer(fund.app, name="fund", rich_help_panel=EVERYONE)
app.add_typer(estate.app, name="estate", rich_help_panel=EVERYONE)
app.add_typer(party.app, name="party", rich_help_panel=EVERYONE)
app.add_typer(change.app, name="change", rich_help_panel=EVERYONE)
