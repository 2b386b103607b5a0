"""first schema

Revision 0001, after nothing. Creates all tables, each group by a function of its own.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from secrets import token_bytes

import sqlalchemy as sa
from alembic import context, op

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# SQLite assigns IDs only in a column declared INTEGER.
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
# Certificates: DER where possible. SQLite stores bytes in a TEXT column as they are.
_PEM = sa.LargeBinary().with_variant(sa.Text(), "sqlite")
_SHA256 = sa.LargeBinary(length=32)
# A time before all others: the next check is due.
_LONG_AGO = "1970-01-01 00:00:00"
# The conditions of partial indexes on PostgreSQL and on SQLite, as the queries write them.
_ACTIVE = ("active", "active = 1")
_STARTS_LATER = "not_before > coalesce(updated_at, created_at)"
_FLEET_INDEXES = {
    # PostgreSQL refuses to index a text of more than about 2,700 bytes.
    ("serial", "id"): "length(serial) <= 160",
    ("issuer", "not_after", "id"): "length(issuer) <= 500",
    ("not_before", "id"): _STARTS_LATER,
    ("trust", "not_after", "id"): "trust <> 'public'",
}
_IMPAIRED = (
    "(trust = 'unreadable' OR not_servable IS NOT NULL OR serve_not_after < not_after"
    f" OR serve_not_before > not_before OR {_STARTS_LATER})"
)

# In the order in which they can be created.
_TABLES = (
    "users",
    "user_labels",
    "email_verifications",
    "email_verification_links",
    "tokens",
    "console_sessions",
    "console_links",
    "certificates",
    "certificate_labels",
    "certificate_versions",
    "intermediates",
    "user_keys",
    "private_keys",
    "key_deletions",
    "certificate_hostnames",
    "hostname_claims",
    "hostname_notices",
    "hostname_challenges",
    "hostname_transfers",
    "expiry_notices",
    "events",
    "webhooks",
    "webhook_secrets",
    "deliveries",
    "terminators",
    "servings",
    "summary_changes",
    "summary_values",
    "summary_dates",
    "audit",
    "audit_heads",
    "audit_exports",
    "kept_answers",
    "rate_counts",
    "service_state",
    "service_latches",
    "service_secrets",
)

# Row-level security: a connection sees the rows of the user that `cc.tenant` names, all rows if it
# is `*`, and no rows if it is not set. CASE, because `*` is not a number, and OR may evaluate both.
_TENANT = "NULLIF(current_setting('cc.tenant', true), '')::bigint"
_IF_TENANT = "CASE WHEN current_setting('cc.tenant', true) = '*' THEN true ELSE {condition} END"
_OF_USER = _IF_TENANT.format(condition=f"user_id = {_TENANT}")
_OF_CHAIN = _IF_TENANT.format(condition=f"chain = {_TENANT}")
_OF_CERTIFICATE = "EXISTS (SELECT 1 FROM certificates WHERE certificates.id = certificate_id)"
# Compares texts: the planner may evaluate the condition of a subquery early.
_OF_WEBHOOK = (
    "current_setting('cc.tenant', true) = '*' OR EXISTS (SELECT 1 FROM webhooks"
    " WHERE webhooks.id = webhook_id"
    " AND webhooks.user_id::text = current_setting('cc.tenant', true))"
)
_OF_NOBODY = "current_setting('cc.tenant', true) = '*'"
_POLICIES = {
    "users": _IF_TENANT.format(condition=f"id = {_TENANT}"),
    "user_labels": _OF_USER,
    "email_verifications": _OF_USER,
    "email_verification_links": _OF_USER,
    "tokens": _OF_USER,
    "console_sessions": _OF_USER,
    "console_links": _OF_USER,
    "certificates": _OF_USER,
    "certificate_labels": _OF_USER,
    "certificate_versions": _OF_CERTIFICATE,
    # Intermediates of public chains belong to nobody, and complete everybody's chains.
    "intermediates": f"user_id IS NULL OR {_OF_USER}",
    "user_keys": _OF_USER,
    "private_keys": _OF_CERTIFICATE,
    "certificate_hostnames": _OF_USER,
    "hostname_claims": _OF_USER,
    "hostname_notices": _OF_USER,
    "hostname_challenges": _IF_TENANT.format(condition=f"{_TENANT} IN (user_id)"),
    "hostname_transfers": _IF_TENANT.format(condition=f"{_TENANT} IN (from_user_id, to_user_id)"),
    "expiry_notices": _OF_USER,
    "events": _OF_USER,
    "webhooks": _OF_USER,
    "webhook_secrets": _OF_WEBHOOK,
    "deliveries": _OF_USER,
    "servings": _OF_USER,
    # The ID of a chain is the ID of its user.
    "audit": _OF_CHAIN,
    "audit_heads": _OF_CHAIN,
    # All tenants add changes. Only the service as a whole reads them.
    "summary_changes": _OF_NOBODY,
    "summary_values": _OF_NOBODY,
    "summary_dates": _OF_NOBODY,
}

# The triggers, in the same words as the models have them.
_COPY_ACTIVE = "UPDATE certificate_hostnames SET active = NEW.active WHERE certificate_id = NEW.id;"
_ACTIVE_TRIGGER = {
    "sqlite": (
        "CREATE TRIGGER certificates_active AFTER UPDATE OF active ON certificates "
        f"WHEN NEW.active <> OLD.active BEGIN {_COPY_ACTIVE} END",
    ),
    "postgresql": (
        "CREATE FUNCTION certificates_active() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {_COPY_ACTIVE} RETURN NULL; END $$",
        "CREATE TRIGGER certificates_active AFTER UPDATE OF active ON certificates FOR EACH ROW "
        "WHEN (NEW.active <> OLD.active) EXECUTE FUNCTION certificates_active()",
    ),
}
# The table with labels, the columns of its owner, and their values in a trigger.
_LABELS = {
    "users": ("user_labels", "user_id", "NEW.id"),
    "certificates": ("certificate_labels", "certificate_id, user_id", "NEW.id, NEW.user_id"),
}
_COPIED = "{0}.active, {0}.trust, {0}.key_algorithm, substr({0}.issuer, 1, 500), "
_COPIED += "{0}.not_before, {0}.not_after, {0}.serve_not_before, {0}.serve_not_after, "
_COPIED += "{0}.not_servable, coalesce({0}.updated_at, {0}.created_at)"
_OLD, _NEW = _COPIED.format("OLD"), _COPIED.format("NEW")
_INSERT_CHANGE = (
    "INSERT INTO summary_changes (amount, active, trust, key_algorithm, issuer, not_before, "
    "not_after, serve_not_before, serve_not_after, not_servable, stored_at) VALUES "
)
_ADD, _REMOVE = f"{_INSERT_CHANGE}(1, {_NEW});", f"{_INSERT_CHANGE}(-1, {_OLD});"
_INSERTED = "CREATE TRIGGER certificates_summary_inserted AFTER INSERT ON certificates "
_UPDATED = "CREATE TRIGGER certificates_summary_updated AFTER UPDATE ON certificates "
_DELETED = "CREATE TRIGGER certificates_summary_deleted AFTER DELETE ON certificates "
_EXECUTE = "EXECUTE FUNCTION certificates_summary()"
_SUMMARY_TRIGGERS = {
    "sqlite": (
        f"{_INSERTED}BEGIN {_ADD} END",
        f"{_UPDATED}WHEN ({_NEW}) IS NOT ({_OLD}) BEGIN {_REMOVE} {_ADD} END",
        f"{_DELETED}BEGIN {_REMOVE} END",
    ),
    "postgresql": (
        "CREATE FUNCTION certificates_summary() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN IF TG_OP <> 'INSERT' THEN {_REMOVE} END IF; "
        f"IF TG_OP <> 'DELETE' THEN {_ADD} END IF; RETURN NULL; END $$",
        f"{_INSERTED}FOR EACH ROW {_EXECUTE}",
        f"{_UPDATED}FOR EACH ROW WHEN (ROW({_NEW}) IS DISTINCT FROM ROW({_OLD})) {_EXECUTE}",
        f"{_DELETED}FOR EACH ROW {_EXECUTE}",
    ),
}
_KEY_COLUMNS = {"private_keys": "sealed", "user_keys": "wrapped", "webhook_secrets": "wrapped"}
_COUNT_DELETION = (
    "CREATE TRIGGER {table}_{name} AFTER {event} ON {table} BEGIN "
    "INSERT INTO key_deletions (id, deleted, erased) VALUES (1, 1, 0) "
    "ON CONFLICT (id) DO UPDATE SET deleted = deleted + 1; END"
)
_KEEP_LATCH = (
    "CREATE TRIGGER service_latches_{name} BEFORE {event} ON service_latches BEGIN "
    "SELECT RAISE(ABORT, 'A latch stays as it is.'); END"
)

_INSERT_RANDOM = "INSERT INTO service_secrets (name, value) VALUES ('database', {value})"
# `alembic upgrade --sql` must not print a secret: the database generates it.
_RANDOM = {
    "sqlite": "randomblob(32)",
    "postgresql": (
        "sha256(convert_to("
        "concat(gen_random_uuid(), gen_random_uuid(), gen_random_uuid()), 'UTF8'))"
    ),
}


def upgrade() -> None:
    _create_users()
    _create_tokens()
    _create_console()
    _create_certificates()
    _create_intermediates()
    _create_keys()
    _create_hostnames()
    _create_hostname_claims()
    _create_hostname_challenges()
    _create_expiry_notices()
    _create_events()
    _create_webhooks()
    _create_deliveries()
    _create_terminators()
    _create_summary()
    _create_audit()
    _create_limits()
    _create_service()
    if _dialect() == "postgresql":
        _create_policies()
    else:
        _create_sqlite_triggers()
    for statement in (*_ACTIVE_TRIGGER[_dialect()], *_SUMMARY_TRIGGERS[_dialect()]):
        op.execute(statement)
    _create_label_triggers()
    _insert_rows()


def downgrade() -> None:
    for table in reversed(_TABLES):
        op.drop_table(table)
    if _dialect() == "postgresql":
        names = ("active", "labels", "summary")
        for function in (*(f"certificates_{name}" for name in names), "users_labels"):
            op.execute(f"DROP FUNCTION {function}()")


def _create_users() -> None:
    op.create_table(
        "users",
        _id(),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("email_key", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("certificates_revision", sa.LargeBinary(length=16), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("statuses_as_of", _TIME, server_default=_LONG_AGO, nullable=False),
        sa.Column("statuses_change_at", _TIME, server_default=_LONG_AGO, nullable=False),
        sa.Column("expiry_thresholds", sa.Text()),
        sa.Column("email_verified_at", _TIME),
        _counter("certificate_count"),
        _counter("hostname_count"),
        _counter("version_count"),
        _counter("stored_bytes"),
        sa.Column("quotas", sa.Text()),
        sa.Column("external_id", sa.Text()),
        _labels(),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("email_key", name="uq_users_email_key"),
        sa.UniqueConstraint("external_id", name="uq_users_external_id"),
        sqlite_autoincrement=True,
    )
    _create_labels("user_labels", "user_id", "users")
    op.create_table(
        "email_verifications",
        sa.Column("user_id", _ID, autoincrement=False, nullable=False),
        sa.Column("requested_at", _TIME, nullable=False),
        *_mail(),
        sa.PrimaryKeyConstraint("user_id", name="pk_email_verifications"),
        _belongs_to("users", "user_id", "email_verifications"),
    )
    _create_partial_index("email_verifications", "mail_due", ["mail_due"], "mail_due IS NOT NULL")
    op.create_table(
        "email_verification_links",
        sa.Column("token_sha256", _SHA256, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("token_sha256", name="pk_email_verification_links"),
        _belongs_to("users", "user_id", "email_verification_links"),
    )
    _create_index("email_verification_links", "user_id")
    _create_index("email_verification_links", "expires_at")


def _create_tokens() -> None:
    op.create_table(
        "tokens",
        _id(),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("user_id", _ID),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("user_ids", sa.Text()),
        sa.Column("hostnames", sa.Text()),
        sa.Column("secret_sha256", _SHA256, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("last_used_at", _TIME),
        sa.Column("revoked_at", _TIME),
        sa.Column("by_password", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        _belongs_to("users", "user_id", "tokens"),
        sqlite_autoincrement=True,
    )
    _create_index("tokens", "user_id", "id")


def _create_console() -> None:
    op.create_table(
        "console_sessions",
        sa.Column("secret_sha256", _SHA256, nullable=False),
        sa.Column("user_id", _ID),
        sa.Column("token_id", _ID),
        sa.Column("by_password", sa.Boolean(), nullable=False),
        sa.Column("return_url", sa.Text()),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("last_seen_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("secret_sha256", name="pk_console_sessions"),
        _belongs_to("users", "user_id", "console_sessions"),
        _belongs_to("tokens", "token_id", "console_sessions"),
    )
    _create_index("console_sessions", "user_id")
    _create_index("console_sessions", "token_id")
    _create_index("console_sessions", "expires_at")
    op.create_table(
        "console_links",
        sa.Column("token_sha256", _SHA256, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("return_url", sa.Text()),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("token_sha256", name="pk_console_links"),
        _belongs_to("users", "user_id", "console_links"),
    )
    _create_index("console_links", "user_id")
    _create_index("console_links", "expires_at")


def _create_certificates() -> None:
    op.create_table(
        "certificates",
        _id(),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("body", _PEM, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        *_content(),
        sa.Column("expiry_due", _TIME, server_default=_LONG_AGO),
        *_serving(),
        sa.Column("activate_at", _TIME),
        sa.Column("pending", sa.Text()),
        _labels(),
        sa.Column("proves_hostnames", sa.Boolean()),
        sa.PrimaryKeyConstraint("id", name="pk_certificates"),
        _belongs_to("users", "user_id", "certificates"),
        sqlite_autoincrement=True,
        # Certificates are stored inline: lists read them faster.
        postgresql_with={"toast_tuple_target": 8160},
    )
    _create_index("certificates", "user_id", "id")
    _create_partial_index("certificates", "user_id_id_active", ["user_id", "id"], *_ACTIVE)
    _create_index("certificates", "fingerprint_sha256", "user_id")
    _create_index("certificates", "user_id", "not_after")
    op.create_index("ix_certificates_user_id_trust", "certificates", ["user_id", "trust", "id"])
    for due in ("expiry_due", "activate_at"):
        _create_partial_index("certificates", due, [due, "id"], f"{due} IS NOT NULL")
    _create_fleet_indexes()
    of_user = (
        sa.Column("user_id", _ID, nullable=False),
        _belongs_to("users", "user_id", "certificate_labels"),
    )
    _create_labels("certificate_labels", "certificate_id", "certificates", *of_user)
    op.create_table(
        "certificate_versions",
        _id(),
        sa.Column("certificate_id", _ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("body", _PEM, nullable=False),
        *_content(),
        *_serving(),
        sa.Column("proves_hostnames", sa.Boolean()),
        sa.PrimaryKeyConstraint("id", name="pk_certificate_versions"),
        _belongs_to("certificates", "certificate_id", "certificate_versions"),
        sa.UniqueConstraint(
            "certificate_id", "version", name="uq_certificate_versions_certificate_id_version"
        ),
        sqlite_autoincrement=True,
    )
    versions, length = "certificate_versions", "length({}) <= {}"
    _create_partial_index(
        versions, "issuer_not_after", ["issuer", "not_after"], length.format("issuer", 500)
    )
    _create_index(versions, "spki_sha256")
    _create_partial_index(versions, "serial", ["serial"], length.format("serial", 160))


def _create_fleet_indexes() -> None:
    """Creates the indexes of searches over all users."""
    table = "certificates"
    _create_index(table, "spki_sha256", "id")
    _create_index(table, "not_after", "id")
    _create_partial_index(table, "not_after_id_active", ["not_after", "id"], *_ACTIVE)
    for columns, where in _FLEET_INDEXES.items():
        _create_partial_index(table, "_".join(columns), list(columns), where)
    _create_partial_index(table, "id_impaired", ["id"], _IMPAIRED)
    _create_partial_index(table, "not_after_id_impaired", ["not_after", "id"], _IMPAIRED)


def _content() -> list[sa.Column[object]]:
    """Returns the columns for the content of a certificate, and of a version."""
    return [
        sa.Column("chain", _PEM),
        sa.Column("served_pem", _PEM),
        sa.Column("trust", sa.Text(), server_default="unreadable", nullable=False),
        sa.Column("findings", sa.Text(), server_default="[]", nullable=False),
        sa.Column("subject", sa.Text()),
        sa.Column("issuer", sa.Text()),
        sa.Column("serial", sa.Text()),
        sa.Column("hostnames", sa.Text(), server_default="[]", nullable=False),
        sa.Column("not_before", _TIME),
        sa.Column("not_after", _TIME),
        sa.Column("fingerprint_sha256", sa.Text()),
        sa.Column("spki_sha256", sa.Text()),
        sa.Column("key_algorithm", sa.Text()),
        sa.Column("signature_algorithm", sa.Text()),
        sa.Column("updated_at", _TIME),
    ]


def _serving() -> list[sa.Column[object]]:
    """Returns the columns that say when servers can serve a certificate."""
    return [
        sa.Column("serve_not_before", _TIME),
        sa.Column("serve_not_after", _TIME),
        sa.Column("not_servable", sa.Text()),
    ]


def _create_intermediates() -> None:
    op.create_table(
        "intermediates",
        _id(),
        sa.Column("user_id", _ID),
        sa.Column("subject_hash", sa.Text(), nullable=False),
        sa.Column("fingerprint_sha256", sa.Text(), nullable=False),
        sa.Column("der", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_intermediates"),
        _belongs_to("users", "user_id", "intermediates"),
        sqlite_autoincrement=True,
    )
    _create_index("intermediates", "subject_hash")
    digest = "fingerprint_sha256"
    _create_partial_index("intermediates", digest, [digest], "user_id IS NULL", prefix="uq")
    _create_partial_index(
        "intermediates",
        f"user_id_{digest}",
        ["user_id", digest],
        "user_id IS NOT NULL",
        prefix="uq",
    )


def _create_keys() -> None:
    """Creates the tables of data keys and of private keys."""
    op.create_table(
        "user_keys",
        sa.Column("user_id", _ID, nullable=False),
        *_wrapped_secret(),
        sa.PrimaryKeyConstraint("user_id", "version", name="pk_user_keys"),
        _belongs_to("users", "user_id", "user_keys"),
    )
    op.create_table(
        "private_keys",
        sa.Column("certificate_id", _ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("certificate_id", "version", name="pk_private_keys"),
        _belongs_to("certificates", "certificate_id", "private_keys"),
    )
    op.create_table(
        "key_deletions",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("deleted", sa.BigInteger(), nullable=False),
        sa.Column("erased", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_key_deletions"),
    )


def _create_hostnames() -> None:
    table = "certificate_hostnames"
    op.create_table(
        table,
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("hostname", sa.Text(), nullable=False),
        sa.Column("certificate_id", _ID, nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "hostname", "certificate_id", name=f"pk_{table}"),
        _belongs_to("users", "user_id", table),
        _belongs_to("certificates", "certificate_id", table),
    )
    _create_index(table, "certificate_id")
    _create_index(table, "hostname", "certificate_id")
    columns = ["user_id", "hostname", "certificate_id"]
    _create_partial_index(table, "user_id_hostname_active", columns, *_ACTIVE)


def _create_hostname_claims() -> None:
    op.create_table(
        "hostname_claims",
        sa.Column("hostname", sa.Text(), nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("wildcard", sa.Text()),
        sa.Column("proof", sa.Text(), server_default="none", nullable=False),
        sa.Column("claimed_at", _TIME),
        sa.Column("proven_at", _TIME),
        sa.Column("proof_until", _TIME),
        sa.Column("checked_at", _TIME),
        sa.Column("check_failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_check_at", _TIME),
        sa.Column("resolves_to_edge", sa.Boolean()),
        sa.PrimaryKeyConstraint("hostname", name="pk_hostname_claims"),
        _belongs_to("users", "user_id", "hostname_claims"),
    )
    _create_index("hostname_claims", "user_id", "hostname")
    _create_index("hostname_claims", "wildcard")
    _create_partial_index("hostname_claims", "unproven", ["hostname"], "proof = 'none'")
    _create_partial_index(
        "hostname_claims", "next_check_at", ["next_check_at"], "next_check_at IS NOT NULL"
    )
    op.create_table(
        "hostname_notices",
        _id(),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("hostname", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_hostname_notices"),
        sqlite_autoincrement=True,
    )


def _create_hostname_challenges() -> None:
    table = "hostname_challenges"
    op.create_table(
        table,
        _id(),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("hostname", sa.Text(), nullable=False),
        sa.Column("txt_token", sa.Text(), nullable=False),
        sa.Column("cname_label", sa.Text(), nullable=False),
        sa.Column("http_token", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("next_check_at", _TIME),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_checked_at", _TIME),
        sa.Column("last_result", sa.Text()),
        sa.Column("resolves_to_edge", sa.Boolean()),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        _belongs_to("users", "user_id", table),
        sa.UniqueConstraint("user_id", "hostname", name=f"uq_{table}_user_id_hostname"),
        sa.UniqueConstraint("cname_label", name=f"uq_{table}_cname_label"),
        sqlite_autoincrement=True,
    )
    _create_index(table, "hostname")
    _create_partial_index(table, "contesting", ["hostname"], "state = 'contesting'")
    _create_partial_index(table, "next_check_at", ["next_check_at"], "next_check_at IS NOT NULL")
    op.create_table(
        "hostname_transfers",
        _id(),
        sa.Column("hostname", sa.Text(), nullable=False),
        sa.Column("from_user_id", _ID, nullable=False),
        sa.Column("to_user_id", _ID, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_hostname_transfers"),
        sqlite_autoincrement=True,
    )
    _create_index("hostname_transfers", "hostname", "at")


def _create_expiry_notices() -> None:
    table = "expiry_notices"
    op.create_table(
        table,
        _id(),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("certificate_id", _ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("threshold", sa.Text(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        *_mail(),
        sa.Column("mail_held", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        sa.UniqueConstraint(
            "certificate_id",
            "version",
            "threshold",
            name=f"uq_{table}_certificate_id_version_threshold",
        ),
        _belongs_to("certificates", "certificate_id", table),
        sqlite_autoincrement=True,
    )
    _create_partial_index(table, "mail_due", ["mail_due"], "mail_due IS NOT NULL")
    _create_partial_index(table, "mail_held", ["user_id"], "mail_held")


def _create_events() -> None:
    op.create_table(
        "events",
        _id(),
        sa.Column("xid", _ID),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("certificate_id", _ID),
        sa.Column("version", sa.Integer()),
        sa.Column("active", sa.Boolean()),
        sa.Column("hostnames", sa.Text()),
        sa.Column("not_after", _TIME),
        sa.Column("fingerprint_sha256", sa.Text()),
        sa.Column("webhook_id", _ID),
        sa.Column("notify", sa.Boolean(), nullable=False),
        sa.Column("traceparent", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sqlite_autoincrement=True,
    )
    _create_index("events", "user_id", "id")
    _create_index("events", "xid", "id")


def _create_webhooks() -> None:
    op.create_table(
        "webhooks",
        _id(),
        sa.Column("user_id", _ID),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("configured", sa.Boolean(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("failing_since", _TIME),
        sa.PrimaryKeyConstraint("id", name="pk_webhooks"),
        _belongs_to("users", "user_id", "webhooks"),
        sqlite_autoincrement=True,
    )
    _create_index("webhooks", "user_id", "id")
    _create_partial_index(
        "webhooks", "configured", ["configured"], "configured", "configured = 1", prefix="uq"
    )
    op.create_table(
        "webhook_secrets",
        sa.Column("webhook_id", _ID, nullable=False),
        *_wrapped_secret(),
        sa.Column("ends_at", _TIME),
        sa.PrimaryKeyConstraint("webhook_id", "version", name="pk_webhook_secrets"),
        _belongs_to("webhooks", "webhook_id", "webhook_secrets"),
    )


def _create_deliveries() -> None:
    table = "deliveries"
    op.create_table(
        table,
        sa.Column("webhook_id", _ID, nullable=False),
        sa.Column("event_id", _ID, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("ordering_key", _ID, nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("next_attempt_at", _TIME),
        sa.Column("lease", _ID),
        sa.Column("attempt_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempts", sa.Text(), server_default="[]", nullable=False),
        sa.PrimaryKeyConstraint("webhook_id", "event_id", name=f"pk_{table}"),
        _belongs_to("webhooks", "webhook_id", table),
    )
    _create_partial_index(
        table,
        "webhook_id_next_attempt_at",
        ["webhook_id", "next_attempt_at"],
        "next_attempt_at IS NOT NULL",
    )
    for columns, status in (
        (["webhook_id", "event_id"], "dead"),
        (["webhook_id", "ordering_key", "event_id"], "pending"),
    ):
        name = f"{'_'.join(columns)}_{status}"
        _create_partial_index(table, name, columns, f"status = '{status}'")


def _create_terminators() -> None:
    op.create_table(
        "terminators",
        _id(),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("cursor", sa.Text()),
        sa.Column("errors", sa.Text(), nullable=False),
        sa.Column("seen_at", _TIME, nullable=False),
        sa.Column("instance", sa.Text()),
        sa.Column("token_id", _ID),
        sa.Column("user_id", _ID),
        sa.PrimaryKeyConstraint("id", name="pk_terminators"),
        sa.UniqueConstraint("name", name="uq_terminators_name"),
        sqlite_autoincrement=True,
    )
    _create_index("terminators", "token_id")
    _create_index("terminators", "user_id")
    op.create_table(
        "servings",
        sa.Column("terminator_id", _ID, nullable=False),
        sa.Column("certificate_id", _ID, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("since", _TIME, nullable=False),
        sa.Column("serves", sa.Boolean(), nullable=False),
        sa.Column("verified", sa.Boolean()),
        sa.PrimaryKeyConstraint("terminator_id", "certificate_id", name="pk_servings"),
        _belongs_to("terminators", "terminator_id", "servings"),
        _belongs_to("certificates", "certificate_id", "servings"),
    )
    _create_index("servings", "certificate_id")


def _create_summary() -> None:
    """Creates the counters of all certificates, and their changes."""
    op.create_table(
        "summary_changes",
        _id(),
        sa.Column("amount", sa.Integer(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("trust", sa.Text(), nullable=False),
        sa.Column("key_algorithm", sa.Text()),
        sa.Column("issuer", sa.Text()),
        sa.Column("not_before", _TIME),
        sa.Column("not_after", _TIME),
        *_serving(),
        sa.Column("stored_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_summary_changes"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "summary_values",
        sa.Column("dimension", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("dimension", "value", name="pk_summary_values"),
    )
    _create_index("summary_values", "dimension", "number", "value")
    times = ("expires_on", "valid_from", "chain_valid_from", "chain_expires")
    op.create_table(
        "summary_dates",
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in times),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("active", "reason", *times, name="pk_summary_dates"),
    )


def _create_audit() -> None:
    op.create_table(
        "audit",
        sa.Column("chain", _ID, autoincrement=False, nullable=False),
        sa.Column("seq", _ID, autoincrement=False, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("actor_kind", sa.Text(), nullable=False),
        sa.Column("actor_token_id", _ID),
        sa.Column("actor_user_id", _ID),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("object", sa.Text()),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("prev_hash", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("chain", "seq", name="pk_audit"),
    )
    op.create_table(
        "audit_heads",
        sa.Column("chain", _ID, autoincrement=False, nullable=False),
        sa.Column("seq", _ID, nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("chain", name="pk_audit_heads"),
    )
    op.create_table(
        "audit_exports",
        sa.Column("series", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("series", name="pk_audit_exports"),
    )


def _create_limits() -> None:
    """Creates the tables of idempotent responses and of rate limits."""
    op.create_table(
        "kept_answers",
        sa.Column("name", _SHA256, nullable=False),
        sa.Column("digest", _SHA256, nullable=False),
        sa.Column("kept_at", _TIME, nullable=False),
        sa.Column("status", sa.Integer(), server_default="0", nullable=False),
        sa.Column("location", sa.Text()),
        sa.Column("tag", sa.Text()),
        sa.Column("body", sa.LargeBinary()),
        sa.Column("user_id", _ID),
        sa.PrimaryKeyConstraint("name", name="pk_kept_answers"),
    )
    _create_index("kept_answers", "kept_at")
    _create_index("kept_answers", "user_id", "kept_at")
    op.create_table(
        "rate_counts",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("ends_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_rate_counts"),
    )
    _create_index("rate_counts", "ends_at")


def _create_service() -> None:
    """Creates the tables in which the service keeps its own state."""
    for table in ("service_state", "service_latches"):
        op.create_table(
            table,
            sa.Column("name", sa.Text(), nullable=False),
            sa.Column("since", _TIME, nullable=False),
            sa.PrimaryKeyConstraint("name", name=f"pk_{table}"),
        )
    op.create_table(
        "service_secrets",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_service_secrets"),
    )


def _create_policies() -> None:
    """Enables row-level security, also for the owner of the tables. Superusers bypass it."""
    for table, condition in _POLICIES.items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON {table} USING ({condition})")
    # Triggers run with the rights of the tenant that changes a certificate.
    op.execute("CREATE POLICY added ON summary_changes FOR INSERT WITH CHECK (true)")
    # A user who claims a hostname must see that another user has it. No response says which user.
    op.execute("CREATE POLICY claimed ON hostname_claims FOR SELECT USING (true)")
    # A transaction that records an event must find the endpoints that receive events of all users.
    op.execute("CREATE POLICY operators ON webhooks FOR SELECT USING (user_id IS NULL)")


def _create_sqlite_triggers() -> None:
    """Creates the triggers that count deleted keys, and those that keep latches."""
    for table, column in _KEY_COLUMNS.items():
        for name, event in (("deleted", "DELETE"), ("updated", f"UPDATE OF {column}")):
            op.execute(_COUNT_DELETION.format(table=table, name=name, event=event))
    for name, event in (("deleted", "DELETE"), ("updated", "UPDATE")):
        op.execute(_KEEP_LATCH.format(name=name, event=event))


def _create_label_triggers() -> None:
    """Creates the triggers that copy the labels of users and certificates."""
    for owners, (table, columns, values) in _LABELS.items():
        delete = f"DELETE FROM {table} WHERE {columns.partition(',')[0]} = NEW.id;"  # noqa: S608 - constants
        source = f"({columns}, name, value) SELECT {values}, key, value FROM"
        insert = f"INSERT INTO {table} {source}"
        inserted = f"CREATE TRIGGER {owners}_labels_inserted AFTER INSERT ON {owners} "
        updated = f"CREATE TRIGGER {owners}_labels_updated AFTER UPDATE OF labels ON {owners} "
        if _dialect() == "sqlite":
            insert += " json_each(NEW.labels);"
            op.execute(f"{inserted}WHEN NEW.labels <> '{{}}' BEGIN {insert} END")
            op.execute(f"{updated}WHEN NEW.labels <> OLD.labels BEGIN {delete} {insert} END")
            continue
        insert += " jsonb_each_text(NEW.labels::jsonb);"
        function = f"{owners}_labels()"
        op.execute(
            f"CREATE FUNCTION {function} RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN {delete} {insert} RETURN NULL; END $$"
        )
        execute = f"EXECUTE FUNCTION {function}"
        op.execute(f"{inserted}FOR EACH ROW WHEN (NEW.labels <> '{{}}') {execute}")
        op.execute(f"{updated}FOR EACH ROW WHEN (NEW.labels <> OLD.labels) {execute}")


def _insert_rows() -> None:
    """Inserts the database's own secret, and the time by which feed readers recognize it."""
    now = datetime.now(UTC)
    time = _TIME
    if _dialect() == "sqlite":
        now, time = now.replace(tzinfo=None), sa.DateTime()
    state = sa.table("service_state", sa.column("name", sa.Text), sa.column("since", time))
    op.execute(sa.insert(state).values(name="feed", since=now))
    if context.is_offline_mode():
        op.execute(_INSERT_RANDOM.format(value=_RANDOM[_dialect()]))
    else:
        statement = sa.text(_INSERT_RANDOM.format(value=":value"))
        op.get_bind().execute(statement, {"value": token_bytes(32)})


