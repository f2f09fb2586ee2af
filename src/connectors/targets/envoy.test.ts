/** The Envoy target against a real Envoy. */
import { expect, setDefaultTimeout, test } from "bun:test"
import { readFileSync } from "node:fs"
import { fileTargetScenarios } from "../../testing/file-target-scenarios"
import { envoyProduct } from "../../testing/products/envoy.product"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(60_000)

fileTargetScenarios(envoyProduct, (run) => {
  test("goes on with the pair it had when the new one does not match, and the old files come back", async () => {
    const { stage, deploy, leaf, current, onDisk, serves } = run()
    const [before, old] = [await current(), onDisk()]
    const [one, other] = [await leaf(), await leaf()]
    await expect(deploy(one, { post_deploy_verify_attempts: 3 }, { keyPem: other.keyPem })).rejects.toThrow(
      /the proof on the wire failed: .* instead of .*; the previous files were restored/,
    )
    expect(onDisk()).toEqual(old)
    await serves(before)
    expect(readFileSync(stage.at("envoy.err"), "utf8")).toContain("KEY_VALUES_MISMATCH")
    const next = await leaf()
    await deploy(next)
    await serves(next.fingerprint)
  })
})
