// Package config declares every setting of the program once. A field's path in
// the tree below is its name everywhere: collector.max_body in YAML,
// --collector.max-body on the command line, MAYDAY_COLLECTOR_MAX_BODY in the
// environment. `mayday config` prints the table, config.example.yaml is made
// from it.
//
// Tags: yaml the name, doc what it means (with unit), default its default as
// text, choices the only texts allowed (separated by "|"), secret:"true" for
// values that are never printed. Lists of structs can be set in the file alone.
//
// The package holds values and checks them; it opens nothing.
package config

import "time"

// Config is the whole configuration.
type Config struct {
	Role    []string `yaml:"role" default:"all" doc:"Roles that this process runs: collector, processor, web or all; several by comma."`
	DataDir string   `yaml:"data_dir" default:"./mayday-data" doc:"Directory of everything that is kept on local disk."`
	Listen  string   `yaml:"listen" default:"127.0.0.1:8000" doc:"Address that one listener serves all chosen roles on."`

	Log       Log       `yaml:"log"`
	HTTP      HTTP      `yaml:"http"`
	Metrics   Metrics   `yaml:"metrics"`
	Storage   Storage   `yaml:"storage"`
	Queue     Queue     `yaml:"queue"`
	Catalog   Catalog   `yaml:"catalog"`
	Search    Search    `yaml:"search"`
	Sweep     Sweep     `yaml:"sweep"`
	Products  Products  `yaml:"products"`
	Schema    Schema    `yaml:"schema"`
	Collector Collector `yaml:"collector"`
	Processor Processor `yaml:"processor"`
	Symbols   Symbols   `yaml:"symbols"`
	Signature Signature `yaml:"signature"`
	Web       Web       `yaml:"web"`
}

// Log says what is logged and how.
type Log struct {
	Level  string `yaml:"level" default:"info" choices:"debug|info|warn|error" doc:"Quietest level that is logged."`
	Format string `yaml:"format" default:"auto" choices:"auto|json|console" doc:"Form of log lines; auto is console on a terminal, else json."`
}

// HTTP bounds the one listener that all roles share.
type HTTP struct {
	HeaderTimeout  time.Duration `yaml:"header_timeout" default:"10s" doc:"How long a client may take to send its request header."`
	IdleTimeout    time.Duration `yaml:"idle_timeout" default:"2m" doc:"How long a connection is kept open between requests."`
	Drain          time.Duration `yaml:"drain" default:"15s" doc:"How long running requests and crashes may take after SIGTERM."`
	MaxConnections int           `yaml:"max_connections" default:"4096" doc:"Connections held open at once; more wait in the kernel's queue."`
}

// Metrics says where metrics go besides /metrics.
type Metrics struct {
	Statsd string `yaml:"statsd" default:"" doc:"host:port of a statsd server that gets every metric by UDP; empty sends none."`
	Prefix string `yaml:"prefix" default:"mayday." doc:"Put before each metric's name on its way to statsd."`
}

// Storage says where crashes, symbols and exported telemetry live.
type Storage struct {
	Crashes   string `yaml:"crashes" default:"" doc:"Bucket URL of crashes (file://, mem://, s3://, gs://); empty is <data_dir>/crashes."`
	Symbols   string `yaml:"symbols" default:"" doc:"Bucket URL of symbols; empty is <data_dir>/symbols."`
	Telemetry string `yaml:"telemetry" default:"" doc:"Bucket URL that the public subset of each processed crash is written to; empty writes none."`
	Fsync     bool   `yaml:"fsync" default:"true" doc:"Sync files and folders of local buckets before a crash is answered, so that it survives power loss."`
}

// Queue says which queues connect the roles.
type Queue struct {
	URL   string        `yaml:"url" default:"" doc:"Queues by URL: sqlite://PATH, mem://, awssqs://…, gcppubsub://…; {name} stands for the queue's name; empty is sqlite in <data_dir>/queue.db."`
	Lease time.Duration `yaml:"lease" default:"30s" doc:"How long a crash is reserved for the process that took it; renewed at a third of that while it works."`
	Tries int           `yaml:"tries" default:"5" doc:"Tries after which a crash that cannot be processed is set aside with a verdict."`
}

// Catalog says where users, tokens, uploads, first appearances and jobs live.
type Catalog struct {
	URL string `yaml:"url" default:"" secret:"true" doc:"Database of the catalog; empty is SQLite in <data_dir>/catalog.db."`
}

