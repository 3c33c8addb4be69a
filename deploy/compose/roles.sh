#!/bin/sh
# Create the roles of docs/explanation/security.md and a login for the service. The PostgreSQL image
# runs this script once, on a new volume. `crm-api migrate` grants the privileges.
set -eu
psql --no-psqlrc --set ON_ERROR_STOP=1 --set password="$POSTGRES_APP_PASSWORD" \
    --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
CREATE ROLE crm_app NOLOGIN;
CREATE ROLE crm_reader NOLOGIN;
CREATE ROLE crm_service LOGIN PASSWORD :'password' IN ROLE crm_app;
SQL
