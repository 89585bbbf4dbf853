import { DatabaseSync, type StatementSync } from 'node:sqlite'

export type BlockRow = { number: number; hash: Uint8Array; header: Uint8Array; timestamp: number; root: Uint8Array }
export type TxRow = {
  hash: Uint8Array
  block: number
  idx: number
  raw: Uint8Array
  sender: Uint8Array
  target: Uint8Array | null
  created: Uint8Array | null
  status: number
  gas: number
  cumulative: number
}
export type LogRow = {
  block: number
  tx: number
  idx: number
  address: Uint8Array
  t0: Uint8Array | null
  t1: Uint8Array | null
  t2: Uint8Array | null
  t3: Uint8Array | null
  data: Uint8Array
}

const schema = `
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS nodes (key BLOB PRIMARY KEY, value BLOB NOT NULL, born INT NOT NULL, mark INT NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blocks (number INTEGER PRIMARY KEY, hash BLOB NOT NULL, header BLOB NOT NULL, timestamp INT NOT NULL, root BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS blocks_hash ON blocks (hash);
CREATE TABLE IF NOT EXISTS txs (hash BLOB PRIMARY KEY, block INT NOT NULL, idx INT NOT NULL, raw BLOB NOT NULL, sender BLOB NOT NULL, target BLOB, created BLOB, status INT NOT NULL, gas INT NOT NULL, cumulative INT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS txs_block ON txs (block, idx);
CREATE TABLE IF NOT EXISTS logs (block INT NOT NULL, tx INT NOT NULL, idx INT NOT NULL, address BLOB NOT NULL, t0 BLOB, t1 BLOB, t2 BLOB, t3 BLOB, data BLOB NOT NULL, PRIMARY KEY (block, idx)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS logs_t0 ON logs (t0, block);
CREATE INDEX IF NOT EXISTS logs_t1 ON logs (t1, block);
CREATE INDEX IF NOT EXISTS logs_t2 ON logs (t2, block);
`

/**
 * The chain's state and history as SQLite tables: a checkpoint at every block, made from the journal and made anew
 * when it is missing. Its own commits are not fsynced one by one; what a power cut takes, the journal gives back.
 */
export class Store implements Disposable {
  readonly db: DatabaseSync
  readonly #get: StatementSync
  readonly #put: StatementSync
  readonly #meta: StatementSync
  readonly #setMeta: StatementSync
  readonly #block: StatementSync
  readonly #tx: StatementSync
  readonly #log: StatementSync
  readonly #blockAt: StatementSync

  constructor(path: string) {
    this.db = new DatabaseSync(path)
    // one process owns the chain; 8 MiB of page cache; WAL with NORMAL stays consistent through a power cut
    this.db.exec(
      'PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-8192; PRAGMA journal_size_limit=16777216;',
    )
    this.db.exec(schema)
    this.#get = this.db.prepare('SELECT value FROM nodes WHERE key = ?')
    this.#put = this.db.prepare(
      'INSERT INTO nodes (key, value, born) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET born = excluded.born',
    )
    this.#meta = this.db.prepare('SELECT value FROM meta WHERE key = ?')
    this.#setMeta = this.db.prepare('INSERT OR REPLACE INTO meta VALUES (?, ?)')
    this.#block = this.db.prepare('INSERT INTO blocks VALUES (?, ?, ?, ?, ?)')
    this.#tx = this.db.prepare('INSERT INTO txs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)')
    this.#log = this.db.prepare('INSERT INTO logs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)')
    this.#blockAt = this.db.prepare('SELECT * FROM blocks WHERE number = ?')
  }

  node(key: Uint8Array): Uint8Array | undefined {
    return this.#get.get(key)?.value as Uint8Array | undefined
  }

  putNode(key: Uint8Array, value: Uint8Array, born: number): void {
    this.#put.run(key, value, born)
  }

  meta(key: string): number | undefined {
    return this.#meta.get(key)?.value as number | undefined
  }

  setMeta(key: string, value: number): void {
    this.#setMeta.run(key, value)
  }

  block(number: number): BlockRow | undefined {
    return this.#blockAt.get(number) as BlockRow | undefined
  }

  addBlock(b: BlockRow, txs: TxRow[], logs: LogRow[]): void {
    this.#block.run(b.number, b.hash, b.header, b.timestamp, b.root)
    for (const t of txs)
      this.#tx.run(t.hash, t.block, t.idx, t.raw, t.sender, t.target, t.created, t.status, t.gas, t.cumulative)
    for (const l of logs) this.#log.run(l.block, l.tx, l.idx, l.address, l.t0, l.t1, l.t2, l.t3, l.data)
  }

  /** All of WORK or nothing. */
  transaction(work: () => void): void {
    this.db.exec('BEGIN IMMEDIATE')
    try {
      work()
      this.db.exec('COMMIT')
    } catch (error) {
      // of a full disk SQLite has rolled back by itself, and would say of another that there is nothing to take back
      if (this.db.isTransaction) this.db.exec('ROLLBACK')
      throw error
    }
  }

  [Symbol.dispose](): void {
    this.db.close()
  }
}
