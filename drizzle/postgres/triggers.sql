-- What the audit trail has recorded stays as it is. Runs after every migration, up or down: a rebuilt table loses its triggers.
create or replace function certctl_refuse_change() returns trigger language plpgsql as $$
begin
  -- Retention is another role's right, so that whoever takes over the service cannot erase its traces.
  if tg_op = 'DELETE' and current_user = 'certctl_retention' then
    return old;
  end if;
  raise exception '% is append-only: % is refused', tg_table_name, lower(tg_op)
    using errcode = 'check_violation',
          hint = 'Only the database role certctl_retention may delete old rows.';
end;
$$;
--> statement-breakpoint
create or replace trigger audit_events_append_only before update or delete on audit_events
  for each row execute function certctl_refuse_change();
--> statement-breakpoint
create or replace trigger audit_events_no_truncate before truncate on audit_events
  for each statement execute function certctl_refuse_change();
--> statement-breakpoint
create or replace trigger audit_leaves_append_only before update or delete on audit_leaves
  for each row execute function certctl_refuse_change();
--> statement-breakpoint
create or replace trigger audit_leaves_no_truncate before truncate on audit_leaves
  for each statement execute function certctl_refuse_change();
--> statement-breakpoint
-- Not from an owner: the check of a foreign key to the table locks rows in its owner's name and needs UPDATE for that.
do $$
declare
  audit_table regclass;
begin
  if exists (select from pg_roles where rolname = 'certctl') then
    foreach audit_table in array array['audit_events'::regclass, 'audit_leaves'::regclass] loop
      if (select pg_get_userbyid(relowner) from pg_class where oid = audit_table) <> 'certctl' then
        execute format('revoke update, delete, truncate on %s from certctl', audit_table);
      end if;
    end loop;
  end if;
end;
$$;