// Sweep finds crashes that were stored and never processed.
type Sweep struct {
	Days int           `yaml:"days" default:"3" doc:"How many days back raw crashes without a processed one are looked for."`
	Age  time.Duration `yaml:"age" default:"10m" doc:"Age that a raw crash must have before it counts as forgotten."`
}

// Products names the programs whose crashes are taken.
type Products struct {
	Strict bool      `yaml:"strict" default:"false" doc:"Refuse unknown products at intake and in searches; otherwise every product is welcome."`
	List   []Product `yaml:"list" doc:"Products known by name: name, title, description, versions (featured), home (link), bug_links."`
}

// Product is one program whose crashes are taken.
type Product struct {
	Name        string   `yaml:"name"`
	Title       string   `yaml:"title"`
	Description string   `yaml:"description"`
	Versions    []string `yaml:"versions"`
	Home        string   `yaml:"home"`
	BugLinks    []Link   `yaml:"bug_links"`
}

// Link is a named URL template; what stands in {braces} is filled in.
type Link struct {
	Name string `yaml:"name"`
	URL  string `yaml:"url"`
}

// Schema extends the field table.
type Schema struct {
	Extra []string `yaml:"extra" default:"" doc:"YAML files whose rows are laid over the field table."`
}

// Signature says how crashes are grouped.
type Signature struct {
	ListsDir             string `yaml:"lists_dir" default:"" doc:"Directory of signature lists that replace the built-in ones; reread when it changes."`
	BetterNames          bool   `yaml:"better_names" default:"false" doc:"Name functions in full where Socorro keeps a part of the declaration; signature_upstream keeps Socorro's."`
	BetterUnsymbolicated bool   `yaml:"better_unsymbolicated" default:"false" doc:"Tell stacks without symbols apart by the place in the module; signature_upstream keeps Socorro's."`
}

// Search chooses the search index and bounds its queries.
type Search struct {
	URL          string        `yaml:"url" default:"" doc:"OpenSearch URL; empty is the embedded index in <data_dir>/index."`
	User         string        `yaml:"user" default:"" doc:"User of OpenSearch; empty sends none."`
	Password     string        `yaml:"password" default:"" secret:"true" doc:"Password of OpenSearch's user."`
	Prefix       string        `yaml:"index_prefix" default:"socorro" doc:"Beginning of the names of OpenSearch's weekly indices."`
	Retention    int           `yaml:"retention_weeks" default:"26" doc:"Weeks of crashes that can be searched; 0 keeps all."`
	Timeout      time.Duration `yaml:"timeout" default:"10s" doc:"Longest that one query may run."`
	BetaVersions bool          `yaml:"beta_versions" default:"true" doc:"A plain version that ends in b, such as 142.0b, means all versions that begin so."`
	Memory       Bytes         `yaml:"memory" default:"256MiB" doc:"Most memory that one query of the embedded index may use."`
}

// Collector bounds and shapes intake.
type Collector struct {
	Answer         string        `yaml:"answer" default:"auto" choices:"auto|crashid|bare" doc:"Answer to an accepted crash: a CrashID= line, the bare id, or by client (bare for Crashpad, Breakpad and Electron)."`
	ViewURL        string        `yaml:"view_url" default:"" doc:"Sent as ViewURL= line with the crash id for {id}; empty sends none."`
	StopSending    []string      `yaml:"stop_sending" default:"" doc:"Product/Version pairs whose clients are told to stop sending reports."`
	SubmitterToken string        `yaml:"submitter_token" default:"" secret:"true" doc:"Bearer token that lets a client choose crash ids and times; empty lets nobody."`
	MaxBody        Bytes         `yaml:"max_body" default:"25MiB" doc:"Largest request body, as it comes over the wire."`
	MaxUnpacked    Bytes         `yaml:"max_unpacked" default:"200MiB" doc:"Largest request body after decompression."`
	MaxAnnotations Bytes         `yaml:"max_annotations" default:"20MiB" doc:"Most bytes of annotations in one crash."`
	MaxParts       int           `yaml:"max_parts" default:"10000" doc:"Most parts in one request."`
	MaxDumps       int           `yaml:"max_dumps" default:"200" doc:"Most dumps and other files in one crash."`
	StallTimeout   time.Duration `yaml:"stall_timeout" default:"60s" doc:"How long a client may send nothing of its body."`
	TotalTimeout   time.Duration `yaml:"total_timeout" default:"10m" doc:"How long one request may take to arrive."`
	SaveTimeout    time.Duration `yaml:"save_timeout" default:"15s" doc:"How long the bucket and the queue may take before a crash goes to the spool."`
	MaxRequests    int           `yaml:"max_requests" default:"256" doc:"Crashes received at once; more wait a moment, then get 503."`
	RateLimit      int           `yaml:"rate_limit" default:"0" doc:"Crashes a minute that one address may send; 0 is no limit."`
	Spool          string        `yaml:"spool" default:"" doc:"Directory on persistent disk where crashes wait when the bucket or queue is down; empty is <data_dir>/spool; off keeps none and answers 503."`
	SpoolSize      Bytes         `yaml:"spool_size" default:"10GiB" doc:"Most disk the spool may take, and as much again the large files of uploads under way; past it crashes get 503."`
	Mapping        []string      `yaml:"mapping" default:"_productName=ProductName,prod=ProductName,_version=Version,ver=Version,ptype=ProcessType,process_type=ProcessType,plat=Platform,platform=Platform,channel=ReleaseChannel,comments=Comments" doc:"FROM=TO pairs: annotation FROM is copied to TO when a crash has no TO, so that other clients' names are understood; the first that applies wins."`
	Remove         []string      `yaml:"remove" default:"Email,TelemetryClientId,TelemetryServerURL,TelemetrySessionId" doc:"Annotations that are never stored."`
	Throttle       Throttle      `yaml:"throttle"`
}

