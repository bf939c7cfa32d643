#!/bin/sh
# Runs once, when the volume of PostgreSQL is empty. The password is on standard input, in no list of processes.
set -eu
# On a line of its own: in the text below, `set -e` would not notice that the file cannot be read.
password=$(cat /run/secrets/compat_auth_database_password)
[ -n "$password" ] || {
  echo "compat_auth_database_password is empty; delete it, run ./make-secrets, and remove the volume postgres-data" >&2
  exit 1
}
psql --quiet --set=ON_ERROR_STOP=1 --username=airflow --dbname=airflow <<SQL
CREATE ROLE compat_auth LOGIN PASSWORD '$password';
CREATE DATABASE compat_auth OWNER compat_auth;
SQL
