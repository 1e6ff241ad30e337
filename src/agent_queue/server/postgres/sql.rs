//! Every statement of the running store. The first argument is the agent's id, unless a line says
//! otherwise.
//!
//! Statuses: 1 PENDING, 2 PROCESSING. What else a number means stands in the service's messages and
//! in `record`.

/// The queue, by the agent's id.
macro_rules! queue {
    () => {
        "(SELECT id FROM agent_queue.queue WHERE agent_id = $1)"
    };
}

/// What [`row::record`](super::row::record) reads, in its order.
macro_rules! columns {
    () => {
        "number, request_id, claim_id, lost, type, custom_type, payload, priority, status, \
         result, error_message, created_at, claimed_at, finished_at, lease_until, claims, \
         retry_of"
    };
}

/// Remembers names and claims of the rows `gone`, since the argument named; gives their numbers.
macro_rules! forget {
    ($since:literal) => {
        concat!(
            "named AS (INSERT INTO agent_queue.name \
                (queue, request_id, operation, number, done_at) \
                SELECT queue, request_id, CASE WHEN retry_of = '' THEN 1 ELSE 2 END, number, ",
            $since,
            " FROM gone), \
            claimed AS (INSERT INTO agent_queue.past_claim \
                (queue, claim_id, number, over, over_at) \
                SELECT queue, claim_id, number, 3, ",
            $since,
            " FROM gone WHERE claim_id IS NOT NULL) \
            SELECT array_agg(number ORDER BY number) FROM gone"
        )
    };
}

/// Statements, and [`ALL`] of them: a connection prepares them when it is made, so that none is
/// ever waited for between two others.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $($sql:expr),+;)*) => {
        $($(#[$doc])* pub(super) const $name: &str = concat!($($sql),+);)*
        /// All of them.
        pub(super) const ALL: &[&str] = &[$($name),*];
    };
}

