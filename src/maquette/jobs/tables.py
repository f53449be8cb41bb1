"""The ledger's tables. Each step here is applied once, in order; a released one is never changed, only followed by another."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE jobs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            kind TEXT NOT NULL,
            arguments TEXT NOT NULL,
            cwd TEXT NOT NULL,
            project TEXT,
            run TEXT,
            device TEXT NOT NULL,
            state TEXT NOT NULL CHECK (
                state IN ('queued', 'running', 'paused', 'done', 'failed', 'cancelled', 'interrupted')
            ),
            asked TEXT CHECK (asked IN ('pause', 'cancel')),
            position REAL NOT NULL,
            attempt INTEGER NOT NULL DEFAULT 0,
            strikes INTEGER NOT NULL DEFAULT 0,
            begun INTEGER NOT NULL DEFAULT 0,
            worker TEXT,
            done INTEGER NOT NULL DEFAULT 0,
            total INTEGER,
            unit TEXT NOT NULL DEFAULT 'step',
            stage TEXT NOT NULL DEFAULT '',
            reached REAL NOT NULL DEFAULT 0,
            "values" TEXT NOT NULL DEFAULT '{}',
            result TEXT,
            error TEXT,
            created_at TEXT NOT NULL,
            started_at TEXT,
            ended_at TEXT
        )
        """,
        "CREATE INDEX jobs_by_state ON jobs (state, position)",
        """
        CREATE TABLE events (
            job INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
            sequence INTEGER NOT NULL,
            kind TEXT NOT NULL,
            line TEXT NOT NULL,
            PRIMARY KEY (job, sequence)
        ) WITHOUT ROWID
        """,
        "CREATE TABLE runners (who TEXT PRIMARY KEY)",
    ),
)
