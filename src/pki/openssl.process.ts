/** Runs the machine's openssl, the second opinion of the tests in this folder. */
import { spawnSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

export interface OpensslAnswer {
  readonly ok: boolean
  /** Standard output and standard error. */
  readonly text: string
}

/** Runs openssl in a folder that holds `files` and is removed afterwards; arguments name the files relatively. */
export const openssl = (
  args: readonly string[],
  files: Readonly<Record<string, string | Buffer>> = {},
): OpensslAnswer => {
  const folder = mkdtempSync(join(tmpdir(), "certctl-openssl-"))
  try {
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content, { mode: 0o600 })
    const { status, stdout, stderr, error } = spawnSync("openssl", args, {
      cwd: folder,
      encoding: "utf8",
      timeout: 20_000,
    })
    if (error !== undefined) throw error
    return { ok: status === 0, text: stdout + stderr }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
