BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0006');
CREATE TABLE comparison (
	code TEXT NOT NULL, 
	first TEXT NOT NULL, 
	second TEXT NOT NULL, 
	item_variance DOUBLE NOT NULL, 
	interaction DOUBLE NOT NULL, 
	clusters BIGINT NOT NULL, 
	CONSTRAINT pk_comparison PRIMARY KEY (code, first, second)
);
CREATE TABLE "run" (
	id TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	method TEXT NOT NULL, 
	config JSON NOT NULL, 
	base TEXT NOT NULL, 
	base_fingerprint TEXT NOT NULL, 
	recipe JSON NOT NULL, 
	recipe_hash TEXT NOT NULL, 
	recipe_kind TEXT NOT NULL, 
	protocol TEXT NOT NULL, 
	suite TEXT NOT NULL, 
	source TEXT NOT NULL, 
	data_fingerprint TEXT NOT NULL, 
	languages JSON NOT NULL, 
	languages_hash TEXT NOT NULL, 
	align_seed BIGINT, 
	finetune_seed BIGINT, 
	transform TEXT NOT NULL, 
	status TEXT NOT NULL, 
	error TEXT, 
	code_version TEXT, 
	dirty BOOLEAN, 
	packages JSON NOT NULL, 
	host JSON NOT NULL, 
	card JSON NOT NULL, 
	created DATETIME NOT NULL, 
	finished DATETIME, 
	views JSON DEFAULT '{}' NOT NULL, 
	alignment JSON DEFAULT '{}' NOT NULL, serial BIGINT DEFAULT '0' NOT NULL, owner TEXT DEFAULT '' NOT NULL, heartbeat DATETIME, version TEXT DEFAULT '' NOT NULL, 
	CONSTRAINT pk_run PRIMARY KEY (id), 
	CONSTRAINT ck_run_kind CHECK (kind IN ('trained', 'external', 'published')), 
	CONSTRAINT ck_run_recipe_kind CHECK (recipe_kind IN ('matched', 'paper')), 
	CONSTRAINT ck_run_status CHECK (status IN ('planned', 'running', 'done', 'failed', 'interrupted', 'superseded'))
);
INSERT INTO "run" VALUES('old','trained','mbert','{}','','','{}','','matched','mini','xtreme-align','babel','','["de", "en"]','',1,1,'','done',NULL,NULL,NULL,'{}','{}','{}','2026-01-02 03:04:05.000000','2026-01-02 03:04:05.000000','{"xnli": ["de", "en"], "tatoeba": ["de"]}','{}',1,'',NULL,'');
CREATE TABLE run_stage (
	run TEXT NOT NULL, 
	fingerprint TEXT NOT NULL, 
	hit BOOLEAN NOT NULL, 
	CONSTRAINT pk_run_stage PRIMARY KEY (run, fingerprint), 
	CONSTRAINT fk_run_stage_run FOREIGN KEY(run) REFERENCES run (id) ON DELETE CASCADE, 
	CONSTRAINT fk_run_stage_fingerprint FOREIGN KEY(fingerprint) REFERENCES stage (fingerprint) ON DELETE CASCADE
);
INSERT INTO "run_stage" VALUES('old','s-xnli',0);
CREATE TABLE score (
	run TEXT NOT NULL, 
	task TEXT NOT NULL, 
	"view" TEXT NOT NULL, 
	split TEXT NOT NULL, 
	selection TEXT NOT NULL, 
	metric TEXT NOT NULL, 
	stage TEXT NOT NULL, 
	language TEXT NOT NULL, 
	protocol TEXT NOT NULL, 
	step BIGINT NOT NULL, 
	n BIGINT NOT NULL, 
	point BIGINT NOT NULL, 
	value DOUBLE NOT NULL, 
	CONSTRAINT pk_score PRIMARY KEY (run, task, "view", split, selection, metric, point), 
	CONSTRAINT fk_score_run FOREIGN KEY(run) REFERENCES run (id) ON DELETE CASCADE
);
INSERT INTO "score" VALUES('old','xnli','de','test','english','accuracy','s-xnli','de','mini',0,500,0,70.0);
INSERT INTO "score" VALUES('old','xnli','en','test','english','accuracy','s-xnli','en','mini',0,500,0,80.0);
CREATE TABLE stage (
	fingerprint TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	task TEXT, 
	status TEXT NOT NULL, 
	artifact TEXT, 
	started DATETIME, 
	finished DATETIME, 
	device_seconds DOUBLE, 
	peak_memory_bytes BIGINT, 
	tokens BIGINT, 
	examples BIGINT, 
	device TEXT NOT NULL, 
	precision TEXT NOT NULL, 
	threads INTEGER, 
	host JSON NOT NULL, 
	code_version TEXT, 
	CONSTRAINT pk_stage PRIMARY KEY (fingerprint), 
	CONSTRAINT ck_stage_status CHECK (status IN ('planned', 'running', 'done', 'failed', 'interrupted'))
);
INSERT INTO "stage" VALUES('s-xnli','score','xnli','done',NULL,'2026-01-02 03:04:05.000000','2026-01-02 03:04:05.000000',NULL,NULL,NULL,NULL,'','',NULL,'{}',NULL);
CREATE TABLE summary (
	run TEXT NOT NULL, 
	task TEXT NOT NULL, 
	split TEXT NOT NULL, 
	selection TEXT NOT NULL, 
	metric TEXT NOT NULL, 
	position INTEGER NOT NULL, 
	value DOUBLE, 
	n_views INTEGER NOT NULL, 
	expected_views INTEGER NOT NULL, 
	complete BOOLEAN NOT NULL, 
	CONSTRAINT pk_summary PRIMARY KEY (run, task, split, selection, metric), 
	CONSTRAINT fk_summary_run FOREIGN KEY(run) REFERENCES run (id) ON DELETE CASCADE
);
INSERT INTO "summary" VALUES('old','xnli','test','english','accuracy',0,75.0,2,2,1);
INSERT INTO "summary" VALUES('old','tatoeba','test','english','accuracy',1,NULL,0,1,0);
INSERT INTO "summary" VALUES('old','average','test','english','average',2,NULL,2,3,0);
COMMIT;
