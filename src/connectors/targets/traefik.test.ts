/** The Traefik target against a real Traefik. */
import { expect, setDefaultTimeout, test } from "bun:test"
import { fileTargetScenarios } from "../../testing/file-target-scenarios"
import { traefikProduct } from "../../testing/products/traefik.product"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(90_000)

fileTargetScenarios(traefikProduct, (run) => {
  test("has its old files back when the new key does not match: it would serve a certificate of its own", async () => {
    const { deploy, leaf, current, onDisk, serves } = run()
    const [before, old] = [await current(), onDisk()]
    const [one, other] = [await leaf(), await leaf()]
    await expect(deploy(one, {}, { keyPem: other.keyPem })).rejects.toThrow(
      /the proof on the wire failed: .*; the previous files were restored/,
    )
    expect(onDisk()).toEqual(old)
    await serves(before)
  })
})
