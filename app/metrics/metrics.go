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
)
