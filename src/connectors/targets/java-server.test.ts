/** The Java keystore target with a Java server. */
import { expect, setDefaultTimeout, test } from "bun:test"
import { readdirSync, readFileSync } from "node:fs"
import { fileTargetScenarios } from "../../testing/file-target-scenarios"
import { javaServerProducts } from "../../testing/products/java-server.product"

// Every look into a store is a Java virtual machine of its own.
setDefaultTimeout(120_000)

for (const product of javaServerProducts) {
  fileTargetScenarios(product, (run) => {
    test("has the store of before in its backup, and nothing is left in the agent's private folder", async () => {
      const { stage, peer: server, deploy, leaf } = run()
      const before = readFileSync(server.files[0] ?? "")
      const { backups } = await deploy(await leaf())
      expect(backups.map((backup) => readFileSync(backup).equals(before))).toEqual([true])
      expect(readdirSync(stage.at("agent/state"))).toEqual([])
    })
  })
}
