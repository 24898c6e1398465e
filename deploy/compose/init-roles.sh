#!/bin/sh
# Make the two roles of docs/operations.md and their database. PostgreSQL's image runs it once, on an empty volume.
# `database migrate` grants the rights on tables, because it makes them.
set -eu
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\set owner_password `cat /run/secrets/owner_password`
\set app_password `cat /run/secrets/app_password`
CREATE ROLE rollcall_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE rollcall_app LOGIN PASSWORD :'app_password';
CREATE DATABASE rollcall OWNER rollcall_owner ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE rollcall FROM PUBLIC;
GRANT CONNECT ON DATABASE rollcall TO rollcall_app;
\connect rollcall
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO rollcall_app;
SQL