// Throttle says which crashes are kept. docs/examples/mozilla.yaml shows it in use.
type Throttle struct {
	File     string            `yaml:"file" default:"" doc:"YAML file with products, packages and rules that take the place of those here; reread when it changes."`
	Products []string          `yaml:"products" default:"" doc:"Products whose crashes are kept when products.strict is set; empty takes the names of products.list."`
	Packages []ThrottlePackage `yaml:"packages" doc:"Package names a product may come as: product, names."`
	Rules    []ThrottleRule    `yaml:"rules" doc:"Rules tried in order until one decides: name, when (conditions), result (accept, defer, reject, fakeaccept, continue), percent, else. None keeps everything but unknown products."`
}

// ThrottlePackage names the packages that a product may come as.
type ThrottlePackage struct {
	Product string   `yaml:"product"`
	Names   []string `yaml:"names"`
}

// ThrottleRule decides on crashes that fulfil all its conditions.
type ThrottleRule struct {
	Name    string              `yaml:"name"`
	When    []ThrottleCondition `yaml:"when"`    // none: every crash
	Result  string              `yaml:"result"`  // accept, defer, reject, fakeaccept or continue
	Percent *float64            `yaml:"percent"` // of the crashes get result, the others else; nil: all
	Else    string              `yaml:"else"`
}

// ThrottleCondition compares one value with exactly one operand.
type ThrottleCondition struct {
	Field   string  `yaml:"field"`   // annotation that is looked at
	Path    string  `yaml:"path"`    // its value is JSON: look at what lies at this path, dots between keys
	Text    *string `yaml:"text"`    // look at this text instead of a field
	Default *string `yaml:"default"` // stands for a missing field; without it the condition fails
	Fold    bool    `yaml:"fold"`    // compare without regard to case

	Exists        *bool    `yaml:"exists"`
	Is            *string  `yaml:"is"`
	IsNot         *string  `yaml:"is_not"`
	In            []string `yaml:"in"`
	NotIn         []string `yaml:"not_in"`
	NotInList     string   `yaml:"not_in_list"` // products, or packages (of the crash's product); an empty list holds everything
	Prefix        *string  `yaml:"prefix"`
	Matches       *string  `yaml:"matches"` // regular expression
	Before        *string  `yaml:"before"`  // comes before this text, byte by byte; an empty value does not
	AtMost        *float64 `yaml:"at_most"` // is a number of at most this
	AtLeast       *float64 `yaml:"at_least"`
	OlderThanDays *int     `yaml:"older_than_days"` // is a build id (YYYYMMDDhhmmss) whose day is longer ago
}

// Processor bounds the work on one crash.
type Processor struct {
	Workers     int           `yaml:"workers" default:"0" doc:"Crashes worked on at once; 0 is twice as many as the machine has processors, since some wait for disks."`
	WalkTimeout time.Duration `yaml:"walk_timeout" default:"2m" doc:"How long walking the stacks of one dump may take."`
	WalkMemory  Bytes         `yaml:"walk_memory" default:"1GiB" doc:"Most memory that walking one dump may take."`
	Isolate     bool          `yaml:"isolate" default:"false" doc:"Walk each dump in a process of its own, so that no dump can harm the processor; costs some time per dump."`
	Tables      []string      `yaml:"tables" default:"" doc:"YAML files laid over the tables of the processing rules (mayday rules --tables prints them)."`
	LateSymbols LateSymbols   `yaml:"late_symbols"`
	TempDir     string        `yaml:"temp_dir" default:"" doc:"Directory for dumps that are too large to hold in memory; empty is the system's."`
}

