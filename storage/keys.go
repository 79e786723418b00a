package storage

import (
	"regexp"
	"slices"
	"strings"

	"mayday/app/fault"
)

// MinidumpName is the name of a crash's main dump, both as field of the upload
// and in the list of dump names.
const MinidumpName = "upload_file_minidump"

const (
	rawCrashPrefix = "v1/raw_crash/"
	oldRawPrefix   = "v2/raw_crash/"
	verdictPrefix  = "v1/verdict/"
	snapshotPrefix = "v1/snapshot/"
)

// reservedNames are the first parts of keys that dumps may not take.
var reservedNames = []string{"raw_crash", "dump_names", "processed_crash", "crash_report", "verdict", "snapshot"}

// dumpNamePattern is what a dump's name may look like in a key. The collector
// makes names of up to 30 characters; buckets taken over may hold longer ones.
var dumpNamePattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$`)

// CheckDumpName says whether name may stand in a key, without leaving the
// dumps' part of the bucket or replacing another object.
func CheckDumpName(name string) error {
	if !dumpNamePattern.MatchString(name) || slices.Contains(reservedNames, name) {
		if len(name) > 100 {
			name = name[:100]
		}
		return fault.New(fault.Invalid, "dump name %q", name)
	}
	return nil
}

// Reserved reports whether a dump may not be stored under name because keys of
// another kind begin with it.
func Reserved(name string) bool { return slices.Contains(reservedNames, name) }

func rawKey(id CrashID) string { return rawCrashPrefix + id.Day() + "/" + string(id) }
func oldRawKey(id CrashID) string {
	return oldRawPrefix + string(id[:3]) + "/" + id.Day() + "/" + string(id)
}
func dumpNamesKey(id CrashID) string { return "v1/dump_names/" + string(id) }
func processedKey(id CrashID) string { return "v1/processed_crash/" + string(id) }
func verdictKey(id CrashID) string   { return verdictPrefix + string(id) }

// dumpKey is the key of one dump. The main dump and a nameless one share
// "dump", as in buckets of old.
func dumpKey(id CrashID, name string) string {
	if name == MinidumpName || name == "" {
		name = "dump"
	}
	return "v1/" + name + "/" + string(id)
}

// snapshotKey is the key of a snapshot; name is one word of ours.
func snapshotKey(name string) (string, error) {
	if !dumpNamePattern.MatchString(name) || strings.Contains(name, "..") {
		return "", fault.New(fault.Invalid, "snapshot name %q", name)
	}
	return snapshotPrefix + name + ".json", nil
}