statements! {
    /// Its time, in milliseconds since 1970.
    CLOCK = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    /// The version of the database, and whether it is a standby.
    HEALTH = "SELECT current_setting('server_version'), pg_is_in_recovery()";

    /// $2 now.
    CREATE = "INSERT INTO agent_queue.queue (agent_id, created_at) VALUES ($1, $2) \
        ON CONFLICT DO NOTHING";
    /// Its id and age, and whether leases are over at $2 or end after $3.
    HEAD = "SELECT id, created_at, \
        EXISTS (SELECT FROM agent_queue.task \
            WHERE queue = q.id AND status = 2 AND lease_until <= $2) \
        OR EXISTS (SELECT FROM agent_queue.task \
            WHERE queue = q.id AND status = 2 AND lease_until > $3) \
        FROM agent_queue.queue q WHERE agent_id = $1";
    /// HEAD, and what is known of claim $4: the task that it holds or ended, or the one it held and
    /// why it is over.
    CLAIM_HEAD = "SELECT id, created_at, \
        EXISTS (SELECT FROM agent_queue.task \
            WHERE queue = q.id AND status = 2 AND lease_until <= $2) \
        OR EXISTS (SELECT FROM agent_queue.task \
            WHERE queue = q.id AND status = 2 AND lease_until > $3), \
        (SELECT number FROM agent_queue.task WHERE queue = q.id AND claim_id = $4), \
        p.number, p.over \
        FROM agent_queue.queue q \
        LEFT JOIN agent_queue.past_claim p ON p.queue = q.id AND p.claim_id = $4 \
        WHERE agent_id = $1";
    /// The first $2 ids after $1, in the order of their bytes. Queues that are being deleted have
    /// longer names than an id may have.
    NAMES = "SELECT agent_id FROM agent_queue.queue WHERE agent_id COLLATE \"C\" > $1 \
        AND octet_length(agent_id) <= 256 ORDER BY agent_id COLLATE \"C\" LIMIT $2";
    /// A row for each status that the queue's tasks have, with the oldest of them; and whether
    /// leases are over at $2.
    SUMMARY = "SELECT q.created_at, coalesce(t.status, 0::smallint), \
        count(t.number), min(t.created_at), min(t.claimed_at), \
        coalesce(bool_or(t.status = 2 AND t.lease_until <= $2), false) \
        FROM agent_queue.queue q LEFT JOIN agent_queue.task t ON t.queue = q.id \
        WHERE q.agent_id = $1 GROUP BY q.id, t.status";
    /// Gives a queue the name $2 and its number, which no request can have: nothing is added to it
    /// from here on.
    HIDE = "UPDATE agent_queue.queue SET agent_id = $2 || id WHERE agent_id = $1 RETURNING id";
    /// A queue whose name begins with $1.
    HIDDEN = "SELECT id FROM agent_queue.queue WHERE starts_with(agent_id, $1) LIMIT 1";
    /// $1 queue, $2 how many.
    EMPTY_TASKS = "DELETE FROM agent_queue.task WHERE queue = $1 AND number IN \
        (SELECT number FROM agent_queue.task WHERE queue = $1 LIMIT $2)";
    EMPTY_NAMES = "DELETE FROM agent_queue.name WHERE queue = $1 AND request_id IN \
        (SELECT request_id FROM agent_queue.name WHERE queue = $1 LIMIT $2)";
    EMPTY_CLAIMS = "DELETE FROM agent_queue.past_claim WHERE queue = $1 AND claim_id IN \
        (SELECT claim_id FROM agent_queue.past_claim WHERE queue = $1 LIMIT $2)";
    /// $1 queue.
    DELETE_QUEUE = "DELETE FROM agent_queue.queue WHERE id = $1";

    /// New tasks: arrays of $2 names, $3 types, $4 custom types, $5 payloads, $6 priorities; $7
    /// now, $8 what they retry.
    ADD = "INSERT INTO agent_queue.task (queue, request_id, type, custom_type, payload, priority, \
        status, created_at, retry_of) \
        SELECT q.id, n.request_id, n.type, n.custom_type, n.payload, n.priority, 1, $7, $8 \
        FROM agent_queue.queue q \
        CROSS JOIN unnest($2::text[], $3::smallint[], $4::text[], $5::text[], $6::smallint[]) \
        WITH ORDINALITY AS n(request_id, type, custom_type, payload, priority, place) \
        WHERE q.agent_id = $1 ORDER BY n.place ON CONFLICT (queue, request_id) DO NOTHING \
        RETURNING request_id, number";
    /// Tasks $2 of this transaction: their names are known after all.
    TAKE_BACK = "DELETE FROM agent_queue.task WHERE queue = ", queue!(), " \
        AND number = ANY($2::bigint[])";
    /// What the names $2 named that no task has any more.
    NAMED = "SELECT request_id, operation, answer, number FROM agent_queue.name \
        WHERE queue = ", queue!(), " AND request_id = ANY($2::text[])";
    /// The same of those that tasks have.
    NAMED_TASKS = "SELECT request_id, CASE WHEN retry_of = '' THEN 1 ELSE 2 END::smallint, \
        NULL::bytea, number FROM agent_queue.task WHERE queue = ", queue!(), " \
        AND request_id = ANY($2::text[])";
    /// Requests with the same name, or claims with the same id, $2 go one after the other.
    LOCK_NAME = "SELECT pg_advisory_xact_lock(hashtext($1), hashtext($2))";
    /// $1 queue, $2 name, $3 operation, $4 answer, $5 now.
    REMEMBER = "INSERT INTO agent_queue.name (queue, request_id, operation, answer, done_at) \
        VALUES ($1, $2, $3, $4, $5)";

    /// The task that is claimed next.
    PICK = "SELECT ", columns!(), " FROM agent_queue.task WHERE queue = ", queue!(), " \
        AND status = 1 ORDER BY priority DESC, number LIMIT 1 FOR UPDATE SKIP LOCKED";
    /// When the first lease ends, and whether another transaction works on a pending task.
    NOTHING_TO_PICK = "SELECT (SELECT min(lease_until) FROM agent_queue.task WHERE queue = q.id \
        AND status = 2), EXISTS (SELECT FROM agent_queue.task WHERE queue = q.id AND status = 1) \
        FROM agent_queue.queue q WHERE agent_id = $1";
    /// Task $2.
    TASK = "SELECT ", columns!(), " FROM agent_queue.task WHERE queue = ", queue!(), " \
        AND number = $2";
    /// Task $2, which nobody else changes until the transaction ends.
    LOCK_TASK = "SELECT ", columns!(), " FROM agent_queue.task WHERE queue = ", queue!(), " \
        AND number = $2 FOR UPDATE";
    /// Some tasks whose leases are over at $2 or end after $3.
    LOCK_OVERDUE = "SELECT ", columns!(), " FROM agent_queue.task WHERE queue = ", queue!(), " \
        AND status = 2 AND (lease_until <= $2 OR lease_until > $3) ORDER BY number LIMIT 500 \
        FOR UPDATE";
    /// $1 number; the rest in the order of [`row::save`](super::row::save).
    SAVE = "UPDATE agent_queue.task \
        SET claim_id = $3, lost = $4, status = $5, result = $6, error_message = $7, \
        claimed_at = $8, finished_at = $9, lease_until = $10, claims = $11, \
        changed = pg_current_xact_id() \
        WHERE queue = (SELECT id FROM agent_queue.queue WHERE agent_id = $2) AND number = $1";
    /// Claim $2 of task $3 is over, because of $4, since $5.
    OVER = "INSERT INTO agent_queue.past_claim (queue, claim_id, number, over, over_at) \
        SELECT id, $2, $3, $4, $5 FROM agent_queue.queue WHERE agent_id = $1";

    /// The number of the last task.
    LAST_TASK = "SELECT max(number) FROM agent_queue.task WHERE queue = ", queue!();
    /// $6 tasks after $2 and up to $3 that have status $4, or any for NULL; else as DELETE_TASKS.
    CLEAR = "WITH found AS (SELECT queue, number FROM agent_queue.task \
            WHERE queue = ", queue!(), " AND number > $2 AND number <= $3 \
            AND ($4::smallint IS NULL OR status = $4) ORDER BY number LIMIT $6 FOR UPDATE), \
        gone AS (DELETE FROM agent_queue.task t USING found \
            WHERE t.queue = found.queue AND t.number = found.number \
            RETURNING t.queue, t.number, t.request_id, t.claim_id, t.retry_of), ",
        forget!("$5");
    /// Deletes the tasks $2; remembers their names and claims since $3.
    DELETE_TASKS = "WITH gone AS (DELETE FROM agent_queue.task WHERE queue = ", queue!(), " \
        AND number = ANY($2::bigint[]) \
        RETURNING queue, number, request_id, claim_id, retry_of), ", forget!("$3");

    /// How many tasks have status $2, or any for NULL.
    COUNT = "SELECT count(*) FROM agent_queue.task WHERE queue = ", queue!(), " \
        AND ($2::smallint IS NULL OR status = $2)";
    /// The oldest tasks of status $2, or any for NULL: $3 of them after the first $4, up to $5
    /// bytes and one that crosses them.
    PAGE = "SELECT ", columns!(), " FROM (SELECT *, \
            sum(octet_length(payload) + octet_length(result) + octet_length(error_message)) \
            OVER (ORDER BY number ROWS UNBOUNDED PRECEDING EXCLUDE CURRENT ROW) AS before \
            FROM (SELECT * FROM agent_queue.task WHERE queue = ", queue!(), " \
                AND ($2::smallint IS NULL OR status = $2) \
                ORDER BY number LIMIT $3 OFFSET $4) page) measured \
        WHERE before IS NULL OR before <= $5 ORDER BY number";
    /// By status and type: how many, since when the oldest was there, and how long they waited and
    /// ran: sum and count.
    STATS = "SELECT status, type, count(*), min(created_at), \
        coalesce(sum(greatest(claimed_at - created_at, 0)), 0)::float8, count(claimed_at), \
        coalesce(sum(greatest(finished_at - claimed_at, 0)), 0)::float8, \
        count(finished_at - claimed_at) \
        FROM agent_queue.task WHERE queue = ", queue!(), " GROUP BY status, type ORDER BY type";

    /// What is committed now.
    SNAPSHOT = "SELECT pg_current_snapshot()::text";
    /// The changes that were not committed in snapshot $2, from transaction $3 and then task $4 on,
    /// with the tasks' sizes.
    CHANGES = "SELECT changed::text, number, size FROM (\
            SELECT changed, number, \
            octet_length(payload) + octet_length(result) + octet_length(error_message) AS size \
            FROM agent_queue.task WHERE queue = ", queue!(), " AND changed >= $3::text::xid8 \
            UNION ALL SELECT changed, number, 0 FROM agent_queue.name \
            WHERE queue = ", queue!(), " AND changed >= $3::text::xid8 AND number IS NOT NULL) \
            change \
        WHERE (changed > $3::text::xid8 OR number > $4) \
        AND NOT pg_visible_in_snapshot(changed, $2::text::pg_snapshot) \
        ORDER BY change.changed, number LIMIT $5";
    /// The tasks $2.
    TASKS = "SELECT ", columns!(), " FROM agent_queue.task WHERE queue = ", queue!(), " \
        AND number = ANY($2::bigint[])";

    /// Tasks that ended before $1.
    PRUNE_TASKS = "DELETE FROM agent_queue.task WHERE (queue, number) IN (SELECT queue, number \
        FROM agent_queue.task WHERE finished_at < $1 LIMIT 500 FOR UPDATE SKIP LOCKED)";
    /// Names whose work was done before $1.
    PRUNE_NAMES = "DELETE FROM agent_queue.name WHERE (queue, request_id) IN \
        (SELECT queue, request_id FROM agent_queue.name WHERE done_at < $1 LIMIT 500 \
        FOR UPDATE SKIP LOCKED)";
    /// Claims that were over before $1.
    PRUNE_CLAIMS = "DELETE FROM agent_queue.past_claim WHERE (queue, claim_id) IN \
        (SELECT queue, claim_id FROM agent_queue.past_claim WHERE over_at < $1 LIMIT 500 \
        FOR UPDATE SKIP LOCKED)";
}
