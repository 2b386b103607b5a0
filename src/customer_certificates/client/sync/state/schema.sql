PRAGMA journal_mode = WAL;
-- A power failure may lose the last changes, but the feed still has them.
PRAGMA synchronous = NORMAL;
PRAGMA cache_size = -16000;
PRAGMA trusted_schema = OFF;
PRAGMA temp_store = MEMORY;

CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS certificates (
    id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, version INTEGER NOT NULL,
    fingerprint TEXT NOT NULL, trust TEXT NOT NULL, key_type TEXT NOT NULL,
    not_before INTEGER, not_after INTEGER, snapshot INTEGER NOT NULL,
    path TEXT NOT NULL, changed_at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS certificates_not_before ON certificates (not_before);
CREATE INDEX IF NOT EXISTS certificates_not_after ON certificates (not_after);
CREATE INDEX IF NOT EXISTS certificates_changed_at ON certificates (changed_at);
CREATE TABLE IF NOT EXISTS hostnames (
    hostname TEXT NOT NULL, certificate_id INTEGER NOT NULL, wildcard TEXT NOT NULL,
    PRIMARY KEY (hostname, certificate_id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS hostnames_certificate ON hostnames (certificate_id);
CREATE INDEX IF NOT EXISTS hostnames_wildcard ON hostnames (wildcard);
CREATE TABLE IF NOT EXISTS reserved (
    hostname TEXT NOT NULL, certificate_id INTEGER NOT NULL, user_id INTEGER NOT NULL,
    wildcard TEXT NOT NULL, snapshot INTEGER NOT NULL,
    PRIMARY KEY (hostname, certificate_id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS reserved_certificate ON reserved (certificate_id);
CREATE INDEX IF NOT EXISTS reserved_wildcard ON reserved (wildcard);
CREATE TABLE IF NOT EXISTS kept_free (hostname TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS selected (
    hostname TEXT NOT NULL, key_type TEXT NOT NULL, certificate_id INTEGER NOT NULL,
    PRIMARY KEY (hostname, key_type)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS selected_certificate ON selected (certificate_id);
CREATE TABLE IF NOT EXISTS pairs (hostname TEXT PRIMARY KEY, path TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pairs_path ON pairs (path);
CREATE TABLE IF NOT EXISTS leftovers (path TEXT PRIMARY KEY, due REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS leftovers_due ON leftovers (due);
CREATE TABLE IF NOT EXISTS unsent (path TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unreported (certificate_id INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS refused (
    certificate_id INTEGER PRIMARY KEY, version INTEGER NOT NULL, fingerprint TEXT NOT NULL,
    reason TEXT NOT NULL, hostnames TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS unchecked (certificate_id INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS accepted (
    certificate_id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, version INTEGER NOT NULL,
    fingerprint TEXT NOT NULL, trust TEXT NOT NULL, key_type TEXT NOT NULL,
    not_before INTEGER, not_after INTEGER, snapshot INTEGER NOT NULL,
    path TEXT NOT NULL, changed_at REAL NOT NULL, hostnames TEXT NOT NULL);
CREATE TEMP TABLE IF NOT EXISTS aside (certificate_id INTEGER PRIMARY KEY);
CREATE TEMP VIEW IF NOT EXISTS below (wildcard, hostname, user_id) AS
    SELECT h.wildcard, h.hostname, c.user_id FROM hostnames h
    JOIN certificates c ON c.id = h.certificate_id WHERE h.hostname <> h.wildcard
    UNION ALL SELECT wildcard, hostname, user_id FROM reserved WHERE hostname <> wildcard;
CREATE TEMP VIEW IF NOT EXISTS filters (certificate_id, filter) AS
    SELECT w.certificate_id, w.hostname FROM selected w
    JOIN hostnames h ON h.hostname = w.hostname AND h.certificate_id = w.certificate_id
    UNION SELECT w.certificate_id, '!' || b.hostname FROM selected w
    JOIN hostnames h ON h.hostname = w.hostname AND h.certificate_id = w.certificate_id
    JOIN certificates c ON c.id = w.certificate_id JOIN below b ON b.wildcard = w.hostname
    WHERE b.user_id <> c.user_id AND NOT EXISTS (SELECT 1 FROM selected x
        WHERE x.hostname = b.hostname AND x.key_type = w.key_type);
