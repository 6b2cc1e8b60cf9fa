-- A database as version 0001 of the schema made it (commit e627baa): jobs in five states.
-- Written by Python's sqlite3, Connection.iterdump().
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE jobs (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id VARCHAR(32) NOT NULL, 
	kind VARCHAR(40) NOT NULL, 
	executor VARCHAR(16) NOT NULL, 
	host VARCHAR(253) NOT NULL, 
	service VARCHAR(63) NOT NULL, 
	target VARCHAR(63) NOT NULL, 
	lane VARCHAR(16) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	preview BOOLEAN NOT NULL, 
	force BOOLEAN NOT NULL, 
	variables JSON NOT NULL, 
	phases JSON NOT NULL, 
	"by" VARCHAR(80) NOT NULL, 
	why TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	limit_s DOUBLE NOT NULL, 
	rerun_of VARCHAR(32), 
	created_at DOUBLE NOT NULL, 
	started_at DOUBLE, 
	finished_at DOUBLE, 
	UNIQUE (id)
);
INSERT INTO "jobs" VALUES(1,'fd7e80e19149585b','whisperx.install','playbook','spark1','whisperx','whisperx','host','succeeded',0,0,'{"whisperx_model": "large-v3", "whisperx_memory": "40g"}','[{"name": "Preflight", "state": "succeeded", "started_at": 1.5, "finished_at": 2.5}]','the API','','Grüße: it runs.',14400.0,NULL,1.79541034042565822602e+09,1.79541034046447277065e+09,1.79541034047664713863e+09);
INSERT INTO "jobs" VALUES(2,'d271841c92099dc5','whisperx.model','playbook','spark1','whisperx','whisperx','host','canceled',0,0,'{}','[]','the API','asked','Canceled by the API before it began.',14400.0,'fd7e80e19149585b',1.7954103404826803207e+09,NULL,1.79541034048393082617e+09);
INSERT INTO "jobs" VALUES(3,'f4cba9d4dae97267','service.restart','playbook','spark1','whisperx','whisperx','service','queued',0,0,'{}','[]','the watch','','',14400.0,NULL,1.7954103404923672676e+09,NULL,NULL);
INSERT INTO "jobs" VALUES(4,'d2cb614e1780ec48','whisperx.install','playbook','spark2','whisperx','whisperx','preview','queued',1,0,'{}','[]','the API','','',14400.0,NULL,1.79541034051273512843e+09,NULL,NULL);
INSERT INTO "jobs" VALUES(5,'36693f1bf81aa85a','whisperx.install','playbook','spark2','whisperx','whisperx','host','running',0,0,'{"nested": {"list": [1, 2.5, null, true]}}','[]','the API','','',14400.0,NULL,1.79541034051434707642e+09,1.79541034051688361164e+09,NULL);
CREATE UNIQUE INDEX jobs_one_per_host ON jobs (host) WHERE state IN ('queued', 'running', 'canceling') AND lane IN ('host');
CREATE UNIQUE INDEX jobs_one_per_service ON jobs (host, target) WHERE state IN ('queued', 'running', 'canceling') AND lane IN ('host', 'service');
CREATE UNIQUE INDEX jobs_one_preview_per_host ON jobs (host) WHERE state IN ('queued', 'running', 'canceling') AND lane IN ('preview');
CREATE INDEX jobs_by_state ON jobs (state);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('jobs',5);
COMMIT;
