"""Every bound of the system, by name, so that a reader finds them all in one place.

A bound says what happens at it in the comment. Bytes unless the name says otherwise.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

# YAML and JSON files given by the user
YAML_BYTES_MAX: Final = 32 * MIB  # larger: refused
YAML_DEPTH_MAX: Final = 100  # deeper: refused
YAML_NODES_MAX: Final = 2_000_000  # after aliases are expanded; more: refused

# HTTP bodies
REQUEST_BODY_BYTES_MAX: Final = 16 * MIB  # API servers answer 413
PACKED_ANSWER_BYTES_MIN: Final = 1024  # shorter answers are sent as they are, also to clients that take gzip
SCRAPE_BODY_BYTES_MAX: Final = 256 * MIB  # uncompressed; the scrape fails
SCRAPE_ASIDE_BYTES: Final = 2 * MIB  # bodies from this size on are read in a thread
SCRAPE_HEAD_BYTES_MAX: Final = 256 * 1024  # status line and headers of a scrape's answer; the scrape fails

# Child processes
CHILD_STOP_SECONDS: Final = 5.0  # from SIGTERM to SIGKILL, unless the child has its own grace
CHILD_TAIL_BYTES: Final = 64 * KIB  # how much of a log is read for an error message

# Journal
JOURNAL_LINE_BYTES_MAX: Final = 1 * MIB  # larger records are refused: they are not events
LINES_WAITING_MAX: Final = 100_000  # of a journal on a full disk; then the oldest are lost, and counted
SALVAGE_SECONDS: Final = 30.0  # how long the warden lets the salvage of a report take

# Kubernetes control plane
KUBE_WATCH_HISTORY_EVENTS_MAX: Final = 8192  # per resource; a watch further behind is cut with 410 Expired
KUBE_OBJECT_BYTES_MAX: Final = 3 * MIB  # upstream's request limit; larger bodies answer 413
KUBE_JSON_DEPTH_MAX: Final = 200  # deeper bodies and patches answer 400
KUBE_ENDPOINTS_REMEMBERED_MAX: Final = 50_000  # then the endpoints worked out so far are forgotten
KUBE_LIST_PAGE_MAX: Final = 10_000  # objects in one page of a list; `continue` gives the rest
KUBE_WATCHES_MAX: Final = 2_000  # open watch requests; more answer 429
KUBE_CONTROLLER_KEYS_PER_TURN: Final = 50  # keys a controller works on before others may run
KUBE_EVENTS_MAX: Final = 10_000  # stored events; at more the oldest tenth is deleted
KUBE_EVENT_KEYS_MAX: Final = 4096  # events a component remembers to count repeats; then it forgets them all
KUBE_WATCH_LINE_BYTES_MAX: Final = 8 * MIB  # one event read by our client; larger ends the watch
KUBE_RELIST_SECONDS_MAX: Final = 10.0  # longest pause of a watch before it is tried again
KUBE_JSON_PATCH_OPERATIONS_MAX: Final = 10_000  # in one patch; more answer 413, as upstream

# Load
LOAD_USERS_MAX: Final = (
    1_000  # users an arrival stage may grow to, unless told otherwise; then arrivals are dropped
)
LOAD_STAGES_MAX: Final = 1_000  # more: refused
LOAD_RATE_MAX: Final = 1_000_000.0  # arrivals per second of a stage; more: refused
LOAD_TRACE_POINTS_MAX: Final = 1_000_000  # rows of a trace; more: refused
LOAD_BACKLOG_MAX: Final = 100_000  # arrivals that wait for a user being started; more: dropped
LOAD_NAMES_MAX: Final = 2_000  # request names told apart; further ones are counted as "(other)"
LOAD_ERRORS_MAX: Final = 200  # distinct error texts kept; further ones are counted as "(other)"
LOAD_ERROR_CHARACTERS_MAX: Final = 300  # an error text is cut here
LOAD_WINDOW_SECONDS: Final = 600  # per-second histograms are kept this long; counts and percentiles for ever
LOAD_MESSAGE_BYTES_MAX: Final = 16 * MIB  # a line on the load channel; larger: the child is stopped
LOAD_IMPORT_SECONDS_MAX: Final = 60.0  # importing the locustfile; longer: an input error
LOAD_CONNECT_SECONDS: Final = 2.0  # the target must accept a connection within this
LOAD_PUSH_SECONDS: Final = 0.2  # how often a worker sends what it has recorded
LOAD_DRAIN_SECONDS: Final = 5.0  # running tasks may take this long to end when users are taken away
LOAD_ORPHAN_SECONDS: Final = 5.0  # a load process ends this long after its parent, at the latest
LOAD_SILENCE_SECONDS: Final = 3.0  # a load process that reports nothing for this long is not asked but killed
LOAD_WORKERS_MAX: Final = 64  # --processes

# PromQL
PROMQL_QUERY_BYTES_MAX: Final = 1 * MIB  # longer query texts are refused before lexing
PROMQL_NESTING_MAX: Final = 120  # parentheses, calls and signs inside each other; deeper: parse error
PROMQL_TOKENS_MAX: Final = 32_768  # words and signs of a query; the parse error comes before the rest is read
PROMQL_REGEX_SIZE_MAX: Final = 250_000  # instructions of all regular expressions of a query or of match[]
PROMQL_ISSUES_MAX: Final = 100  # complaints about one query; then the rest is not read
PROMQL_DEPTH_MAX: Final = 200  # height of the syntax tree, chains of operators included; higher: parse error
PROMQL_MEMORY_BYTES_MAX: Final = 2 * GIB  # default budget of one query; over it, the query alone fails
PROMQL_WALKED_SAMPLES: Final = 50_000_000  # of windows walked between two looks at the deadline
PROMQL_STEPS_MAX: Final = 11_000_000  # evaluation instants of one query or subquery
PROMQL_CACHED_QUERIES: Final = 1024  # parsed queries kept; the least recently used goes
TSDB_SELECTED_ROWS_MAX: Final = 4_000_000  # of selections of the head that are remembered; the oldest go
TSDB_SELECTIONS_MAX: Final = 10_000  # such selections
LABELS_KEPT_MAX: Final = 65_536  # label sets kept for who asks again for the same selection; the oldest go
LABELS_KEPT_OF_ONE_MAX: Final = 4_096  # of one selection; those of a larger one are made each time
PROMQL_CACHED_REPLACEMENTS: Final = 4096  # values that label_replace() has seen; the least recent go
PROMQL_CACHED_TEXT_MAX: Final = 4096  # characters; longer queries are parsed each time
PROMQL_SERIES_VALUES_MAX: Final = 10_000_000  # values one series description may expand to

# Mesh
ENVOY_CONNECTIONS_MAX: Final = 50_000  # downstream connections of one Envoy; more are refused
ENVOY_START_SECONDS: Final = 20.0  # from start to the first answer of its admin interface; then it failed
UNIX_PATH_BYTES_MAX: Final = 107  # sun_path of Linux; longer socket paths are refused
XDS_ACK_SECONDS: Final = 15.0  # a step of a push not acknowledged by then is reported and passed over
MESH_TAKEOVER_SECONDS: Final = 0.25  # old listeners may still use what is to be removed for this long
MESH_DEBOUNCE_SECONDS: Final = 0.002  # changes that come this close together are pushed together
FIRST_REQUEST_SECONDS: Final = 60.0  # how long an endpoint is watched for its first request
EXPLAIN_ROUTES_MAX: Final = 10_000  # routes of one host that `mesh explain` reasons about

# Monitoring
TRACING_SPANS_WAITING_MAX: Final = 2048  # spans not sent yet; more are dropped, and counted
TRACING_BATCH_SPANS_MAX: Final = 512  # of one request
TRACING_TEXT_MAX: Final = 4096  # characters of a span's name, error or attribute; the rest is cut off
SD_BODY_BYTES_MAX: Final = 64 * MIB  # answers of discovery servers; larger: the refresh fails
KUBE_LIST_BYTES_MAX: Final = 512 * MIB  # one list of the Kubernetes API; larger: the list fails
KUBE_TABLE_ROWS_KEPT_MAX: Final = 20_000  # rows of tables that are kept encoded; then all are forgotten
KUBE_SPDY_FRAME_BYTES_MAX: Final = 2 * MIB  # one frame of a forwarded port; larger ends the connection
KUBE_SPDY_HEADER_BYTES_MAX: Final = 16 * KIB  # the headers of one stream in it
KUBE_FORWARDED_STREAMS_MAX: Final = 1_000  # streams open at a time over one forwarding connection
KUBE_EXEC_MESSAGE_BYTES_MAX: Final = 4 * MIB  # one websocket message of exec, attach or port-forward
SD_WATCH_LINE_BYTES_MAX: Final = 16 * MIB  # one event of a watch; larger: the watch starts anew
REMOTE_WRITE_BYTES_MAX: Final = 64 * MIB  # a received request after decompression; larger: 400
TEMPLATE_OUTPUT_BYTES_MAX: Final = 1 * MIB  # of one label or annotation; longer: the expansion fails
TEMPLATE_STEPS_MAX: Final = 100_000  # actions of one template run; more: the expansion fails

# Monitoring: the web server
WEB_PASSWORDS_REMEMBERED_MAX: Final = 100  # outcomes of bcrypt comparisons; then the oldest goes
WEB_HANDSHAKE_SECONDS: Final = 10.0  # TLS handshakes that take longer are given up

NOTIFICATION_SUBSCRIBERS_MAX: Final = 16  # listeners to live notifications (upstream's); more get 204

# Monitoring: remote write and read
REMOTE_HISTOGRAM_BUCKETS_MAX: Final = 65_536  # of one received histogram; more: 400
REMOTE_SERIES_REMEMBERED_MAX: Final = 1_000_000  # received series known by their bytes; then forgotten
REMOTE_ANSWER_BYTES_MAX: Final = 512  # how much of a receiver's complaint is kept
REMOTE_READ_BYTES_MAX: Final = 512 * MIB  # an answer of a remote_read server; larger: a warning, no samples

# Autoscaling
HPA_DECISIONS_KEPT: Final = 10  # of one HPA, to be explained; older ones are in the journal only

# Kubelet
KUBELET_LOG_BYTES_MAX: Final = 10 * MIB  # a container's log file is rotated at this size (upstream's default)
KUBELET_LOG_FILES_MAX: Final = 5  # rotated files kept a container; the oldest is removed
KUBELET_LOG_LINE_BYTES_MAX: Final = 16 * KIB  # longer lines are cut into partial ones, as CRI runtimes do
KUBELET_MESSAGE_BYTES_MAX: Final = 4 * KIB  # termination messages are cut at this, as upstream
KUBELET_PROBE_BODY_BYTES_MAX: Final = 10 * KIB  # how much of a probe's answer is read
KUBELET_VOLUME_BYTES_MAX: Final = 3 * MIB  # a configMap or secret volume; more: the pod does not start
KUBELET_BACKOFF_SECONDS: Final = 10.0  # first CrashLoopBackOff and ImagePullBackOff; doubles
KUBELET_BACKOFF_SECONDS_MAX: Final = 300.0  # longest back-off
KUBELET_BACKOFF_RESET_SECONDS: Final = 600.0  # a container that ran this long starts afresh
KUBELET_ADDRESSES_KEPT_SECONDS: Final = 30.0  # a pod's address rests this long before another gets it

# Report
REPORT_UNEXPLAINED_RATIO_MAX: Final = 0.05  # of a scaling's time; more fails its JUnit case
REPORT_SPARKLINE_COLUMNS_MAX: Final = 60  # of the terminal's summary; longer series are averaged

# Tanks
TANK_START_SECONDS: Final = 60.0  # how long a process of the tank may take until it answers
KERNELS_SECONDS: Final = 300.0  # the same for the monitoring, which compiles its kernels the first time
WORKLOAD_START_SECONDS: Final = 120.0  # how long the first pods may take until they are ready

# Console
CONSOLE_TREE_NODES_MAX: Final = (
    200  # nodes of a query that its tree evaluates; the rest is shown without figures
)
CONSOLE_STREAMS_MAX: Final = 100  # event streams at once; the next is refused with 503

# Storage
HEAD_ROWS_AT_ONCE: Final = 100_000  # whose chunks upkeep copies between two turns of others for the head
HEAD_ROWS_RESERVED: Final = 1 << 26  # addresses, not memory: columns of more series are copied when they grow
HEAD_CHUNKS_RESERVED: Final = 1 << 28  # the same of full chunks
ARENA_BLOCKS_RESERVED: Final = 1 << 28  # and of blocks of open chunks
SERIES_MADE_AT_ONCE: Final = 4_096  # of many new ones, between two turns of others for the head
BLOCK_MATCHED_SERIES_KEPT: Final = 4_000  # series of the selections a block remembers; at more it forgets all
BLOCK_MATCHED_SERIES_MAX: Final = 2_000  # a selection of more series is not remembered
BULK_SAMPLES_MAX: Final = 5_000_000  # gathered by a backfill before they are written as blocks
RETENTION_SAMPLES_AT_ONCE: Final = 5_000_000  # decoded while a block is downsampled
REPLAY_PENDING_SAMPLES_MAX: Final = 8_000_000  # committed during replay; more wait for its end

# Simulation
SIMULATION_CONCURRENCY_MAX: Final = 4096  # requests that one modelled pod works on at once
SIMULATION_BACKLOG_MAX: Final = 65_536  # requests waiting at one modelled pod; more are refused (503)
SIMULATION_SECONDS_MAX: Final = 366 * 86_400  # of one simulation; a longer one is refused
SIMULATION_TRACE_ROWS_MAX: Final = 5_000_000  # of a recorded trace; more is refused with the count
SIMULATION_CALLS_MAX: Final = 64  # requests to other services in answer to one; more are refused
SIMULATION_REQUESTS_MAX: Final = 4_000_000  # in flight between services at once; more end the simulation
SWEEP_POINTS_MAX: Final = 1_000_000  # settings of one sweep; more are refused with the estimate

# Alertmanager and Pushgateway
ALERTS_MAX: Final = 1_000_000  # alerts known at a time; more are refused with 500 and counted
ALERT_BODY_BYTES_MAX: Final = 32 * MIB  # one request of the API; larger answers 413
ALERT_GROUPS_MAX: Final = 200_000  # aggregation groups; alerts that would need more are dropped and counted
ALERT_FLUSH_SECONDS_MIN: Final = (
    10.0  # a notification may take at least this long, however short the interval
)
NOTIFY_ANSWER_BYTES_MAX: Final = 64 * KIB  # of a receiver's answer; the rest is not read
SMTP_SECONDS_MAX: Final = 60.0  # a mail server may be silent for this long; then the attempt has failed
PUSH_BODY_BYTES_MAX: Final = 64 * MIB  # one push after decompression; larger answers 413
PUSH_GROUPS_MAX: Final = 100_000  # groups of a pushgateway; a push that would make more answers 429

# Dashboards
DASHBOARD_BYTES_MAX: Final = 16 * MIB  # larger files: refused
DASHBOARD_DEPTH_MAX: Final = 64  # objects and lists inside each other; deeper: refused
DASHBOARD_PANELS_MAX: Final = 5_000  # panels read from a file; the rest is left out, and said so
DASHBOARD_REPEATS_MAX: Final = (
    200  # repetitions of one panel or row; further values are left out, and said so
)
DASHBOARD_OPTIONS_MAX: Final = 10_000  # options of one variable; further ones are left out, and said so
DASHBOARD_SERIES_MAX: Final = 500  # series drawn in one panel; further ones are left out, and said so
DASHBOARD_ROWS_MAX: Final = 5_000  # rows of a table; further ones are left out, and said so
DASHBOARD_ITEMS_MAX: Final = 300  # values of a stat, gauge, bar gauge or pie; further ones are left out
DASHBOARD_POINTS_MAX: Final = 11_000  # steps of a panel's query, as the server allows
DASHBOARD_SAMPLES_MAX: Final = 5_000_000  # samples of one panel's answer; more: the panel fails alone
DASHBOARD_ANSWER_BYTES_MAX: Final = (
    256 * MIB
)  # of one answer of an HTTP data source; larger: the panel fails alone
DASHBOARD_STORE_FILES_MAX: Final = 5_000  # dashboards of one store; further files are not listed
DASHBOARD_QUERY_THREADS: Final = 4  # queries of one refresh asked at a time
REPORT_DASHBOARDS_MAX: Final = 20  # dashboards inside one report; further ones are left out, and said so
DASHBOARD_ANNOTATIONS_MAX: Final = 1_000  # marks on a dashboard's time axes; older ones are left out, said so
DASHBOARD_EXEMPLARS_MAX: Final = 500  # exemplars in one panel; of each stretch of time the largest are kept
DASHBOARD_QUERY_SECONDS: Final = 60.0  # one query of a panel; longer: the panel fails alone

# Node exporter
NODE_STATFS_SECONDS: Final = 5.0  # a mount that does not answer by then is an error of that mount alone
NODE_TEXTFILE_BYTES_MAX: Final = 32 * MIB  # one file of the textfile collector; larger is left out

# Importing history
IMPORT_SAMPLES_AT_ONCE: Final = 5_000_000  # decoded, compared and encoded together
IMPORT_CHUNK_BYTES_MAX: Final = 256 * MIB  # encoded samples of one block in memory; more: another block
IMPORT_DISK_RESERVE_BYTES: Final = 64 * MIB  # left free on the disk; an import that would need it is refused
IMPORT_ANSWER_BYTES_MAX: Final = 256 * MIB  # one answer of a server; larger: less time is asked for at once
IMPORT_PUSH_SAMPLES: Final = 20_000  # of one remote write request to a running server
IMPORT_TRIES_MAX: Final = 7  # of one request to a slow source, a minute in all; then the import stops
IMPORT_CSV_BYTES_MAX: Final = 512 * MIB  # a CSV file; larger is refused

# Rules
RULES_TURN_SECONDS: Final = 0.02  # for which a thread evaluates rules of a group before others get their turn

# Queries answered at once, without a thread
AT_ONCE_QUERIES_MAX: Final = 1024  # query texts known to be small; the one learned first goes
AT_ONCE_SAMPLES_MAX: Final = 50_000  # read by such a query
AT_ONCE_BYTES_MAX: Final = 2 * MIB  # held by such a query
AT_ONCE_CPU_SECONDS_MAX: Final = 0.005  # used by such a query; one that uses more goes back to the threads
AT_ONCE_HEADS_MAX: Final = 256  # header blocks of requests that are known; then they are learned anew

# --- promtool

#: Bytes of one answer of a server that promtool asks.
PROMTOOL_ANSWER_BYTES_MAX: Final = 1 << 30

# Selectors in parameters
MATCH_CHARS_MAX: Final = 128 * KIB  # of all match[] of a request; more is an error

# Searching names and values
SEARCH_LIMIT_MAX: Final = 10_000  # results of one search unless --web.search.max-limit says otherwise
SEARCH_TERMS_MAX: Final = 32  # of one search; more is an error, as upstream has it
SEARCH_TERM_CHARS_MAX: Final = 4_096  # of one term; longer is an error
SEARCH_STEPS_MAX: Final = 10_000_000  # comparing one term with one value; then the best score so far counts
SEARCH_VALUES_AT_ONCE: Final = 65_536  # scored together; between two such parts a search can be ended

# HTTP clients
HTTP2_STREAM_WINDOW_BYTES: Final = 1 * MIB  # of an answer that nobody reads yet; then the sender must wait
HTTP2_CONNECTION_WINDOW_BYTES: Final = 64 * MIB  # of all answers on a connection, likewise
HTTP2_WAITING_WRITES_MAX: Final = 4 * MIB  # bytes the other side does not take; then the connection is ended
HTTP2_ORIGINS_MAX: Final = 50_000  # servers one client remembers; then those it has no connection to go
HTTP_REDIRECTS_MAX: Final = 10  # then the request fails
PROXY_HEAD_BYTES_MAX: Final = 64 * KIB  # a proxy's answer to CONNECT; larger: the request fails
OAUTH2_ANSWER_BYTES_MAX: Final = 1 * MIB  # of a token server; larger: the request fails

# OTLP
OTLP_DELTA_STREAMS_MAX: Final = (
    1_000_000  # whose deltas are added up; data points of further ones are refused
)
OTLP_TARGET_INFOS_MAX: Final = 1_000  # samples of target_info for one resource of a request; the newest stay