def _dialect() -> str:
    return str(context.get_context().dialect.name)


def _id() -> sa.Column[int]:
    return sa.Column("id", _ID, sa.Identity(always=True), nullable=False)


def _counter(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), server_default=sa.text("0"), nullable=False)


def _labels() -> sa.Column[str]:
    return sa.Column("labels", sa.Text(), server_default="{}", nullable=False)


def _mail() -> list[sa.Column[object]]:
    """Returns the columns of an email that the worker sends."""
    return [
        sa.Column("mail_due", _TIME),
        sa.Column("mail_tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("mail_error", sa.Text()),
        sa.Column("mailed_at", _TIME),
    ]


def _wrapped_secret() -> list[sa.Column[object]]:
    """Returns the columns of a secret that a master key wraps."""
    return [
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("master_key_id", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
    ]


def _belongs_to(owner: str, column: str, table: str) -> sa.ForeignKeyConstraint:
    """Returns the foreign key of a row that is deleted with its owner."""
    return sa.ForeignKeyConstraint(
        [column], [f"{owner}.id"], name=f"fk_{table}_{column}_{owner}", ondelete="CASCADE"
    )


def _create_labels(
    table: str, key: str, owner: str, *more: sa.Column[int] | sa.ForeignKeyConstraint
) -> None:
    """Creates the table with the labels of the rows of `owner`."""
    op.create_table(
        table,
        sa.Column(key, _ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        *more,
        sa.PrimaryKeyConstraint(key, "name", name=f"pk_{table}"),
        _belongs_to(owner, key, table),
    )
    _create_index(table, "name", "value", key)


def _create_index(table: str, *columns: str) -> None:
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))


def _create_partial_index(
    table: str,
    name: str,
    columns: list[str],
    where: str,
    sqlite_where: str = "",
    *,
    prefix: str = "ix",
) -> None:
    op.create_index(
        f"{prefix}_{table}_{name}",
        table,
        columns,
        unique=prefix == "uq",
        postgresql_where=sa.text(where),
        sqlite_where=sa.text(sqlite_where or where),
    )
