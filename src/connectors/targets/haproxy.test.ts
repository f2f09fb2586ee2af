/** The HAProxy target against a real HAProxy with a master and workers. */
import { expect, setDefaultTimeout, test } from "bun:test"
import { mkdirSync, readdirSync, writeFileSync } from "node:fs"
import { fileTargetScenarios, type PeerStage } from "../../testing/file-target-scenarios"
import { freePort } from "../../testing/free-port"
import { peer } from "../../testing/peers"
import { until } from "../../testing/until"
import { probe } from "../probe"
import { haproxy } from "./haproxy"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(60_000)

const program = peer("haproxy", "haproxy")

/**
 * Waits until the old worker is gone: a signal that comes while the master starts anew is lost, which it still does when it has
 * said "Loading success". `name` is that of the program.
 */
const reloadScript = (stage: PeerStage, name: string, master: number): string =>
  stage.script(
    `reload-${name}`,
    `gone() { grep -c "Former worker .* exited" ${stage.at(`${name}.err`)}; }
     before=$(gone)
     kill -USR2 ${master}
     while [ "$(gone)" = "$before" ]; do sleep 0.02; done`,
  )

fileTargetScenarios(
  {
    connector: haproxy,
    program,
    refusal: {
      hasForeignKey: true,
      words: /the check of the new files failed: .*inconsistencies between private key and certificate/s,
    },
    start(stage, executable) {
      const { port, first, at } = stage
      writeFileSync(
        at("haproxy.cfg"),
        `global
         maxconn 200
       defaults
         mode http
         timeout client 5s
         timeout server 5s
         timeout connect 5s
       frontend site
         bind 127.0.0.1:${port} ssl crt ${first.combined}
         http-request return status 200 content-type text/plain string ok\n`,
      )
      const master = stage.run([executable, "-W", "-db", "-f", at("haproxy.cfg")], {
        name: "haproxy",
        lastSignal: "SIGTERM",
      })
      return {
        config: {
          pem_path: first.combined,
          validate_command: `${executable} -c -f ${at("haproxy.cfg")}`,
          reload_command: reloadScript(stage, "haproxy", master.pid),
        },
        files: [first.combined],
        elsewhere: (folder) => ({ pem_path: `${folder}/site.pem` }),
      }
    },
  },
  (run) => {
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
  },
)
