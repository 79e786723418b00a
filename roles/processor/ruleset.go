package processor

import (
	"slices"

	"mayday/roles/processor/rules"
)

// The rulesets a crash may be processed with.
const (
	// DefaultRuleset makes the processed crash anew.
	DefaultRuleset = "default"
	// RegenerateSignature makes the signature anew of what the processed crash
	// holds, after the signature lists have changed.
	RegenerateSignature = "regenerate_signature"
)

// Rulesets names the rulesets.
func Rulesets() []string { return []string{DefaultRuleset, RegenerateSignature} }

// fields is a list of names of fields.
func fields(names ...string) []string { return names }

// Rules lists the processing rules in the order in which they run. Needs and
// Sets name fields of the processed crash.
func Rules() []rules.Rule { return slices.Clone(ruleset) }

// ruleset is the one list of rules. The rule that moves a shutdown hang to the
// main thread stands before those that look at the crashing stack, so that all
// speak of one thread.
var ruleset = []rules.Rule{
	{Name: "DeNullRule", Doc: "Takes NUL characters out of the names and texts of annotations.",
		Run: rules.DeNull},
	{Name: "DeNoneRule", Doc: "Drops annotations that are null.",
		Run: rules.DeNone},
	{Name: "CrashReportKeysRule", Doc: "Lists the names of all annotations and dumps; odd names are left out with a note.",
		Sets: fields("crash_report_keys"), Run: rules.CrashReportKeys},
	{Name: "CollectorMetadataRule", Doc: "Copies what the collector noted on arrival.",
		Sets: fields("collector_metadata"), Run: rules.CollectorMetadata},
	{Name: "ConvertModuleSignatureInfoRule", Doc: "Makes text of a ModuleSignatureInfo that came as an object.",
		Run: rules.ConvertModuleSignatureInfo},
	{Name: "CopyFromRawCrashRule", Doc: "Copies each annotation that the field table names, as the type it names; what does not fit is noted.",
		Sets: fields(rules.EveryAnnotation), Run: rules.CopyFromRawCrash},
	{Name: "FenixVersionRewriteRule", Doc: "Replaces versions that the table version_rewrites names.",
		Needs: fields("product", "version"), Sets: fields("version"), Run: rules.FenixVersionRewrite},
	{Name: "ESRVersionRewriteRule", Doc: "Adds the suffix that the table channel_suffixes names to versions of a channel.",
		Needs: fields("release_channel", "version"), Sets: fields("version"), Run: rules.ESRVersionRewrite},
	{Name: "SubmittedFromRule", Doc: "Says where in the program the report was sent from.",
		Sets: fields("submitted_from", "submitted_from_infobar"), Run: rules.SubmittedFrom},
	{Name: "IdentifierRule", Doc: "Sets the id of the crash.",
		Sets: fields("crash_id", "uuid"), Run: rules.Identifier},
	{Name: "SubmissionKindRule", Doc: "Tells full reports from crash pings.",
		Sets: fields("submission_kind"), Run: rules.SubmissionKind},
	{Name: "MinidumpSha256HashRule", Doc: "Copies the checksum of the main dump.",
		Sets: fields("minidump_sha256_hash"), Run: rules.MinidumpSha256Hash},
	{Name: "MinidumpStackwalkRule", Doc: "Walks the stacks of every dump whose name begins with upload_file_minidump; a field named like the dump holds what further dumps yield.",
		Sets: fields("json_dump", "mdsw_return_code", "mdsw_status_string", "mdsw_stderr", "success", "stackwalk_version", "additional_minidumps"),
		Run:  rules.MinidumpStackwalk},
	{Name: "StackTracesRule", Doc: "Looks up the addresses that a crash ping brings instead of a dump.",
		Needs: fields("json_dump"), Sets: fields("json_dump"), Run: rules.StackTraces},
	{Name: "ModuleURLRewriteRule", Doc: "Takes queries out of symbol URLs and drops URLs of hosts in the table internal_hosts.",
		Needs: fields("json_dump"), Sets: fields("json_dump"), Run: rules.ModuleURLRewrite},
	{Name: "CrashingThreadInfoRule", Doc: "Lifts reason, address, crashing thread and last error out of the walker's result.",
		Needs: fields("json_dump"), Sets: fields("crashing_thread", "crashing_thread_name", "reason", "address", "last_error_value"), Run: rules.CrashingThreadInfo},
	{Name: "TruncateStacksRule", Doc: "Leaves out the middle of stacks of more than 500 frames.",
		Needs: fields("json_dump"), Sets: fields("json_dump"), Run: rules.TruncateStacks},
	{Name: "PossibleBitFlipsRule", Doc: "Says how sure the walker is that a flipped bit explains the crash.",
		Needs: fields("json_dump"), Sets: fields("possible_bit_flips_max_confidence"), Run: rules.PossibleBitFlips},
	{Name: "CrashInconsistenciesRule", Doc: "Lifts the ways in which the dump contradicts itself.",
		Needs: fields("json_dump"), Sets: fields("crash_inconsistencies"), Run: rules.CrashInconsistencies},
	{Name: "HasGuardPageAccessRule", Doc: "Says whether the crashing instruction touched what is probably a guard page.",
		Needs: fields("json_dump"), Sets: fields("has_guard_page_access"), Run: rules.HasGuardPageAccess},
	{Name: "MajorVersionRule", Doc: "Number before the first dot of the version; 0 when there is none.",
		Sets: fields("major_version"), Run: rules.MajorVersion},
	{Name: "PluginRule", Doc: "Copies what a plugin process says of its plugin.",
		Sets: fields("plugin_filename", "plugin_name", "plugin_version"), Run: rules.Plugin},
	{Name: "ProcessTypeRule", Doc: "Says what kind of process crashed, parent when the client does not; the table process_types renames.",
		Sets: fields("process_type"), Run: rules.ProcessType},
	{Name: "AccessibilityRule", Doc: "Says whether an accessibility service was active.",
		Sets: fields("accessibility"), Run: rules.Accessibility},
	{Name: "AddonsRule", Doc: "Lists the add-ons as id and version.",
		Sets: fields("addons", "addons_checked"), Run: rules.Addons},
	{Name: "DatesAndTimesRule", Doc: "Works out when the crash happened, the uptime and the age of the installation.",
		Needs: fields("startup_time"),
		Sets:  fields("submitted_timestamp", "date_processed", "crash_time", "client_crash_date", "install_age", "uptime", "last_crash"), Run: rules.DatesAndTimes},
	{Name: "OutOfMemoryBinaryRule", Doc: "Unpacks the memory report that came with the crash, up to 20 MiB.",
		Sets: fields("memory_report", "memory_report_error"), Run: rules.OutOfMemoryBinary},
	{Name: "PHCRule", Doc: "Copies what the probabilistic heap checker found.",
		Sets: fields("phc_kind", "phc_base_address", "phc_usable_size", "phc_alloc_stack", "phc_free_stack"), Run: rules.PHC},
	{Name: "BreadcrumbsRule", Doc: "Keeps the events before the crash when they have the right form.",
		Sets: fields("breadcrumbs"), Run: rules.Breadcrumbs},
	{Name: "JavaStackTraceRule", Doc: "Keeps a Java stack trace and, for the public, one without the exceptions' messages.",
		Sets: fields("java_stack_trace", "java_stack_trace_raw"), Run: rules.JavaStackTrace},
	{Name: "MacBootArgsRule", Doc: "Lifts the boot arguments of a Mac.",
		Needs: fields("json_dump"), Sets: fields("mac_boot_args", "has_mac_boot_args"), Run: rules.MacBootArgs},
	{Name: "MacCrashInfoRule", Doc: "Keeps the crash records of macOS libraries as JSON text.",
		Needs: fields("json_dump"), Sets: fields("mac_crash_info"), Run: rules.MacCrashInfo},
	{Name: "MozCrashReasonRule", Doc: "Copies the reason a program gave; reasons in the table unsafe_reasons are hidden from the public.",
		Sets: fields("moz_crash_reason", "moz_crash_reason_raw"), Run: rules.MozCrashReason},
	{Name: "UtilityActorsNameRule", Doc: "Splits the list of tasks of a utility process.",
		Sets: fields("utility_actors_name"), Run: rules.UtilityActorsName},
	{Name: "ReportTypeRule", Doc: "Tells hangs from crashes.",
		Needs: fields("json_dump"), Sets: fields("report_type"), Run: rules.ReportType},
	{Name: "CPUInfoRule", Doc: "Says what processor the crash ran on.",
		Needs: fields("json_dump"), Sets: fields("cpu_info", "cpu_count", "cpu_arch", "cpu_microcode_version"), Run: rules.CPUInfo},
	{Name: "AndroidCPUInfoRule", Doc: "Takes the instruction set from what Android says where the dump does not tell.",
		Needs: fields("cpu_arch"), Sets: fields("cpu_arch"), Run: rules.AndroidCPUInfo},
	{Name: "DistributionIdRule", Doc: "Says which distribution the program came from.",
		Sets: fields("distribution_id"), Run: rules.DistributionId},
	{Name: "OSInfoRule", Doc: "Says what operating system the crash ran on.",
		Needs: fields("json_dump"), Sets: fields("os_name", "os_version"), Run: rules.OSInfo},
	{Name: "AndroidOSInfoRule", Doc: "Takes the system from what Android says where the dump does not tell.",
		Needs: fields("os_name"), Sets: fields("os_name", "os_version"), Run: rules.AndroidOSInfo},
	{Name: "PlatformInfoRule", Doc: "Fills processor and system from annotations where no dump has told them.",
		Needs: fields("cpu_arch", "cpu_info", "os_name", "os_version"), Sets: fields("cpu_arch", "cpu_info", "os_name", "os_version"), Run: rules.PlatformInfo},
	{Name: "BetaVersionRule", Doc: "Looks up the real version of betas that report the final one (table beta_products).",
		Needs: fields("product", "release_channel", "version", "build"), Sets: fields("version"), Run: rules.BetaVersion},
	{Name: "OSPrettyVersionRule", Doc: "Names the system and its version as people do.",
		Needs: fields("os_name", "os_version", "json_dump"), Sets: fields("os_pretty_version"), Run: rules.OSPrettyVersion},
	{Name: "MissingSymbolsRule", Doc: "Lists the modules whose symbols were looked for in vain.",
		Needs: fields("json_dump"), Sets: fields("missing_symbols"), Run: rules.MissingSymbols},
	{Name: "SymbolsArrivedRule", Doc: "Notes the modules whose symbols were missing when the crash was processed before and have come since.",
		Needs: fields("json_dump"), Run: rules.SymbolsArrived},
	{Name: "ThemePrettyNameRule", Doc: "Adds a name to the add-ons in the table addon_names.",
		Needs: fields("addons"), Sets: fields("addons"), Run: rules.ThemePrettyName},
	{Name: "MemoryReportExtractionRule", Doc: "Adds up the memory report's entries of the process that crashed.",
		Needs: fields("memory_report", "json_dump"), Sets: fields("memory_measures"), Run: rules.MemoryReportExtraction},
	{Name: "SoftErrorsRule", Doc: "Keeps the flaws that the walker found in the dump, at most 4096 characters.",
		Needs: fields("json_dump"), Sets: fields("soft_errors"), Run: rules.SoftErrors},
	{Name: "ThreadCountRule", Doc: "Lifts the number of threads.",
		Needs: fields("json_dump"), Sets: fields("thread_count"), Run: rules.ThreadCount},
	{Name: "SignatureGeneratorRule", Doc: "Makes the signature of the crash.",
		Needs: fields("json_dump", "java_stack_trace", "java_exception", "hang", "oom_allocation_size", "abort_message", "mdsw_status_string", "additional_minidumps"),
		Sets:  fields("signature", "proto_signature", "signature_debug", "signature_lists_version", "signature_upstream"), Run: rules.SignatureGenerator},
	{Name: "ShutDownHangCrashingThreadRule", Doc: "Makes the main thread the crashing one when the program hung while shutting down.",
		Needs: fields("signature"), Sets: fields("crashing_thread"), Run: rules.ShutDownHangCrashingThread},
	{Name: "TopMostFilesRule", Doc: "Finds the first source file on the crashing stack.",
		Needs: fields("crashing_thread", "json_dump"), Sets: fields("topmost_filenames"), Run: rules.TopMostFiles},
	{Name: "ModulesInStackRule", Doc: "Lists the modules of the crashing stack.",
		Needs: fields("crashing_thread", "json_dump"), Sets: fields("modules_in_stack"), Run: rules.ModulesInStack},
}

// rulesOf lists the rules of a ruleset; nil when there is none of that name.
func rulesOf(name string) []rules.Rule {
	switch name {
	case DefaultRuleset:
		return ruleset
	case RegenerateSignature:
		i := slices.IndexFunc(ruleset, func(r rules.Rule) bool { return r.Name == "SignatureGeneratorRule" })
		return ruleset[i : i+1]
	}
	return nil
}
