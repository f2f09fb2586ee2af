/** `certctl audit verify`: proves from the database alone that the audit trail is what was written. */
import { leafStore } from "../audit/leaf.store"
import { type NotedRoot, verifyTrail } from "../audit/verification"
import { readConfig } from "../config"
import type { Env } from "../config/environment"
import { openReader } from "../db/reader"
import { nativeBindingIn } from "./native-binding"
import { lines, note, print } from "./output"

const progressEveryMs = 5000

/** 0 when all is as it was written, otherwise 1 with the first thing that is not. */
export const verifyAuditTrail = async (env: Env, noted: NotedRoot | null): Promise<0 | 1> => {
  const { dataDir, database } = readConfig(env)
  const reader = await openReader({
    url: database.url,
    dataDir,
    maxConnections: 1,
    nativeBinding: database.dialect === "sqlite" ? nativeBindingIn(dataDir) : undefined,
  })
  try {
    let toldAt = performance.now()
    const { size, root, unsealed, problem } = await verifyTrail({
      leaves: leafStore(reader),
      noted,
      onProgress(done, total) {
        if (performance.now() - toldAt < progressEveryMs) return
        toldAt = performance.now()
        note(`${done} of ${total} events`)
      },
    })
    if (problem !== null) {
      note(`certctl: the audit trail was tampered with or damaged: ${problem}`)
      return 1
    }
    print(
      lines([
        ["Events", size],
        ["Root hash", root],
        ["Not sealed yet", unsealed],
      ]),
    )
    note(
      "Nothing was changed. Note size and root hash elsewhere: a later run proves with them that nothing was cut off.",
    )
    return 0
  } finally {
    await reader.close()
  }
}
