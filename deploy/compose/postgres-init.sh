#!/bin/sh
# Runs once, when the volume of PostgreSQL is empty. The password is on standard input, in no list of processes.
set -eu
psql --quiet --set=ON_ERROR_STOP=1 --username=airflow --dbname=airflow <<SQL
CREATE ROLE compat_auth LOGIN PASSWORD '$(cat /run/secrets/compat_auth_database_password)';
CREATE DATABASE compat_auth OWNER compat_auth;
SQL
