/** `certctl migrate`: brings the database to the schema of this build, or back to an older one. */
import { readConfig } from "../config"
import { holdDataDirectory, prepareDataDirectory } from "../data-directory"
import { migrate } from "../db/migrate"
import { openDatabase } from "../db/open"
import { embeddedFolder } from "../embed"
import { nativeBindingIn } from "./native-binding"

/** `to`: a migration by name or number, `none` for an empty database; everything of this build when left out. */
export const migrateDatabase = async (
  env: Readonly<Record<string, string | undefined>>,
  to: string | undefined,
): Promise<number> => {
  const { dataDir, database } = readConfig(env)
  prepareDataDirectory(dataDir)
  const letGo = holdDataDirectory(dataDir, "server")
  try {
    const db = await openDatabase({
      url: database.url,
      dataDir,
      maxConnections: 1,
      nativeBinding: database.dialect === "sqlite" ? nativeBindingIn(dataDir) : undefined,
    })
    try {
      const { applied, reverted } = await migrate(db, { folder: embeddedFolder("drizzle"), to })
      for (const name of reverted) process.stdout.write(`reverted ${name}\n`)
      for (const name of applied) process.stdout.write(`applied ${name}\n`)
      if (applied.length + reverted.length === 0) process.stdout.write("nothing to do\n")
      return 0
    } finally {
      await db.close()
    }
  } finally {
    letGo()
  }
}
