// Package storage keeps crashes: the id of a crash, the two documents about it
// (raw crash, processed crash), its dumps, and the keys all of them have in a
// bucket.
//
// The bucket is the truth. Everything else the program knows about a crash
// (search index, catalog, aggregates) can be rebuilt from it.
//
//	v1/raw_crash/YYYYMMDD/<id>    JSON object: annotations and what the collector knows; written last
//	v1/dump_names/<id>            JSON list of the dumps' names
//	v1/<dump name>/<id>           the bytes of one dump; upload_file_minidump is spelled "dump"
//	v1/processed_crash/<id>       JSON object, overwritten by each processing
//	v1/verdict/<id>               JSON object: why the crash cannot be processed
//	v1/snapshot/<name>.json       small tables that web publishes for processors
//
// The first four keys are those of Socorro, so a bucket can be taken over from
// it; the older v2/raw_crash/<3 hex>/YYYYMMDD/<id> is read and deleted, never
// written. YYYYMMDD is "20" and the last six digits of the id.
//
// Crashes is the one store, concrete over gocloud's *blob.Bucket: file, memory
// and cloud buckets all behave the same (package crashestest holds the suite
// that says so). Dumps are streamed both ways; documents are held in memory.
//
// Order and promises: SaveRaw writes the dumps, then their names, then the raw
// crash, so that a raw crash implies its dumps. Delete goes the other way
// round: the raw crash first, the list of names last, so that an interrupted
// Delete can be repeated and finds what is left. Writing the same crash twice
// leaves one crash.
//
// Errors carry a kind of package fault, translated from gocloud's codes:
// NotFound, Malformed (an object that is there but breaks its format),
// Unavailable (the bucket does not answer; worth retrying), Canceled, Timeout.
//
// What the package does not do: it knows no field of the documents, no
// permissions, no queue, and opens no bucket from a URL (package app does).
package storage