// LateSymbols says what becomes of crashes whose symbols come after them.
type LateSymbols struct {
	Rate int `yaml:"rate" default:"600" doc:"Crashes a minute that are processed again because symbols they lacked were uploaded; 0 leaves them as they are. The web role reads it."`
	Days int `yaml:"days" default:"30" doc:"How many days back such crashes are looked for."`
}

// Symbols says where symbols come from besides the symbols bucket.
type Symbols struct {
	CacheSize Bytes    `yaml:"cache_size" default:"10GiB" doc:"Most disk that compiled symbols may take in <data_dir>/symcache."`
	URLs      []string `yaml:"urls" default:"" doc:"Suppliers asked, in order, for what the symbols bucket lacks: https://… in Breakpad's layout (Tecken), microsoft+https://…, debuginfod+https://…, s3:// and gs:// buckets, file:///path."`
	Private   []string `yaml:"private_hosts" default:"" doc:"Hosts, addresses and networks (CIDR) in private networks that suppliers of symbols may redirect to; hosts that symbols.urls names need not stand here."`

	BinariesSize Bytes `yaml:"binaries_size" default:"5GiB" doc:"Most disk that binaries of modules from suppliers take in <data_dir>/binaries; stacks are unwound by those of modules whose symbols do not say how, or that have none. 0 asks for none."`

	MaxUpload          Bytes    `yaml:"max_upload" default:"10GiB" doc:"Largest upload of symbols, as it comes over the wire."`
	DisallowedSnippets []string `yaml:"disallowed_snippets" default:"qcom/proprietary" doc:"Archives of symbols with one of these texts in the name of a member are refused."`
	Domains            []string `yaml:"download_domains" default:"queue.taskcluster.net,firefox-ci-tc.services.mozilla.com" doc:"Hosts that uploads by URL may be fetched from, by https."`
	AnyDomain          bool     `yaml:"download_any_domain" default:"false" doc:"Fetch uploads by URL from every public host, by http too."`
	UploadVersion      int      `yaml:"upload_version" default:"1" doc:"Protocol that upload clients are told to speak: 1 sends one archive, 2 sends each file and can be resumed."`
	TryDays            int      `yaml:"try_days" default:"30" doc:"Days that symbols of trial builds are kept; 0 keeps them for good."`
	Days               int      `yaml:"days" default:"730" doc:"Days that other uploaded symbols are kept; 0 keeps them for good."`
	Quota              Bytes    `yaml:"quota" default:"0" doc:"Most bytes that uploaded symbols may take in all; past it uploads get 507. 0 is no limit."`
	UserQuota          Bytes    `yaml:"user_quota" default:"0" doc:"Most bytes that one user's symbols may take; past it their uploads get 413. 0 is no limit; a token can have a quota of its own."`
	Refuse             []string `yaml:"refuse" default:"" doc:"Faults of symbol files that refuse an upload: empty, no-module, bad-id, wrong-id, wrong-name, no-functions, no-lines, no-cfi, bad-lines, nul, truncated. Others are recorded with the file."`
	ConvertMemory      Bytes    `yaml:"convert_memory" default:"1GiB" doc:"Most memory that making a symbol file of ELF files takes, one at a time in a process of its own; 0 makes none."`
	MissingIgnore      []string `yaml:"missing_ignore" default:"" doc:"Patterns (* and ?) of debug or code files that are left out of the missing symbols."`
}

// Web shapes pages and APIs.
type Web struct {
	Anonymous string `yaml:"anonymous" default:"" choices:"|public|none" doc:"What visitors who are not logged in may see: public data or none; must be set to listen on anything but loopback."`
	RateLimit int    `yaml:"rate_limit" default:"100" doc:"Requests a minute that one address may make to /api/; 0 switches limits off."`
	BaseURL   string `yaml:"base_url" default:"" doc:"How people reach this instance, for links in answers; empty takes it from each request."`
	Dev       bool   `yaml:"dev" default:"false" doc:"Read templates from disk on each request."`
}
