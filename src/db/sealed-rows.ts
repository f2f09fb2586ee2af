/** Looks whether a database holds anything sealed, and proves at start that the passphrase opens it. */
import { isNotNull } from "drizzle-orm"
import type { Db } from "./db"

interface SealedRow {
  readonly what: string
  readonly sealed: Buffer
}

const oneSealedRow = async ({ t, read }: Db): Promise<SealedRow | null> => {
  const [caKey] = await read.select({ id: t.caKeys.issuerId, sealed: t.caKeys.encryptedKey }).from(t.caKeys).limit(1)
  if (caKey !== undefined) return { what: `CA key of issuer ${caKey.id}`, sealed: caKey.sealed }
  for (const [kind, table] of [
    ["issuer", t.issuers],
    ["target", t.deploymentTargets],
  ] as const) {
    const [row] = await read
      .select({ id: table.id, sealed: table.encryptedConfig })
      .from(table)
      .where(isNotNull(table.encryptedConfig))
      .limit(1)
    if (row?.sealed) return { what: `configuration of ${kind} ${row.id}`, sealed: row.sealed }
  }
  return null
}

export const hasSealedRows = async (db: Db): Promise<boolean> => (await oneSealedRow(db)) !== null

/** Throws what `unseal` throws when the passphrase is not the one the database was sealed with. */
export const openOneSealedRow = async (
  db: Db,
  unseal: (sealed: Uint8Array, what: string) => Promise<unknown>,
): Promise<void> => {
  const row = await oneSealedRow(db)
  if (row !== null) await unseal(row.sealed, row.what)
}
