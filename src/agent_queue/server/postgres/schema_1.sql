-- Version 1. Times are milliseconds since 1970; statuses, types and operations are the numbers of the service's messages.

CREATE TABLE agent_queue.queue (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    agent_id text NOT NULL UNIQUE,
    created_at bigint NOT NULL
);

CREATE TABLE agent_queue.task (
    queue bigint NOT NULL REFERENCES agent_queue.queue ON DELETE CASCADE,
    -- Grows over all queues and is never given twice.
    number bigint GENERATED ALWAYS AS IDENTITY,
    request_id text NOT NULL,
    claim_id text,
    lost integer NOT NULL DEFAULT 0,
    type smallint NOT NULL,
    custom_type text NOT NULL,
    payload text NOT NULL,
    priority smallint NOT NULL,
    status smallint NOT NULL,
    result text NOT NULL DEFAULT '',
    error_message text NOT NULL DEFAULT '',
    created_at bigint NOT NULL,
    claimed_at bigint,
    finished_at bigint,
    lease_until bigint,
    claims integer NOT NULL DEFAULT 0,
    retry_of text NOT NULL,
    -- The transaction that changed it last: a watch's cursor.
    changed xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (queue, number)
);
CREATE UNIQUE INDEX task_request ON agent_queue.task (queue, request_id);
CREATE UNIQUE INDEX task_claim ON agent_queue.task (queue, claim_id) WHERE claim_id IS NOT NULL;
CREATE INDEX task_pending ON agent_queue.task (queue, priority DESC, number) WHERE status = 1;
CREATE INDEX task_leased ON agent_queue.task (queue, lease_until) WHERE status = 2;
CREATE INDEX task_changed ON agent_queue.task (queue, changed);
CREATE INDEX task_finished ON agent_queue.task (finished_at) WHERE finished_at IS NOT NULL;

-- What a client_request_id named that no task has as its own any more.
CREATE TABLE agent_queue.name (
    queue bigint NOT NULL REFERENCES agent_queue.queue ON DELETE CASCADE,
    request_id text NOT NULL,
    operation smallint NOT NULL,
    -- The first answer, except of a submission or retry.
    answer bytea,
    -- Of a submission or retry: the task, which was deleted.
    number bigint,
    done_at bigint NOT NULL,
    changed xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (queue, request_id)
);
CREATE INDEX name_changed ON agent_queue.name (queue, changed) WHERE number IS NOT NULL;
CREATE INDEX name_done ON agent_queue.name (done_at);

-- Claims that are over and did not end their task.
CREATE TABLE agent_queue.past_claim (
    queue bigint NOT NULL REFERENCES agent_queue.queue ON DELETE CASCADE,
    claim_id text NOT NULL,
    number bigint NOT NULL,
    over smallint NOT NULL,
    over_at bigint NOT NULL,
    PRIMARY KEY (queue, claim_id)
);
CREATE INDEX past_claim_over ON agent_queue.past_claim (over_at);

-- A queue is rewritten all the time: clean up after some thousand changes, not after a fifth of the table.
ALTER TABLE agent_queue.task SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
