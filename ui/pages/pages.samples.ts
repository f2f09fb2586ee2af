/** One specimen of every page in its telling states, for the tests that look at all pages. Never served. */
import { bareMessagePage, messagePage } from "./message.page"
import { activitySamples } from "./samples/activity.sample"
import { agentSamples } from "./samples/agents.sample"
import { approvalSamples } from "./samples/approvals.sample"
import { certificateSamples } from "./samples/certificate.sample"
import { certificateListSamples } from "./samples/certificates.sample"
import { connectorSamples } from "./samples/connectors.sample"
import { dashboardSamples } from "./samples/dashboard.sample"
import { at, type Samples } from "./samples/frame.sample"
import { notificationSamples } from "./samples/notifications.sample"
import { peopleSamples } from "./samples/people.sample"
import { ruleSamples } from "./samples/rules.sample"
import { searchSamples } from "./samples/search.sample"
import { signInPage } from "./sign-in.page"

/** Page name to its markup. */
export const samplePages: Samples = {
  "sign-in": () => signInPage({ frame: at("/login"), back: "/", problem: null }),
  "sign-in-wrong": () => signInPage({ frame: at("/login"), back: "/certificates", problem: "wrong-key" }),
  "sign-in-expired": () => signInPage({ frame: at("/login"), back: "/certificates", problem: "expired" }),
  "not-found": () =>
    messagePage(at("/nowhere"), { kind: "not-found", requestId: "7b0d2c1e-0000-4000-8000-000000000000" }),
  "failed-bare": () => bareMessagePage(at("/"), { kind: "failed", requestId: "7b0d2c1e-0000-4000-8000-000000000000" }),
  ...dashboardSamples,
  ...certificateListSamples,
  ...certificateSamples,
  ...agentSamples,
  ...activitySamples,
  ...approvalSamples,
  ...notificationSamples,
  ...connectorSamples,
  ...ruleSamples,
  ...peopleSamples,
  ...searchSamples,
}
