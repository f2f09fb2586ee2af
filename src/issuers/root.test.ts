import { expect, test } from "bun:test"
import type { Db } from "../db/db"
import { parseCertificate } from "../pki/certificate"
import { sameName } from "../pki/distinguished-name"
import { keyFacts } from "../pki/keys"
import { certificateBlocks } from "../pki/pem"
import { verifyChain } from "../pki/trust"
import { openSealer } from "../secrets/sealing"
import { adminActor, operatorActor, viewerActor } from "../testing/api"
import { openConsole } from "../testing/console"
import { onEachDialect } from "../testing/on-each-dialect"
import { resourceApi, serviceParts } from "../testing/resource-api"
import { caKeyStore } from "./ca-key.store"
import { heldAuthorityService } from "./held-authority.service"
import { issuerRoutes } from "./issuer.routes"
import { issuerService } from "./issuer.service"
import { issuerStore } from "./issuer.store"
import { issuerDepsFor, publicUrlsOf } from "./issuer-deps"
import { rootRoutes } from "./root.routes"
import { rootService } from "./root.service"

const sealer = await openSealer({ passphrase: "a passphrase that is only for tests" })
const dayMs = 86_400_000
const settings = {
  keyType: "ecdsa-p256",
  commonName: "CertCtl Local CA",
  organization: "Example, Inc.",
  validityMs: 100 * dayMs,
  backdateMs: 900_000,
} as const

/** One server's services; two of them on one database stand for two servers. */
const serverOn = (db: Db) => {
  const parts = serviceParts(db)
  let aheadMs = 0
  const clock = { now: () => new Date(parts.clock.now().getTime() + aheadMs) }
  const common = { ...parts, clock, caKeys: caKeyStore(db), sealer }
  const heldAuthorities = heldAuthorityService({ ...common, settings })
  const pkiUrl = "http://pki.example"
  const depsFor = issuerDepsFor({
    fetch,
    clock,
    heldAuthorities,
    treeAuthority: async () => null,
    caKeyPassphrase: null,
    backdateMs: settings.backdateMs,
    pkiUrl,
  })
  const issuers = issuerService({ ...common, issuers: issuerStore(db), depsFor, fromEnvironment: [] })
  const crlUrls = (issuerId: string, authority: Parameters<ReturnType<typeof publicUrlsOf>>[0]) =>
    publicUrlsOf(pkiUrl, issuerId)(authority).crl
  const roots = rootService({ ...common, issuers, heldAuthorities, crlUrls })
  const sendAs = (actor = adminActor) =>
    resourceApi("issuers", issuerRoutes(issuers).route("/", rootRoutes(roots)), actor)
  return {
    ...parts,
    issuers,
    roots,
    sendAs,
    send: sendAs(),
    pass: (ms: number) => {
      aheadMs += ms
    },
  }
}

type Server = ReturnType<typeof serverOn>

const create = async ({ send }: Server, more: object = {}): Promise<string> =>
  (await send("POST", "", { name: "Lab CA", type: "local", ...more })).body.id

/** An issuer that has made its root. */
const createWithRoot = async (server: Server, more: object = {}): Promise<string> => {
  const id = await create(server, more)
  await server.issuers.caChainOf(id)
  return id
}

