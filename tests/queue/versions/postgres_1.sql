--
-- PostgreSQL database dump
--
-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)
SELECT pg_catalog.set_config('search_path', '', false);
--
-- Name: agent_queue; Type: SCHEMA; Schema: -; Owner: -
--
CREATE SCHEMA agent_queue;
--
-- Name: name; Type: TABLE; Schema: agent_queue; Owner: -
--
CREATE TABLE agent_queue.name (
    queue bigint NOT NULL,
    request_id text NOT NULL,
    operation smallint NOT NULL,
    answer bytea,
    number bigint,
    done_at bigint NOT NULL,
    changed xid8 DEFAULT pg_current_xact_id() NOT NULL
);
--
-- Name: past_claim; Type: TABLE; Schema: agent_queue; Owner: -
--
CREATE TABLE agent_queue.past_claim (
    queue bigint NOT NULL,
    claim_id text NOT NULL,
    number bigint NOT NULL,
    over smallint NOT NULL,
    over_at bigint NOT NULL
);
--
-- Name: queue; Type: TABLE; Schema: agent_queue; Owner: -
--
CREATE TABLE agent_queue.queue (
    id bigint NOT NULL,
    agent_id text NOT NULL,
    created_at bigint NOT NULL
);
--
-- Name: queue_id_seq; Type: SEQUENCE; Schema: agent_queue; Owner: -
--
ALTER TABLE agent_queue.queue ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME agent_queue.queue_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
--
-- Name: task; Type: TABLE; Schema: agent_queue; Owner: -
--
CREATE TABLE agent_queue.task (
    queue bigint NOT NULL,
    number bigint NOT NULL,
    request_id text NOT NULL,
    claim_id text,
    lost integer DEFAULT 0 NOT NULL,
    type smallint NOT NULL,
    custom_type text NOT NULL,
    payload text NOT NULL,
    priority smallint NOT NULL,
    status smallint NOT NULL,
    result text DEFAULT ''::text NOT NULL,
    error_message text DEFAULT ''::text NOT NULL,
    created_at bigint NOT NULL,
    claimed_at bigint,
    finished_at bigint,
    lease_until bigint,
    claims integer DEFAULT 0 NOT NULL,
    retry_of text NOT NULL,
    changed xid8 DEFAULT pg_current_xact_id() NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_analyze_scale_factor='0.05');
--
-- Name: task_number_seq; Type: SEQUENCE; Schema: agent_queue; Owner: -
--
ALTER TABLE agent_queue.task ALTER COLUMN number ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME agent_queue.task_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
--
-- Name: version; Type: TABLE; Schema: agent_queue; Owner: -
--
CREATE TABLE agent_queue.version (
    version integer NOT NULL
);
--
-- Data for Name: name; Type: TABLE DATA; Schema: agent_queue; Owner: -
--
INSERT INTO agent_queue.name VALUES (1, 'cancel', 5, '\x0a330a067461736b2d351201611801300538054a0f6e6f626f64792077616e74732069745207080110c096b1026206080310c0843d', NULL, 3001, '752');
INSERT INTO agent_queue.name VALUES (1, 'name-6', 1, NULL, 6, 3002, '753');
INSERT INTO agent_queue.name VALUES (1, 'delete', 4, '\x0801', NULL, 3002, '753');
INSERT INTO agent_queue.name VALUES (2, 'cleared-name', 1, NULL, 10, 3005, '757');
INSERT INTO agent_queue.name VALUES (2, 'clear', 3, '\x0801', NULL, 3005, '757');
--
-- Data for Name: past_claim; Type: TABLE DATA; Schema: agent_queue; Owner: -
--
INSERT INTO agent_queue.past_claim VALUES (1, 'claim-3', 3, 2, 3000);
--
-- Data for Name: queue; Type: TABLE DATA; Schema: agent_queue; Owner: -
--
INSERT INTO agent_queue.queue OVERRIDING SYSTEM VALUE VALUES (1, 'a', 500);
INSERT INTO agent_queue.queue OVERRIDING SYSTEM VALUE VALUES (2, 'cleared', 500);
--
-- Data for Name: task; Type: TABLE DATA; Schema: agent_queue; Owner: -
--
INSERT INTO agent_queue.task OVERRIDING SYSTEM VALUE VALUES (1, 7, 'name-7', NULL, 0, 1, '', '{"text":"Größe 7"}', 5, 1, '', '', 1007, NULL, NULL, NULL, 0, '', '739');
INSERT INTO agent_queue.task OVERRIDING SYSTEM VALUE VALUES (1, 8, 'name-8', NULL, 0, 1, '', '{"text":"Größe 8"}', 5, 1, '', '', 1008, NULL, NULL, NULL, 0, '', '740');
INSERT INTO agent_queue.task OVERRIDING SYSTEM VALUE VALUES (1, 4, 'name-4', 'claim-4', 0, 1, '', '{"text":"Größe 4"}', 5, 2, '', '', 1004, 2004, NULL, 12004, 1, '', '747');
INSERT INTO agent_queue.task OVERRIDING SYSTEM VALUE VALUES (1, 1, 'name-1', 'claim-1', 0, 1, '', '{"text":"Größe 1"}', 5, 3, '{"ok":true}', '', 1001, 2001, 3000, NULL, 1, '', '748');
INSERT INTO agent_queue.task OVERRIDING SYSTEM VALUE VALUES (1, 2, 'name-2', 'claim-2', 0, 1, '', '{"text":"Größe 2"}', 5, 4, '', 'it did not work', 1002, 2002, 3000, NULL, 1, '', '749');
INSERT INTO agent_queue.task OVERRIDING SYSTEM VALUE VALUES (1, 3, 'name-3', NULL, 0, 1, '', '{"text":"Größe 3"}', 5, 1, '', '', 1003, 2003, NULL, NULL, 1, '', '751');
INSERT INTO agent_queue.task OVERRIDING SYSTEM VALUE VALUES (1, 5, 'name-5', NULL, 0, 1, '', '{"text":"Größe 5"}', 5, 5, '', 'nobody wants it', 1005, NULL, 3001, NULL, 0, '', '752');
INSERT INTO agent_queue.task OVERRIDING SYSTEM VALUE VALUES (1, 9, 'retry', NULL, 0, 1, '', '{"text":"Größe 2"}', 5, 1, '', '', 3003, NULL, NULL, NULL, 0, 'task-2', '754');
--
-- Data for Name: version; Type: TABLE DATA; Schema: agent_queue; Owner: -
--
INSERT INTO agent_queue.version VALUES (1);
--
-- Name: queue_id_seq; Type: SEQUENCE SET; Schema: agent_queue; Owner: -
--
SELECT pg_catalog.setval('agent_queue.queue_id_seq', 2, true);
--
-- Name: task_number_seq; Type: SEQUENCE SET; Schema: agent_queue; Owner: -
--
SELECT pg_catalog.setval('agent_queue.task_number_seq', 10, true);
--
-- Name: name name_pkey; Type: CONSTRAINT; Schema: agent_queue; Owner: -
--
ALTER TABLE ONLY agent_queue.name
    ADD CONSTRAINT name_pkey PRIMARY KEY (queue, request_id);
