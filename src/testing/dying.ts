/** Runs `deploy-once.ts` and says how it ended. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import type { OneDeployment } from "./deploy-once"

export type Ending = "done" | "failed" | "died"

/** `file`: where the description is written, readable for its owner alone: it holds keys. */
export const runOnce = async (file: string, deployment: OneDeployment): Promise<{ ending: Ending; output: string }> => {
  writeFileSync(file, JSON.stringify(deployment), { mode: 0o600 })
  const child = Bun.spawn([process.execPath, "test", "./src/testing/deploy-once.ts"], {
    cwd: join(import.meta.dir, "../.."),
    env: { PATH: process.env.PATH ?? "", HOME: process.env.HOME ?? "/", CERTCTL_ONE_DEPLOYMENT: file },
    stdio: ["ignore", "pipe", "pipe"],
  })
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  const ending = child.signalCode === "SIGKILL" ? "died" : code === 0 ? "done" : "failed"
  return { ending, output: out + err }
}
