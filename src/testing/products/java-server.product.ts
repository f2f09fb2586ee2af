/** A Java server that reads its store, for every connection, with nothing but its password. */
import { chmodSync, writeFileSync } from "node:fs"
import { javaKeystore } from "../../connectors/targets/java-keystore"
import { pkcs12KeyStore } from "../../pki/pkcs12-key-store"
import { peer } from "../peers"
import type { FileProduct, PeerStage } from "./product"

const keytool = peer("keytool", "default-jre-headless")
// The compiler is what runs a source file; it comes with a java.
const java = peer("javac", "default-jdk-headless") === null ? null : Bun.which("java")
const password = 'ch4ngeit "quoted"'

const serverSource = `
import java.io.FileInputStream; import java.net.*; import java.security.KeyStore; import javax.net.ssl.*;
public class Server {
  public static void main(String[] args) throws Exception {
    char[] password = System.getenv("STORE_PASSWORD").toCharArray();
    ServerSocket listener = new ServerSocket(Integer.parseInt(args[2]), 50, InetAddress.getByName("127.0.0.1"));
    while (true) {
      Socket plain = listener.accept();
      try {
        KeyStore store = KeyStore.getInstance(args[1]);
        try (FileInputStream in = new FileInputStream(args[0])) { store.load(in, password); }
        KeyManagerFactory keys = KeyManagerFactory.getInstance("SunX509");
        keys.init(store, password);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), null, null);
        SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket(plain, null, true);
        socket.setUseClientMode(false); socket.startHandshake(); socket.close();
      } catch (Exception e) { plain.close(); }
    }
  }
}`

const env = { STORE_PASSWORD: password }

/** A store with the first pair under the alias that is deployed to later. */
const makeStore = async ({ at, pair }: PeerStage, path: string, type: string): Promise<void> => {
  writeFileSync(at("first.p12"), pkcs12KeyStore({ ...pair, password }), { mode: 0o600 })
  const from = ["-srckeystore", at("first.p12"), "-srcstoretype", "PKCS12", "-srcalias", "1"]
  const to = ["-destkeystore", path, "-deststoretype", type, "-destalias", "server"]
  const passwords = ["-srcstorepass:env", "-deststorepass:env", "-destkeypass:env"].flatMap((option) => [
    option,
    "STORE_PASSWORD",
  ])
  const { exitCode, stdout } = Bun.spawnSync(
    [keytool ?? "", "-importkeystore", ...from, ...to, ...passwords, "-noprompt"],
    { env: { PATH: process.env.PATH ?? "", ...env } },
  )
  if (exitCode !== 0) throw new Error(stdout.toString())
  // keytool leaves it to the umask.
  chmodSync(path, 0o600)
}

const javaServer = (type: "PKCS12" | "JKS"): FileProduct => ({
  connector: javaKeystore,
  name: `a Java server with a ${type} store`,
  program: keytool === null ? null : java,
  isReloaded: false,
  readsAlways: true,
  // keytool runs in each of these processes.
  stepsApart: 7,
  renewals: 2,
  async start(stage, program) {
    const path = stage.at("tls/server.ks")
    await makeStore(stage, path, type)
    writeFileSync(stage.at("Server.java"), serverSource)
    stage.run([program, stage.at("Server.java"), path, type, String(stage.port)], { name: "java", env })
    return {
      config: { keystore_path: path, keystore_password: password, keystore_type: type },
      files: [path],
      stores: [path],
      elsewhere: (folder) => ({ keystore_path: `${folder}/server.ks` }),
    }
  },
})

export const javaServerProducts: readonly FileProduct[] = [javaServer("PKCS12"), javaServer("JKS")]