--
-- Name: past_claim past_claim_pkey; Type: CONSTRAINT; Schema: agent_queue; Owner: -
--
ALTER TABLE ONLY agent_queue.past_claim
    ADD CONSTRAINT past_claim_pkey PRIMARY KEY (queue, claim_id);
--
-- Name: queue queue_agent_id_key; Type: CONSTRAINT; Schema: agent_queue; Owner: -
--
ALTER TABLE ONLY agent_queue.queue
    ADD CONSTRAINT queue_agent_id_key UNIQUE (agent_id);
--
-- Name: queue queue_pkey; Type: CONSTRAINT; Schema: agent_queue; Owner: -
--
ALTER TABLE ONLY agent_queue.queue
    ADD CONSTRAINT queue_pkey PRIMARY KEY (id);
--
-- Name: task task_pkey; Type: CONSTRAINT; Schema: agent_queue; Owner: -
--
ALTER TABLE ONLY agent_queue.task
    ADD CONSTRAINT task_pkey PRIMARY KEY (queue, number);
--
-- Name: name_changed; Type: INDEX; Schema: agent_queue; Owner: -
--
CREATE INDEX name_changed ON agent_queue.name USING btree (queue, changed) WHERE (number IS NOT NULL);
--
-- Name: name_done; Type: INDEX; Schema: agent_queue; Owner: -
--
CREATE INDEX name_done ON agent_queue.name USING btree (done_at);
--
-- Name: past_claim_over; Type: INDEX; Schema: agent_queue; Owner: -
--
CREATE INDEX past_claim_over ON agent_queue.past_claim USING btree (over_at);
--
-- Name: task_changed; Type: INDEX; Schema: agent_queue; Owner: -
--
CREATE INDEX task_changed ON agent_queue.task USING btree (queue, changed);
--
-- Name: task_claim; Type: INDEX; Schema: agent_queue; Owner: -
--
CREATE UNIQUE INDEX task_claim ON agent_queue.task USING btree (queue, claim_id) WHERE (claim_id IS NOT NULL);
--
-- Name: task_finished; Type: INDEX; Schema: agent_queue; Owner: -
--
CREATE INDEX task_finished ON agent_queue.task USING btree (finished_at) WHERE (finished_at IS NOT NULL);
--
-- Name: task_leased; Type: INDEX; Schema: agent_queue; Owner: -
--
CREATE INDEX task_leased ON agent_queue.task USING btree (queue, lease_until) WHERE (status = 2);
--
-- Name: task_pending; Type: INDEX; Schema: agent_queue; Owner: -
--
CREATE INDEX task_pending ON agent_queue.task USING btree (queue, priority DESC, number) WHERE (status = 1);
--
-- Name: task_request; Type: INDEX; Schema: agent_queue; Owner: -
--
CREATE UNIQUE INDEX task_request ON agent_queue.task USING btree (queue, request_id);
--
-- Name: name name_queue_fkey; Type: FK CONSTRAINT; Schema: agent_queue; Owner: -
--
ALTER TABLE ONLY agent_queue.name
    ADD CONSTRAINT name_queue_fkey FOREIGN KEY (queue) REFERENCES agent_queue.queue(id) ON DELETE CASCADE;
--
-- Name: past_claim past_claim_queue_fkey; Type: FK CONSTRAINT; Schema: agent_queue; Owner: -
--
ALTER TABLE ONLY agent_queue.past_claim
    ADD CONSTRAINT past_claim_queue_fkey FOREIGN KEY (queue) REFERENCES agent_queue.queue(id) ON DELETE CASCADE;
--
-- Name: task task_queue_fkey; Type: FK CONSTRAINT; Schema: agent_queue; Owner: -
--
ALTER TABLE ONLY agent_queue.task
    ADD CONSTRAINT task_queue_fkey FOREIGN KEY (queue) REFERENCES agent_queue.queue(id) ON DELETE CASCADE;
--
-- PostgreSQL database dump complete
--
