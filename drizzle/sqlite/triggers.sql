-- What the audit trail has recorded stays as it is. Runs after every migration, up or down: a rebuilt table loses its triggers.
drop trigger if exists audit_events_no_update;
--> statement-breakpoint
create trigger audit_events_no_update before update on audit_events begin
  select raise(abort, 'audit_events is append-only: rows are never changed');
end;
--> statement-breakpoint
drop trigger if exists audit_events_no_delete;
--> statement-breakpoint
create trigger audit_events_no_delete before delete on audit_events begin
  select raise(abort, 'audit_events is append-only: rows are never deleted');
end;
--> statement-breakpoint
drop trigger if exists audit_leaves_no_update;
--> statement-breakpoint
create trigger audit_leaves_no_update before update on audit_leaves begin
  select raise(abort, 'audit_leaves is append-only: rows are never changed');
end;
--> statement-breakpoint
drop trigger if exists audit_leaves_no_delete;
--> statement-breakpoint
create trigger audit_leaves_no_delete before delete on audit_leaves begin
  select raise(abort, 'audit_leaves is append-only: rows are never deleted');
end;
--> statement-breakpoint
-- INSERT OR REPLACE deletes the row that is in its way without firing the triggers of DELETE (unless recursive_triggers is on, which is
-- up to each connection): it is refused before it gets that far. A rowid that is not given reads -1 here.
drop trigger if exists audit_events_no_replace;
--> statement-breakpoint
create trigger audit_events_no_replace before insert on audit_events
when exists (select 1 from audit_events where id = new.id) or exists (select 1 from audit_events where rowid = new.rowid) begin
  select raise(abort, 'audit_events is append-only: rows are never replaced');
end;
--> statement-breakpoint
drop trigger if exists audit_leaves_no_replace;
--> statement-breakpoint
create trigger audit_leaves_no_replace before insert on audit_leaves
when exists (select 1 from audit_leaves where seq = new.seq) or exists (select 1 from audit_leaves where event_id = new.event_id) begin
  select raise(abort, 'audit_leaves is append-only: rows are never replaced');
end;
