package metrics

// The table: every metric of the program, by area. Emitting one needs its
// variable, so what is not declared here cannot be sent.
var (
	// HTTP
	HTTPRequests = counter("http.requests", "Requests answered, by class of status.", oneOf("class", "2xx", "3xx", "4xx", "5xx"))
	HTTPSeconds  = histogram("http.request_seconds", "Time to answer a request.", Seconds)

	// Indexer
	IndexerCrashes = counter("indexer.crashes", "Processed crashes handed to the search index.", oneOf("result", "indexed", "gone", "failed"))
	IndexerSeconds = histogram("indexer.batch_seconds", "Time to index one batch of crashes.", Seconds)

	// Collector
	CollectorCrashes    = counter("collector.crashes", "Well-formed crashes received, by what throttling said.", oneOf("result", "accept", "defer", "reject", "fakeaccept"))
	CollectorRules      = counter("collector.rules", "Crashes decided on by each throttle rule.", atMost(500, "rule"))
	CollectorMalformed  = counter("collector.malformed", "Requests that are no crash, by reason.", oneOf("reason", "no_content_type", "wrong_content_type", "no_boundary", "no_content_length", "bad_gzip", "bad_encoding", "invalid_json", "invalid_json_value", "invalid_dump_name", "invalid_payload_structure", "no_annotations", "invalid_uuid"))
	CollectorLimited    = counter("collector.limited", "Requests refused by a limit.", oneOf("limit", "body", "unpacked", "annotations", "parts", "dumps", "header", "rate", "requests", "stalled", "storage"))
	CollectorEncoded    = counter("collector.encoded", "Requests with a compressed body.", oneOf("encoding", "gzip", "deflate", "zstd"))
	CollectorSize       = histogram("collector.crash_bytes", "Size of a crash: compressed on the wire, or as it came or was unpacked.", Size, oneOf("payload", "compressed", "uncompressed"))
	CollectorSeconds    = histogram("collector.request_seconds", "Time to receive, decide on, store and answer a crash.", Seconds)
	CollectorSave       = histogram("collector.save_seconds", "Time to store a crash.", Seconds, oneOf("to", "bucket", "spool"))
	CollectorPublish    = histogram("collector.publish_seconds", "Time to put a crash into the queue.", Seconds)
	CollectorFailures   = counter("collector.failures", "Crashes that the bucket or the queue did not take at once.", oneOf("by", "bucket", "queue"))
	CollectorLost       = counter("collector.lost", "Crashes answered with 503 because nothing could store them.")
	CollectorToken      = counter("collector.unauthorized", "Requests that chose a crash id without the right token.")
	CollectorSpool      = gauge("collector.spool_crashes", "Crashes that wait in the spool.")
	CollectorSpoolBytes = gauge("collector.spool_bytes", "Disk the spool takes.")
	CollectorForwarded  = counter("collector.forwarded", "Crashes taken out of the spool, or stored again from the journal.", oneOf("result", "stored", "aside", "replayed"))
	CollectorJournal    = gauge("collector.journal_bytes", "Crashes in the journal, until the bucket's disk is synced.")

	// Queues and index
	QueueWaiting  = gauge("queue.waiting_crashes", "Crashes that wait in a queue.", oneOf("queue", "standard", "priority", "reprocessing", "processed"))
	QueueTaken    = gauge("queue.taken_crashes", "Crashes of a queue that are being worked on.", oneOf("queue", "standard", "priority", "reprocessing", "processed"))
	QueueOldest   = gauge("queue.oldest_seconds", "How long the oldest crash of a queue has waited.", oneOf("queue", "standard", "priority", "reprocessing", "processed"))
	IndexCrashes  = gauge("index.crashes", "Crashes that can be searched.")
	IndexBroken   = gauge("index.broken_weeks", "Weeks that lost part of their index and should be rebuilt.")
	SearchSeconds = histogram("search.query_seconds", "Time to answer a query to the search index.", Seconds, oneOf("result", "done", "refused", "failed"))

	// Jobs
	JobRuns = counter("jobs.runs", "Runs of jobs by name and result.", atMost(50, "job"), oneOf("result", "done", "failed"))
	// Symbols
	SymbolsCacheOpens     = counter("symbols.cache_opens", "Modules opened for lookup, by where their compiled symbols came from.", oneOf("source", "open", "disk", "shared", "compiled", "absent", "failed"))
	SymbolsCompileSeconds = histogram("symbols.compile_seconds", "Time to fetch and compile the symbols of one module.", Seconds)
	SymbolsCacheBytes     = gauge("symbols.cache_bytes", "Bytes of compiled symbols on the local disk.")
	SymbolsCacheEvictions = counter("symbols.cache_evictions", "Compiled files removed to make room.")
	SymbolUploads         = counter("symbols.uploads", "Uploads of symbols, by outcome.", oneOf("result", "stored", "refused", "failed"))
	SymbolUploadSeconds   = histogram("symbols.upload_seconds", "Time to check an upload that was received and to keep its files.", Seconds)
	SymbolFiles           = counter("symbols.files", "Uploaded symbol files, by whether they were new.", oneOf("result", "stored", "skipped"))
	SymbolConversions     = counter("symbols.conversions", "Builds whose raw debug files symbols were to be made of, by outcome.", oneOf("result", "made", "failed"))
	SymbolDownloads       = counter("symbols.downloads", "Symbol files asked for, by outcome.", oneOf("result", "found", "redirected", "missing", "ignored"))
	SymbolicateRequests   = counter("symbolicate.requests", "Requests to the symbolication API, by version and outcome.", oneOf("version", "v4", "v5", "v6"), oneOf("result", "ok", "refused", "failed"))
	SymbolicateFrames     = counter("symbolicate.frames", "Frames symbolicated, by outcome.", oneOf("result", "found", "missing"))
	// Symbols that came later
	AwaitedCrashes = counter("awaited.crashes", "Crashes found to lack symbols that came later, by whether they were queued again.", oneOf("result", "queued", "passed_over"))

	// Processor
	ProcessorCrashes = counter("processor.crashes", "Messages taken from a queue, by what became of them.", oneOf("queue", "standard", "priority", "reprocessing"),
		oneOf("result", "processed", "gone", "invalid", "deferred", "retried", "given_back", "lost", "verdict"))
	ProcessorSeconds          = histogram("processor.process_crash_seconds", "Time to read a crash and run its rules.", Seconds, oneOf("ruleset", "default", "regenerate_signature"))
	ProcessorIngestionSeconds = histogram("processor.ingestion_seconds", "Time from the receipt of a crash to its first processed crash.", Seconds)
	ProcessorRuleSeconds      = histogram("processor.rule_seconds", "Time one rule took on one crash.", Seconds, atMost(100, "rule"))
	ProcessorRuleFailures     = counter("processor.rule_failures", "Rules that failed on a crash.", atMost(100, "rule"))
	ProcessorWalks            = counter("processor.walks", "Dumps that were walked.", oneOf("outcome", "ok", "failed", "timeout", "memory"))
	ProcessorWalkSeconds      = histogram("processor.walk_seconds", "Time to walk one dump.", Seconds)
	ProcessorDumpBytes        = histogram("processor.dump_bytes", "Size of the dumps that were read.", Size)
	ProcessorTelemetry        = counter("processor.telemetry", "Exports of the public subset.", oneOf("result", "exported", "failed"))
	ProcessorTelemetryDropped = counter("processor.telemetry_dropped", "Fields left out of an export because their value does not fit.")
)