onEachDialect("roots of an issuer", (openDb) => {
  test("are rolled over with certificates in both directions, under the same name", async () => {
    const server = serverOn(await openDb())
    const { send, actionsOn } = server
    const id = await createWithRoot(server)
    const [first] = (await send("GET", `/${id}/roots`)).body.data
    expect(first.state).toBe("active")
    const answer = await send("POST", `/${id}/roots`, { key_type: "ecdsa-p384" })
    expect(answer.status).toBe(201)
    const [second, former] = answer.body.data
    expect(former).toEqual({ ...first, state: "former" })

    const at = new Date(second.created_at)
    const [oldRoot, newRoot, newWithOld, oldWithNew] = [
      first.cert_pem,
      second.cert_pem,
      second.new_with_old_pem,
      second.old_with_new_pem,
    ].map((pem: string) => parseCertificate(pem))
    if (!oldRoot || !newRoot || !newWithOld || !oldWithNew) throw new Error("a certificate is missing")
    expect(keyFacts(newRoot.spkiDer)).toMatchObject({ algorithm: "ECDSA", size: 384 })
    expect(sameName(newRoot.subjectDer, oldRoot.subjectDer)).toBe(true)
    expect(verifyChain(newWithOld.der, [oldRoot.der], at)).toBeNull()
    expect(verifyChain(oldWithNew.der, [newRoot.der], at)).toBeNull()
    expect([newWithOld.ski, newWithOld.aki]).toEqual([second.key_id, first.key_id])
    expect([oldWithNew.ski, oldWithNew.aki]).toEqual([first.key_id, second.key_id])
    expect(newWithOld.crlUrls).toEqual([`http://pki.example/.well-known/pki/crl/${id}?ca=${first.key_id}`])
    expect(newWithOld.notAfter).toEqual(oldRoot.notAfter)
    expect(await actionsOn(id)).toEqual(["create_issuer", "ca_key_created", "ca_key_rolled_over"])
  })

  test("are rolled over once when two servers are asked at the same moment", async () => {
    const db = await openDb()
    const [one, two] = [serverOn(db), serverOn(db)]
    const id = await createWithRoot(one)
    await two.issuers.caChainOf(id)
    const answers = await Promise.all([one, two].map(({ send }) => send("POST", `/${id}/roots`)))
    const statuses = answers.map(({ status }) => status).sort()
    // The second one may also have begun after the first had ended.
    expect([
      [201, 201],
      [201, 409],
    ]).toContainEqual(statuses)
    const [mine, theirs] = await Promise.all([one, two].map(({ roots }) => roots.list(id)))
    expect(mine).toEqual(theirs ?? [])
    expect(mine?.filter(({ state }) => state === "active")).toHaveLength(1)
    expect(await one.issuers.caChainOf(id)).toBe(await two.issuers.caChainOf(id))
  })

  test("that were replaced are handed out until they expire or are retired", async () => {
    const server = serverOn(await openDb())
    const id = await createWithRoot(server)
    const [first] = await server.roots.list(id)
    const handedOut = async () => certificateBlocks(await server.issuers.caChainOf(id)).length
    expect(await handedOut()).toBe(1)
    await server.send("POST", `/${id}/roots`)
    expect(await handedOut()).toBe(4)
    server.pass(50 * dayMs)
    await server.send("POST", `/${id}/roots`)
    expect(await handedOut()).toBe(7)
    expect(await server.issuers.authoritiesOf(id)).toHaveLength(3)

    // The first and the second end after 100 days.
    server.pass(60 * dayMs)
    expect(await handedOut()).toBe(1)
    expect((await server.roots.list(id)).map(({ state }) => state)).toEqual(["active", "retired", "retired"])
    // What has expired has signed nothing that has not.
    expect(await server.issuers.authoritiesOf(id)).toHaveLength(1)

    await server.send("POST", `/${id}/roots`)
    const former = (await server.roots.list(id)).find(({ state }) => state === "former")
    expect(await handedOut()).toBe(4)
    const retire = () => server.send("POST", `/${id}/roots/${former?.ski.toUpperCase()}/retire`)
    expect((await retire()).status).toBe(200)
    expect(await handedOut()).toBe(1)
    expect((await retire()).body.message).toBe(`root ${former?.ski} of issuer ${id} is retired already`)
    expect((await server.send("POST", `/${id}/roots/${first?.ski}/retire`)).status).toBe(409)
    expect(await server.issuers.authoritiesOf(id)).toHaveLength(2)
  })

  test("are refused a roll-over where there is nothing to roll over", async () => {
    const server = serverOn(await openDb())
    const { send } = server
    const empty = await create(server)
    expect((await send("GET", `/${empty}/roots`)).body).toEqual({ data: [] })
    const words = async (id: string) => {
      const { status, body } = await send("POST", `/${id}/roots`)
      return [status, body.message]
    }
    expect(await words(empty)).toEqual([409, `issuer ${empty} has no root yet: it is made when it first issues`])
    const elsewhere = [501, "does not sign with a root that is kept here"] as const
    const inTree = await create(server, { name: "tree", hierarchy_mode: "tree" })
    expect(await words(inTree)).toEqual([elsewhere[0], `issuer ${inTree} ${elsewhere[1]}`])
    const config = { ca_cert_path: "/nowhere/ca.pem", ca_key_path: "/nowhere/ca.key" }
    const fromFiles = await create(server, { name: "files", config })
    expect(await words(fromFiles)).toEqual([elsewhere[0], `issuer ${fromFiles} ${elsewhere[1]}`])
    expect((await send("POST", "/iss-none/roots")).status).toBe(404)
    expect((await send("POST", `/${empty}/roots/abcd/retire`)).status).toBe(404)
    expect((await send("POST", `/${empty}/roots`, { key_type: "dsa" })).status).toBe(400)

    const id = await createWithRoot(server, { name: "with a root" })
    const [root] = await server.roots.list(id)
    expect((await send("POST", `/${id}/roots/${root?.ski}/retire`)).body.message).toBe(
      `root ${root?.ski} signs for issuer ${id}; roll it over first`,
    )
  })

  test("take over from one that has expired without anything that leads from it", async () => {
    const server = serverOn(await openDb())
    const id = await createWithRoot(server)
    server.pass(200 * dayMs)
    const answer = await server.send("POST", `/${id}/roots`)
    expect(answer.body.data).toMatchObject([{ state: "active" }, { state: "retired" }])
    expect(answer.body.data[0].new_with_old_pem).toBeUndefined()
    expect(certificateBlocks(await server.issuers.caChainOf(id))).toHaveLength(1)
  })

  test("are seen by everybody and rolled over by administrators", async () => {
    const server = serverOn(await openDb())
    const id = await createWithRoot(server)
    for (const actor of [viewerActor, operatorActor]) {
      expect((await server.sendAs(actor)("GET", `/${id}/roots`)).status).toBe(200)
      expect((await server.sendAs(actor)("POST", `/${id}/roots`)).status).toBe(403)
      expect((await server.sendAs(actor)("POST", `/${id}/roots/abcd/retire`)).status).toBe(403)
    }
  })

  test("stand on the issuer's page, where administrators roll them over and retire them", async () => {
    const { visitor, services } = await openConsole(await openDb())
    const id = (await services.issuers.create({ name: "Lab", type: "local", config: {}, enabled: true }, adminActor)).id
    await services.issuers.caChainOf(id)
    const [root] = await services.roots.list(id)
    const [admin, operator] = [await visitor("admin"), await visitor("operator")]
    expect((await operator.get(`/issuers/${id}`)).text).not.toContain("/roll-over")
    expect((await operator.post(`/issuers/${id}/roll-over`)).status).toBe(403)
    expect((await admin.get(`/issuers/${id}`)).text).toContain(`/issuers/${id}/roll-over`)
    expect((await admin.get(`/issuers/${id}/roll-over`)).text).toContain("Roll over the root of Lab?")
    expect((await admin.post(`/issuers/${id}/roll-over`)).location).toBe(`/issuers/${id}?notice=root-rolled-over`)
    const retire = `/issuers/${id}/roots/${root?.ski}/retire`
    expect((await admin.get(`/issuers/${id}`)).text).toContain(retire)
    expect((await admin.get(retire)).text).toContain("Retire this former root?")
    expect((await admin.post(retire)).location).toBe(`/issuers/${id}?notice=root-retired`)
    expect((await services.roots.list(id)).map(({ state }) => state)).toEqual(["active", "retired"])
  })
})
