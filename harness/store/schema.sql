-- SPDX-License-Identifier: MIT
-- Schema of results.db, version 1 (PRAGMA user_version; PRAGMA application_id is 0x6b766c62, "kvlb").
-- Later versions are further migrations (migrate.c); this file stays as it was released.
-- Times are seconds since 1970 (UTC). Reals come back bit for bit.

CREATE TABLE experiment (
	id INTEGER PRIMARY KEY,
	name TEXT NOT NULL UNIQUE,
	question TEXT,
	paper TEXT,
	spec_path TEXT,
	spec_text TEXT,   -- the YAML as read
	report_json TEXT, -- its `report:` section: tables and plots
	view_sql TEXT     -- its CREATE VIEW statements
);

-- Which views belong to which experiment, so that a changed spec can replace its own.
CREATE TABLE experiment_view (
	name TEXT PRIMARY KEY,
	experiment_id INTEGER NOT NULL REFERENCES experiment(id) ON DELETE CASCADE
) WITHOUT ROWID;

-- What a paper published, for the column beside ours. No row, or a NULL value: the paper has no number there.
CREATE TABLE paper_value (
	experiment_id INTEGER NOT NULL REFERENCES experiment(id) ON DELETE CASCADE,
	paper TEXT NOT NULL,
	"table" TEXT NOT NULL,
	"row" TEXT NOT NULL,    -- "d_select=8"
	"column" TEXT NOT NULL, -- "accuracy"
	value REAL,
	source TEXT,
	PRIMARY KEY (experiment_id, paper, "table", "row", "column")
) WITHOUT ROWID;

-- One resolved setup: every option filled in, as canonical JSON. The key hashes it with task and procedure versions.
CREATE TABLE point (
	id INTEGER PRIMARY KEY,
	key TEXT NOT NULL UNIQUE,
	json TEXT NOT NULL CHECK (json_valid(json))
);

-- The matrix an experiment asks for at a scale; tables show exactly these, done or missing.
CREATE TABLE plan (
	experiment_id INTEGER NOT NULL REFERENCES experiment(id) ON DELETE CASCADE,
	scale TEXT NOT NULL,    -- smoke, small, paper
	ordinal INTEGER NOT NULL,
	point_id INTEGER NOT NULL REFERENCES point(id),
	seed INTEGER NOT NULL,
	label TEXT NOT NULL,    -- the swept keys: "n_head=4 n_key=16 d_select_per_head=2"
	PRIMARY KEY (experiment_id, scale, ordinal),
	UNIQUE (experiment_id, scale, point_id, seed)
) WITHOUT ROWID;

CREATE TABLE machine (
	id INTEGER PRIMARY KEY,
	cpu TEXT NOT NULL,
	n_core INTEGER NOT NULL,
	memory_gib INTEGER NOT NULL,
	os TEXT NOT NULL,
	UNIQUE (cpu, n_core, memory_gib, os)
);

CREATE TABLE build (
	id INTEGER PRIMARY KEY,
	git_commit TEXT NOT NULL,
	dirty INTEGER NOT NULL,
	compiler TEXT NOT NULL,
	flags TEXT NOT NULL,
	blas TEXT NOT NULL,
	cuda TEXT NOT NULL,
	binary_hash TEXT NOT NULL,
	UNIQUE (git_commit, dirty, compiler, flags, blas, cuda, binary_hash)
);

-- One point with one seed; shared by every experiment and scale that plans it.
CREATE TABLE run (
	id INTEGER PRIMARY KEY,
	point_id INTEGER NOT NULL REFERENCES point(id),
	seed INTEGER NOT NULL,       -- the 64 bits of the seed; from 2^63 on they read as negative
	state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'stale', 'diverged')),
	                             -- stale: ended, but not to be used; the next plan queues it again
	attempt INTEGER NOT NULL DEFAULT 0,
	-- the lease, set while running: whose it is and when it was last renewed
	worker_pid INTEGER,
	worker_boot TEXT,            -- boot id and pid namespace: where worker_pid means something
	worker_start INTEGER,        -- the process's start in clock ticks since boot: a pid alone may be reused
	heartbeat REAL,
	fraction REAL,               -- how far, 0..1
	machine_id INTEGER REFERENCES machine(id),
	build_id INTEGER REFERENCES build(id),
	started_at REAL,
	finished_at REAL,
	wall_s REAL,
	message TEXT,                -- why it failed
	UNIQUE (point_id, seed)
);
CREATE INDEX run_state ON run(state);

-- SQLite turns NaN into NULL and -0.0 into 0: for these `special` holds the 16 hex digits of the double.
CREATE TABLE metric (
	run_id INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE,
	ordinal INTEGER NOT NULL,    -- order of storing
	name TEXT NOT NULL,          -- accuracy, loss, ...
	split TEXT NOT NULL,         -- train, validation, test, count, time
	step INTEGER NOT NULL,       -- -1: of the whole run
	value REAL,
	special TEXT,
	PRIMARY KEY (run_id, ordinal)
) WITHOUT ROWID;
-- What views and tables read: the numbers of whole runs.
CREATE INDEX metric_whole_run ON metric(run_id, name, split, value) WHERE step = -1;

CREATE TABLE sample (
	run_id INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE,
	name TEXT NOT NULL,
	ordinal INTEGER NOT NULL,
	unit TEXT NOT NULL,
	value REAL,
	special TEXT,
	PRIMARY KEY (run_id, name, ordinal)
) WITHOUT ROWID;

-- Files that a run read or wrote.
CREATE TABLE artifact (
	id INTEGER PRIMARY KEY,
	run_id INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE,
	kind TEXT NOT NULL,
	path TEXT NOT NULL,
	bytes INTEGER NOT NULL,
	sha256 TEXT NOT NULL
);
CREATE INDEX artifact_run ON artifact(run_id);

-- Student's t for 95 % intervals in plain SQL: quantile 0.975 for 1..300 degrees of freedom (beyond: the last row).
CREATE TABLE t_quantile (
	df INTEGER PRIMARY KEY,
	q975 REAL NOT NULL
);
