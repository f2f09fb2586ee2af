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
  const ras = t.scepRegistrationAuthorities
  const [ra] = await read.select({ id: ras.issuerId, sealed: ras.encryptedKey }).from(ras).limit(1)
  if (ra !== undefined) return { what: `SCEP RA key of issuer ${ra.id}`, sealed: ra.sealed }
  const externals = t.acmeExternalAccounts
  const [external] = await read.select({ id: externals.id, sealed: externals.encryptedKey }).from(externals).limit(1)
  return external === undefined ? null : { what: `external account ${external.id}`, sealed: external.sealed }
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
