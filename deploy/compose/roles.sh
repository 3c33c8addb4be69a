#!/bin/sh
# Run once by the image of PostgreSQL, on a new volume: the roles of docs/explanation/security.md and a login
# for the service. `crm-api migrate` gives them what they may do.
set -eu
psql --no-psqlrc --set ON_ERROR_STOP=1 --set password="$POSTGRES_APP_PASSWORD" \
    --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
CREATE ROLE crm_app NOLOGIN;
CREATE ROLE crm_reader NOLOGIN;
CREATE ROLE crm_service LOGIN PASSWORD :'password' IN ROLE crm_app;
SQL
