-- A database as version 0001 of the schema made it (commit e627baa): jobs in five states.
-- Written by pg_dump --inserts, without its comments and settings.
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.jobs (
    number integer NOT NULL,
    id character varying(32) NOT NULL,
    kind character varying(40) NOT NULL,
    executor character varying(16) NOT NULL,
    host character varying(253) NOT NULL,
    service character varying(63) NOT NULL,
    target character varying(63) NOT NULL,
    lane character varying(16) NOT NULL,
    state character varying(16) NOT NULL,
    preview boolean NOT NULL,
    force boolean NOT NULL,
    variables json NOT NULL,
    phases json NOT NULL,
    by character varying(80) NOT NULL,
    why text NOT NULL,
    reason text NOT NULL,
    limit_s double precision NOT NULL,
    rerun_of character varying(32),
    created_at double precision NOT NULL,
    started_at double precision,
    finished_at double precision
);
CREATE SEQUENCE public.jobs_number_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.jobs_number_seq OWNED BY public.jobs.number;
ALTER TABLE ONLY public.jobs ALTER COLUMN number SET DEFAULT nextval('public.jobs_number_seq'::regclass);
INSERT INTO public.alembic_version VALUES ('0001');
INSERT INTO public.jobs VALUES (1, '916899c6c7db2e4e', 'whisperx.install', 'playbook', 'spark1', 'whisperx', 'whisperx', 'host', 'succeeded', false, false, '{"whisperx_model": "large-v3", "whisperx_memory": "40g"}', '[{"name": "Preflight", "state": "succeeded", "started_at": 1.5, "finished_at": 2.5}]', 'the API', '', 'Grüße: it runs.', 14400, NULL, 1795410355.6706345, 1795410355.6937284, 1795410355.7097168);
INSERT INTO public.jobs VALUES (2, 'fb151facb9b58e4d', 'whisperx.model', 'playbook', 'spark1', 'whisperx', 'whisperx', 'host', 'canceled', false, false, '{}', '[]', 'the API', 'asked', 'Canceled by the API before it began.', 14400, '916899c6c7db2e4e', 1795410355.712734, NULL, 1795410355.7205946);
INSERT INTO public.jobs VALUES (3, '8f97893ff3448f80', 'service.restart', 'playbook', 'spark1', 'whisperx', 'whisperx', 'service', 'queued', false, false, '{}', '[]', 'the watch', '', '', 14400, NULL, 1795410355.7339427, NULL, NULL);
INSERT INTO public.jobs VALUES (4, '5a4560aa5157e30c', 'whisperx.install', 'playbook', 'spark2', 'whisperx', 'whisperx', 'preview', 'queued', true, false, '{}', '[]', 'the API', '', '', 14400, NULL, 1795410355.73889, NULL, NULL);
INSERT INTO public.jobs VALUES (5, '55d0a95af9424e4c', 'whisperx.install', 'playbook', 'spark2', 'whisperx', 'whisperx', 'host', 'running', false, false, '{"nested": {"list": [1, 2.5, null, true]}}', '[]', 'the API', '', '', 14400, NULL, 1795410355.7461212, 1795410355.8240428, NULL);
SELECT pg_catalog.setval('public.jobs_number_seq', 5, true);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_id_key UNIQUE (id);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (number);
CREATE INDEX jobs_by_state ON public.jobs USING btree (state);
CREATE UNIQUE INDEX jobs_one_per_host ON public.jobs USING btree (host) WHERE (((state)::text = ANY ((ARRAY['queued'::character varying, 'running'::character varying, 'canceling'::character varying])::text[])) AND ((lane)::text = 'host'::text));
CREATE UNIQUE INDEX jobs_one_per_service ON public.jobs USING btree (host, target) WHERE (((state)::text = ANY ((ARRAY['queued'::character varying, 'running'::character varying, 'canceling'::character varying])::text[])) AND ((lane)::text = ANY ((ARRAY['host'::character varying, 'service'::character varying])::text[])));
CREATE UNIQUE INDEX jobs_one_preview_per_host ON public.jobs USING btree (host) WHERE (((state)::text = ANY ((ARRAY['queued'::character varying, 'running'::character varying, 'canceling'::character varying])::text[])) AND ((lane)::text = 'preview'::text));
