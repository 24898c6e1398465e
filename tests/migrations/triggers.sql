-- What the tables cannot declare. tests/migrations/test_schema.py compares it with what migrating makes.
CREATE FUNCTION touch_user() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    but_for_login users := NEW;
BEGIN
    but_for_login.last_login_at := OLD.last_login_at;
    -- What a migration fills in is no change, and a log-in is none that a client's copy could miss.
    IF but_for_login IS DISTINCT FROM OLD
        AND current_setting('rollcall.migrating', true) IS DISTINCT FROM 'on' THEN
        NEW.updated_at := greatest(now(), OLD.updated_at + interval '1 microsecond');
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER touch_user BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch_user();
