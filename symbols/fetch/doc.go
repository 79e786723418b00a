// Package fetch gets symbol files to where they are needed. Bucket reads those
// that were uploaded, and Places asks suppliers outside for what it lacks –
// symbol servers in Breakpad's and Microsoft's layout, debuginfod, buckets and
// directories – both for the compiled cache of package symbols/cache. Source
// serves a single walk: from directories in Breakpad's layout, from single
// files, and from symbol servers with a cache on disk.
//
// Of Places:
//
// Connections go to the hosts that the configuration names, and else, when one
// of these redirects, to public addresses; what is private must be listed. The
// address is checked when it is dialled. A server that does not answer within
// seconds, or stops in the middle of an answer, is left alone for a time that
// grows; what it has not is remembered. Files are cut off at MaxFileSize.
// Places with raw files alone (PDB, ELF) supply symbols where there is a
// Converter; Places.File gives the raw files themselves.
//
// Of Binaries:
//
// The files of modules themselves come from directories, from the bucket, and
// from Places, whose downloads are kept in a directory up to a number of bytes;
// so is, for an hour, what none of them has. All are checked by their ids.
//
// Of Source:
//
// A file is looked for in the paths first, in the order they are given, then in
// the cache, then at each server in turn. A download goes to a temporary file
// in the cache and is renamed when it is complete, so that neither a crash nor
// two processes at once leave half a file; a last line "INFO URL <address>"
// remembers where it came from.
//
// Limits: a download is cut off at MaxFileSize, and when it takes longer than
// Options.Timeout. A server that cannot be reached is an error of kind
// Unavailable, a file that no place has one of kind NotFound. The cache is not
// evicted here.
package fetch
