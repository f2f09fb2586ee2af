/**
 * What scans have found, by file, so that an unchanged file is not read again. A database of its own in the data directory: a tree of
 * a hundred thousand files must not stand in memory between two scans. It holds nothing but certificates and may be deleted.
 */
import { Database } from "bun:sqlite"
import { rmSync } from "node:fs"

export interface KnownFile {
  /** Whatever changes when the file does. */
  readonly stamp: string
  /** As JSON; null where the file has nothing to report. */
  readonly findings: string | null
}

export type ScanCache = ReturnType<typeof openScanCache>

const layout = 1
/** Rows written before a commit. */
const commitEvery = 2000

const open = (path: string): Database => {
  const database = new Database(path, { create: true, strict: true })
  // What a crash takes from it is read again: nothing waits for the disk.
  database.run("pragma journal_mode = memory")
  database.run("pragma synchronous = off")
  database.run("pragma cache_size = -2000")
  const found = database.query<{ user_version: number }, []>("pragma user_version").get()?.user_version
  if (found !== layout) {
    database.run("drop table if exists files")
    database.run("drop table if exists folders")
    database.run("create table folders (id integer primary key, path text not null unique, pass integer not null)")
    database.run(
      "create table files (folder integer not null, name text not null, stamp text not null, findings text, primary key (folder, name)) without rowid",
    )
    database.run(`pragma user_version = ${layout}`)
  }
  return database
}

/** A file that cannot be used is replaced by an empty one. */
export const openScanCache = (path: string) => {
  let database: Database
  try {
    database = open(path)
  } catch {
    rmSync(path, { force: true })
    database = open(path)
  }
  const folderOf = database.query<{ id: number }, { path: string; pass: number }>(
    "insert into folders (path, pass) values ($path, $pass) on conflict (path) do update set pass = $pass returning id",
  )
  const filesOf = database.query<{ name: string; stamp: string; findings: string | null }, { id: number }>(
    "select name, stamp, findings from files where folder = $id",
  )
  const put = database.query<null, { id: number; name: string; stamp: string; findings: string | null }>(
    "insert into files (folder, name, stamp, findings) values ($id, $name, $stamp, $findings) on conflict (folder, name) do update set stamp = $stamp, findings = $findings",
  )
  const drop = database.query<null, { id: number; name: string }>(
    "delete from files where folder = $id and name = $name",
  )
  const lastPass = database.query<{ pass: number | null }, []>("select max(pass) as pass from folders")
  let pass = 0
  let written = 0

  const commit = () => {
    if (database.inTransaction) database.run("commit")
    written = 0
  }
  const wrote = () => {
    written++
    if (written < commitEvery) return
    commit()
    database.run("begin")
  }

  return {
    begin(): void {
      pass = (lastPass.get()?.pass ?? 0) + 1
      database.run("begin")
    },

    /** The files of a folder that were there at the last scan. */
    folder(folder: string): { id: number; files: Map<string, KnownFile> } {
      const id = folderOf.get({ path: folder, pass })?.id ?? 0
      return { id, files: new Map(filesOf.all({ id }).map(({ name, ...known }) => [name, known])) }
    },

    put(id: number, name: string, known: KnownFile): void {
      put.run({ id, name, ...known })
      wrote()
    },

    drop(id: number, name: string): void {
      drop.run({ id, name })
      wrote()
    },

    /** Forgets the folders that this scan did not come by. */
    end(): void {
      database.run("delete from files where folder in (select id from folders where pass < ?)", [pass])
      database.run("delete from folders where pass < ?", [pass])
      commit()
    },

    close: (): void => database.close(),
  }
}
