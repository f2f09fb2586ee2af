/** The console's one script: behaviours of the whole document at once, islands as the page needs them. */
import { startDialogs } from "./dialogs.behaviour"
import { startForms } from "./forms.behaviour"
import { mountIslands } from "./mount"
import { startRelativeTimes } from "./relative-times.behaviour"
import { startRows } from "./rows.behaviour"
import { startShortcuts } from "./shortcuts.behaviour"
import { startUnsentForms } from "./unsent-form.behaviour"

startDialogs()
startForms()
startUnsentForms()
startRows()
startShortcuts()
startRelativeTimes()
mountIslands(document)
