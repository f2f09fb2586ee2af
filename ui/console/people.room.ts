/** Teams and owners. */
import { Hono } from "hono"
import { NewOwnerBody, OwnerPatchBody } from "../../src/owners/owner.schema"
import type { ApiEnv } from "../../src/server/operation"
import { parseInput } from "../../src/server/validation"
import { NewTeamBody, TeamPatchBody } from "../../src/teams/team.schema"
import { ownerSections, ownersPage, teamSections, teamsPage } from "../pages/teams.page"
import { html } from "../parts/markup"
import { operators, type Resource, resourceForms, type Typed } from "./resource.room"
import { type ConsoleDeps, frameOf, listOf, page } from "./room"

const teamBody = (typed: Typed) => ({ name: typed.text("name"), description: typed.text("description") })
const ownerBody = (typed: Typed) => ({
  name: typed.text("name"),
  email: typed.text("email"),
  team_id: typed.text("team_id"),
})

export const peopleRoom = (deps: ConsoleDeps) => {
  const { teams, owners, inventory } = deps

  const team: Resource = {
    path: "/teams",
    noun: "team",
    label: "Teams",
    gate: operators,
    hasPage: false,
    sections: async () => teamSections,
    async find(id) {
      const { name, description } = await teams.get(id)
      return { name, kind: "", values: { name, description } }
    },
    create: async (typed, _, actor) => (await teams.create(await parseInput(NewTeamBody, teamBody(typed)), actor)).id,
    update: async (id, typed, _, actor) => teams.update(id, await parseInput(TeamPatchBody, teamBody(typed)), actor),
    remove: teams.remove,
    removal: (id) =>
      html`<p>A team that owners or <a href=${`/certificates?${new URLSearchParams({ team_id: id })}`}>certificates</a> still belong to cannot be deleted: reassign them first.</p>`,
  }

  const owner: Resource = {
    path: "/owners",
    noun: "owner",
    label: "Owners",
    gate: operators,
    hasPage: false,
    sections: async () =>
      ownerSections((await inventory.choices()).teams.map(({ id, name }) => ({ value: id, label: name }))),
    async find(id) {
      const { name, email, teamId } = await owners.get(id)
      return { name, kind: "", values: { name, email, team_id: teamId ?? "" } }
    },
    create: async (typed, _, actor) =>
      (await owners.create(await parseInput(NewOwnerBody, ownerBody(typed)), actor)).id,
    update: async (id, typed, _, actor) => owners.update(id, await parseInput(OwnerPatchBody, ownerBody(typed)), actor),
    remove: owners.remove,
    removal: (id) =>
      html`<p>An owner of <a href=${`/certificates?${new URLSearchParams({ owner_id: id })}`}>certificates</a> cannot be deleted: give them to somebody else first.</p>`,
  }

  return new Hono<ApiEnv>()
    .get("/teams", async (c) => {
      const { state, page: number, pageSize, range } = listOf(c)
      const [frame, { rows, total }] = await Promise.all([
        frameOf(deps, c),
        teams.list({ search: state.params.q }, range),
      ])
      const ids = rows.map(({ id }) => id)
      const [ownersOf, certificatesOf] = await Promise.all([
        inventory.usage.ownersOfTeams(ids),
        inventory.usage.certificatesOfTeams(ids),
      ])
      return page(
        c,
        teamsPage({
          frame,
          state,
          paging: { page: number, pageSize, total },
          rows: rows.map((row) => ({
            ...row,
            owners: ownersOf.get(row.id) ?? 0,
            certificates: certificatesOf.get(row.id) ?? 0,
          })),
        }),
      )
    })
    .route("/", resourceForms(deps, team))
    .get("/owners", async (c) => {
      const { state, page: number, pageSize, range } = listOf(c)
      const [frame, { rows, total }] = await Promise.all([
        frameOf(deps, c),
        owners.list({ search: state.params.q }, range),
      ])
      const [teamNames, certificatesOf] = await Promise.all([
        inventory.teamNames(rows.map(({ teamId }) => teamId)),
        inventory.usage.certificatesOfOwners(rows.map(({ id }) => id)),
      ])
      return page(
        c,
        ownersPage({
          frame,
          state,
          paging: { page: number, pageSize, total },
          rows: rows.map((row) => ({
            ...row,
            team: teamNames.get(row.teamId ?? "") ?? null,
            certificates: certificatesOf.get(row.id) ?? 0,
          })),
        }),
      )
    })
    .route("/", resourceForms(deps, owner))
}
