"""Table of the operations of Airflow's API, by the objects that each can reach beside its path. No I/O, no Flask.

Each line has a kind, methods and a path, of Airflow 3.0 to 3.4 and of Airflow 2.11:

- `none`: no DAG, connection, variable or pool.
- `own`: the object that the path names, and no other.
- `bulk`: the objects in the actions of the body; where an entity names none, the one in the path.
- `runs`: the DAGs of the runs in the body.
- `list`: the DAGs in `dag_ids` of the body; all DAGs where it is empty.
- `named`: the one object that the body names.
- `clear`: the DAG in the path, and a DAG that depends on it where the body requests that (Airflow 2).
- `any`: every object of its family: by a pattern, an asset, a backfill or another reference, or in a list.

Everything that a DAG's file defines belongs to the DAG, such as the events that started its run. Airflow 3.0 and 2 also
clear the tasks that an `ExternalTaskMarker` of the DAG names.
"""

# Below /api/v2.
V2 = """
any GET /assets
any GET /assets/aliases
any GET /assets/aliases/{asset_alias_id}
any GET,POST /assets/events
any GET /assets/{asset_id}
any POST /assets/{asset_id}/materialize
any DELETE,GET /assets/{asset_id}/queuedEvents
any DELETE,GET /assets/{asset_id}/state-store
any DELETE,GET,PUT /assets/{asset_id}/state-store/{key}
none GET /auth/login
none GET /auth/logout
any GET /backfills
named POST /backfills
named POST /backfills/dry_run
any GET /backfills/{backfill_id}
any PUT /backfills/{backfill_id}/cancel
any GET /backfills/{backfill_id}/dag_runs
any PUT /backfills/{backfill_id}/pause
any PUT /backfills/{backfill_id}/unpause
none GET /config
none GET /config/section/{section}/option/{option}
any GET /connections
bulk PATCH /connections
named POST /connections
any POST /connections/defaults
any GET /connections/enqueue-test
named POST /connections/enqueue-test
named POST /connections/test
own DELETE,GET,PATCH /connections/{connection_id}
none GET /dagBundles
none GET /dagBundles/{bundle_name}
none GET /dagBundles/{bundle_name}/files
any GET /dagReports
own GET /dagSources/{dag_id}
any GET /dagStats
none GET /dagTags
any GET /dagWarnings
any GET,PATCH /dags
bulk PATCH /dags/bulk
own DELETE,GET,PATCH /dags/{dag_id}
own DELETE,GET /dags/{dag_id}/assets/queuedEvents
own DELETE,GET /dags/{dag_id}/assets/{asset_id}/queuedEvents
runs POST /dags/{dag_id}/clearDagRuns
own POST /dags/{dag_id}/clearPartitions
own POST /dags/{dag_id}/clearTaskInstances
own GET,POST /dags/{dag_id}/dagRuns
bulk PATCH /dags/{dag_id}/dagRuns
list POST /dags/{dag_id}/dagRuns/list
own DELETE,GET,PATCH /dags/{dag_id}/dagRuns/{dag_run_id}
own POST /dags/{dag_id}/dagRuns/{dag_run_id}/clear
own GET /dags/{dag_id}/dagRuns/{dag_run_id}/hitlDetails
own PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskGroupInstances/{group_id}
own PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskGroupInstances/{group_id}/dry_run
own GET /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances
bulk PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances
list POST /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/list
own DELETE,GET,PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}
own GET /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/dependencies
own PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/dry_run
own GET /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/externalLogUrl/{try_number}
own GET /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/links
own GET /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/listMapped
own GET /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/logs/{try_number}
own DELETE,GET /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/state-store
own DELETE,GET,PATCH,PUT /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/state-store/{key}
own GET /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/tries
own GET /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/tries/{task_try_number}
own GET,POST /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries
own DELETE,GET,PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries/{xcom_key}
own GET,PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}
own GET /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/dependencies
own PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/dry_run
own GET,PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/hitlDetails
own GET /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/hitlDetails/tries/{try_number}
own GET /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/tries
own GET /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/tries/{task_try_number}
own GET /dags/{dag_id}/dagRuns/{dag_run_id}/upstreamAssetEvents
own GET /dags/{dag_id}/dagRuns/{dag_run_id}/wait
own GET /dags/{dag_id}/dagVersions
own GET /dags/{dag_id}/dagVersions/diff
own GET /dags/{dag_id}/dagVersions/{version_number}
own GET /dags/{dag_id}/details
own POST /dags/{dag_id}/favorite
own GET /dags/{dag_id}/tasks
own GET /dags/{dag_id}/tasks/{task_id}
own POST /dags/{dag_id}/unfavorite
any GET /eventLogs
any GET /eventLogs/{event_log_id}
any GET /importErrors
any GET /importErrors/{import_error_id}
any GET /jobs
none GET /monitor/health
any PUT /parseDagFile/{file_token}
none GET /plugins
none GET /plugins/importErrors
any GET /pools
bulk PATCH /pools
named POST /pools
own DELETE,GET,PATCH /pools/{pool_name}
none GET /providers
any GET /variables
bulk PATCH /variables
named POST /variables
own DELETE,GET,PATCH /variables/{variable_key}
none GET /version
"""

# Below /ui: requests of Airflow's pages.
UI = """
any GET /assets
none GET /auth/me
none GET /auth/menus
none POST /auth/token
any GET /backfills
own GET /calendar/{dag_id}
own GET /calendar/{dag_id}/deadlines
none GET /config
none GET /connections/hook_meta
any GET /dags
any GET /dags/folders
any GET /dags/recent_dag_runs
any GET /dags/recent_task_instance_state_counts
any GET /dags/run_state_counts
none GET /dags/timetable_types
own GET /dags/{dag_id}/dagRuns/{dag_run_id}/callbacks/{callback_id}/logs
own GET /dags/{dag_id}/dagRuns/{dag_run_id}/deadlines
own GET /dags/{dag_id}/dagRuns/{dag_run_id}/execution
own GET /dags/{dag_id}/dagRuns/{dag_run_id}/stats
own GET /dags/{dag_id}/deadlineAlerts
own GET /dags/{dag_id}/latest_run
any GET /dashboard/dag_stats
any GET /dashboard/historical_metrics_data
any GET /dependencies
own GET /gantt/{dag_id}/{run_id}
own GET /grid/loop-history/{dag_id}/{group_id}
own GET /grid/loop/{dag_id}/{run_id}/{group_id}
own GET /grid/runs/{dag_id}
own GET /grid/structure/{dag_id}
own GET /grid/ti_summaries/{dag_id}
own GET /grid/ti_summaries/{dag_id}/{run_id}
own GET /grid/{dag_id}
own GET /next_run_assets/{dag_id}
any GET /partitioned_dag_runs
own GET /pending_partitioned_dag_run/{dag_id}
own GET /pending_partitioned_dag_run/{dag_id}/{partition_key}
any GET /structure/structure_data
none GET /teams
"""
