/** The HAProxy target against a real HAProxy with a master and workers. */
import { expect, setDefaultTimeout, test } from "bun:test"
import { mkdirSync, readdirSync, writeFileSync } from "node:fs"
import { fileTargetScenarios } from "../../testing/file-target-scenarios"
import { freePort } from "../../testing/free-port"
import { haproxyProduct, reloadScript } from "../../testing/products/haproxy.product"
import { until } from "../../testing/until"
import { probe } from "../probe"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(60_000)

const { program } = haproxyProduct

fileTargetScenarios(haproxyProduct, (run) => {
  test("that reads a whole folder prefers the file to the backups beside it", async () => {
    const { stage, deploy, leaf } = run()
    const port = await freePort()
    mkdirSync(stage.at("folder"))
    await Bun.write(stage.at("folder/site.pem"), Bun.file(stage.first.combined))
    writeFileSync(
      stage.at("folder.cfg"),
      `global\n maxconn 50\ndefaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s
       frontend site\n bind 127.0.0.1:${port} ssl crt ${stage.at("folder")}
         http-request return status 200\n`,
    )
    const master = stage.run([program ?? "", "-W", "-db", "-f", stage.at("folder.cfg")], {
      name: "haproxy-folder",
      lastSignal: "SIGTERM",
    })
    const config = {
      pem_path: stage.at("folder/site.pem"),
      validate_command: `${program} -c -f ${stage.at("folder.cfg")}`,
      reload_command: reloadScript(stage, "haproxy-folder", master.pid),
      verify_port: port,
    }
    await until("it serves", async () => (await probe({ host: "127.0.0.1", port, timeoutMs: 5000 })).ok)
    for (let round = 0; round < 3; round++) await deploy(await leaf(), config)
    expect(readdirSync(stage.at("folder"))).toHaveLength(3)
  })
})
