/** Teams, owners and API keys. */
import { confirmPage } from "../confirm.page"
import { disableQuestion, type KeyRow, keySections, keyShownPage, keysPage, rotateQuestion } from "../keys.page"
import { resourceFormPage } from "../resource-form.page"
import { ownerSections, ownersPage, teamSections, teamsPage } from "../teams.page"
import { ago, at, DAY, deletion, list, longName, MINUTE, noRows, option, type Samples, viewer } from "./frame.sample"

const teams = [
  {
    id: "t-1",
    name: "Platform",
    description: "Runs the edge",
    owners: 4,
    certificates: 812,
    createdAt: ago(300 * DAY),
  },
  { id: "t-2", name: longName, description: longName, owners: 0, certificates: 0, createdAt: ago(DAY) },
]
const owners = [
  {
    id: "o-1",
    name: "Ada Lovelace",
    email: "ada@example.com",
    team: { id: "t-1", name: "Platform" },
    certificates: 44,
    createdAt: ago(300 * DAY),
  },
  { id: "o-2", name: longName, email: "", team: null, certificates: 0, createdAt: ago(DAY) },
]
const keys: KeyRow[] = [
  {
    id: "key-1",
    name: "ci-deploy",
    principal: "ci",
    role: "operator",
    createdAt: ago(90 * DAY),
    lastUsedAt: ago(4 * MINUTE),
    disabledAt: null,
  },
  {
    id: "key-2",
    name: "ops-lead",
    principal: "ops-lead",
    role: "admin",
    createdAt: ago(200 * DAY),
    lastUsedAt: ago(MINUTE),
    disabledAt: null,
  },
  {
    id: "key-3",
    name: "old-auditor",
    principal: "auditor",
    role: "viewer",
    createdAt: ago(400 * DAY),
    lastUsedAt: null,
    disabledAt: ago(30 * DAY),
  },
]
const oneAndTwo = { page: 1, pageSize: 50, total: 2 }
const upToKeys = { label: "API keys", href: "/keys" }

export const peopleSamples: Samples = {
  teams: () => teamsPage({ frame: at("/teams"), state: list("/teams"), paging: oneAndTwo, rows: teams }),
  "teams-viewer": () =>
    teamsPage({ frame: at("/teams", viewer), state: list("/teams"), paging: oneAndTwo, rows: teams }),
  "teams-empty": () => teamsPage({ frame: at("/teams"), state: list("/teams"), paging: noRows, rows: [] }),
  "teams-no-match": () => teamsPage({ frame: at("/teams?q=x"), state: list("/teams?q=x"), paging: noRows, rows: [] }),
  "team-new-errors": () =>
    resourceFormPage({
      frame: at("/teams/new"),
      title: "New team",
      up: { label: "Teams", href: "/teams" },
      action: "/teams/new",
      submit: "Create team",
      sections: teamSections,
      values: { name: "Platform", description: "Runs the edge" },
      errors: { name: 'A team with the name "Platform" exists already' },
    }),
  "team-delete-refused": () =>
    confirmPage(
      at("/teams/t-1/delete"),
      deletion("Platform", "Team t-1 is still referred to by owners or certificates; reassign them first."),
      { label: "Teams", href: "/teams" },
    ),
  owners: () => ownersPage({ frame: at("/owners"), state: list("/owners"), paging: oneAndTwo, rows: owners }),
  "owner-edit": () =>
    resourceFormPage({
      frame: at("/owners/o-1/edit"),
      title: "Edit Ada Lovelace",
      up: { label: "Owners", href: "/owners" },
      action: "/owners/o-1/edit",
      submit: "Save changes",
      sections: ownerSections([option("t-1", "Platform")]),
      values: { name: "Ada Lovelace", email: "ada@example.com", team_id: "t-1" },
      errors: {},
    }),
  keys: () => keysPage({ frame: at("/keys"), state: list("/keys"), paging: { ...oneAndTwo, total: 3 }, rows: keys }),
  "key-new": () =>
    resourceFormPage({
      frame: at("/keys/new"),
      title: "New API key",
      up: upToKeys,
      action: "/keys/new",
      submit: "Create key",
      sections: keySections,
      values: { role: "viewer" },
      errors: {},
    }),
  "key-shown": () =>
    keyShownPage({
      frame: at("/keys/new"),
      name: "ci-deploy",
      role: "operator",
      key: `certctl_${"Zm9vYmFyYmF6".repeat(3)}`,
      isRotated: true,
    }),
  "key-rotate": () =>
    confirmPage(
      at("/keys/key-1/rotate"),
      rotateQuestion({ id: "key-1", name: "ci-deploy" }, "0a1b", "It was rotated since this form was made."),
      upToKeys,
    ),
  "key-disable": () =>
    confirmPage(at("/keys/key-1/disable"), disableQuestion({ id: "key-1", name: "ci-deploy" }), upToKeys),
}
