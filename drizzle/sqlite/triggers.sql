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
