-- Version 1. Times are milliseconds since 1970; statuses, types and operations are the protocol's numbers.
CREATE TABLE meta (
    -- Always 0: there is one row.
    id INTEGER PRIMARY KEY CHECK (id = 0),
    -- Counts changes over all queues.
    cursor INTEGER NOT NULL,
    -- The number of the task submitted last, kept or deleted.
    last_task INTEGER NOT NULL
) STRICT;
INSERT INTO meta VALUES (0, 0, 0);

CREATE TABLE queues (
    id INTEGER PRIMARY KEY,
    agent_id TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;

-- What may be long stands last, so that the rest is read without it.
CREATE TABLE tasks (
    number INTEGER PRIMARY KEY,
    queue INTEGER NOT NULL,
    type INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    status INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    claimed_at INTEGER,
    finished_at INTEGER,
    lease_until INTEGER,
    claims INTEGER NOT NULL,
    lost INTEGER NOT NULL,
    request_id TEXT NOT NULL,
    claim_id TEXT,
    retry_of TEXT NOT NULL,
    custom_type TEXT NOT NULL,
    error_message TEXT NOT NULL,
    result TEXT NOT NULL,
    payload TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX tasks_by_age ON tasks (queue, number);
CREATE UNIQUE INDEX tasks_by_status ON tasks (queue, status, number, type);
CREATE UNIQUE INDEX tasks_by_request ON tasks (queue, request_id);
CREATE UNIQUE INDEX tasks_by_claim ON tasks (queue, claim_id) WHERE claim_id IS NOT NULL;
CREATE UNIQUE INDEX tasks_by_change ON tasks (queue, changed);
-- The next task to claim is this index's first entry.
CREATE UNIQUE INDEX tasks_pending ON tasks (queue, priority DESC, number) WHERE status = 1;
CREATE INDEX tasks_leased ON tasks (queue, lease_until) WHERE status = 2;
CREATE INDEX tasks_finished ON tasks (finished_at) WHERE finished_at IS NOT NULL;

-- First answers to named requests: those of operations that leave no task, and of the submissions of deleted tasks.
CREATE TABLE requests (
    queue INTEGER NOT NULL,
    name TEXT NOT NULL,
    operation INTEGER NOT NULL,
    at INTEGER NOT NULL,
    -- The deleted task, and the cursor of its deletion.
    number INTEGER,
    changed INTEGER,
    answer BLOB NOT NULL,
    PRIMARY KEY (queue, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_by_change ON requests (queue, changed) WHERE changed IS NOT NULL;
CREATE INDEX requests_by_time ON requests (at);

-- Claims that are over and did not end their task.
CREATE TABLE claims (
    queue INTEGER NOT NULL,
    claim_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    over INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (queue, claim_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX claims_by_time ON claims (at);
