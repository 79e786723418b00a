// Package journal makes small crashes durable with one sync for all that arrive at
// once, where syncing each object of a local bucket and its folder takes seven.
// A crash is appended here while it is written to the bucket without a sync; it
// is answered when the journal is on disk. Every few seconds the bucket's whole
// file system is synced and the segments before that are removed. Segments that
// an earlier life left are stored again if the machine was started since;
// otherwise the kernel still has what was written.
//
//	N.log           magic, id of the boot (36 bytes), number of the use (u64), records, anything
//	record          length and CRC-32C of what follows (u32 each), crash id, raw crash, files
//
// Numbers are little-endian. The checksum begins with the number of the use. A
// segment counts up to the first record that is not whole. Segments are written
// over again and again: a sync of blocks that are there costs a third of one
// that must put new blocks into the file.
//
// A crash that is deleted and then loses power within seconds of its arrival
// comes back: removals are not journaled.
package journal

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"mayday/app/fault"
	"mayday/app/metrics"
	"mayday/storage"
)

// Crash is what is journaled.
type Crash struct {
	ID    storage.CrashID
	Raw   []byte // the raw crash as JSON
	Files []File
}

// File is a dump or another file of a crash.
type File struct {
	Name string // in the bucket
	Data []byte
}

// Journal is a folder of segments; one process uses it.
type Journal struct {
	dir  string // of the segments
	root string // folder of the bucket
	boot string

	left []string // segments of an earlier life, oldest first; Run's alone

	mu      sync.Mutex
	files   uint64     // number of the last file made
	uses    uint64     // number of the last use of a file
	bytes   int64      // what the segments hold
	current *segment   // nil: none
	full    []*segment // that get no more records, oldest first
	spare   []*segment // to be written over
	idle    bool       // nothing was put since Settle last looked
	waiting *batch     // nil: none
	busy    bool       // a batch is being written
}

// segment is one file of the journal. What changes is guarded by Journal.mu.
type segment struct {
	file *os.File
	path string
	use  uint64
	born time.Time // of this use
	size int64
	open int // crashes whose objects are not all written
}

// batch is what goes to disk with one sync.
type batch struct {
	records [][]byte
	size    int64
	done    chan struct{} // closed when it is over
	segment *segment      // valid then
	err     error         // valid then
}

const (
	segmentSuffix = ".log"
	segmentMagic  = "MDJRNL2\n"
	segmentHead   = len(segmentMagic) + bootLength + 8
	bootLength    = 36
	recordHead    = 8

	segmentSize = 8 << 20
	// maxSpare is how many segments are kept to be written over.
	maxSpare = 8
	// segmentAge is how long a segment waits for records: the shorter, the less
	// is stored again after a power failure.
	segmentAge = 3 * time.Second
	// maxJournal bounds the segments that wait for a slow disk; past it crashes
	// are synced one by one.
	maxJournal = 1 << 30
	// maxRecord bounds a crash in the journal. Larger ones are synced by
	// themselves: writing them twice would cost more.
	maxRecord = 1 << 20
)

var crcTable = crc32.MakeTable(crc32.Castagnoli)

// Open lists what an earlier life left in dir. root is the bucket's folder. It gives nil where the system
// cannot sync a whole file system.
func Open(dir, root string) (_ *Journal, err error) {
	if !Supported {
		return nil, nil
	}
	defer fault.In(&err, "journal %s", dir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.As(fault.Unavailable, err, "make folder")
	}
	if err := errors.Join(SyncFolder(dir), SyncFolder(filepath.Dir(dir))); err != nil {
		return nil, fault.As(fault.Unavailable, err, "sync folder")
	}
	found, err := os.ReadDir(dir)
	if err != nil {
		return nil, fault.As(fault.Unavailable, err, "list")
	}
	j := &Journal{dir: dir, root: root, boot: bootID(), uses: uint64(time.Now().UnixNano())}
	for _, e := range found {
		var n uint64
		if _, err := fmt.Sscanf(e.Name(), "%016x"+segmentSuffix, &n); err == nil && strings.HasSuffix(e.Name(), segmentSuffix) {
			j.left = append(j.left, filepath.Join(dir, e.Name()))
			j.files = max(j.files, n)
		}
	}
	slices.Sort(j.left)
	return j, nil
}

// Entry is a crash on its way into the journal.
type Entry struct {
	j *Journal
	b *batch
}

// Put hands a crash over. It gives nil when the crash is too large, or the
// journal full.
func (j *Journal) Put(c Crash) *Entry {
	record := encodeRecord(c)
	if record == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.bytes+int64(len(record)) > maxJournal {
		return nil
	}
	if j.waiting == nil {
		j.waiting = &batch{done: make(chan struct{})}
	}
	b := j.waiting
	b.records = append(b.records, record)
	b.size += int64(len(record))
	j.idle = false
	if !j.busy {
		j.busy = true
		go j.write()
	}
	return &Entry{j, b}
}

// Wait returns when the record is on disk, or will not be.
func (e *Entry) Wait() error {
	<-e.b.done
	return e.b.err
}

// Written says that the crash's objects are in the bucket, or in the spool, and
// that its record is needed only until the next sync of the bucket.
func (e *Entry) Written() {
	<-e.b.done
	if e.b.segment == nil {
		return
	}
	e.j.mu.Lock()
	e.b.segment.open--
	e.j.mu.Unlock()
}

// write puts batches on disk until none waits.
func (j *Journal) write() {
	for {
		j.mu.Lock()
		b := j.waiting
		j.waiting = nil
		if b == nil {
			j.busy = false
			j.mu.Unlock()
			return
		}
		if s := j.current; s != nil && s.size+b.size > segmentSize && s.size > int64(segmentHead) {
			j.retire()
		}
		s := j.current
		if s != nil {
			s.take(b)
		}
		j.mu.Unlock()
		if s == nil {
			s, b.err = j.begin(b)
		}
		if b.err == nil {
			b.err = j.append(s, b)
		}
		close(b.done)
	}
}

// retire ends the current segment; mu is held.
func (j *Journal) retire() {
	j.full = append(j.full, j.current)
	j.current = nil
}

// take has a batch belong to a segment, which stays until all its crashes are
// written; mu is held.
func (s *segment) take(b *batch) {
	s.open += len(b.records)
	b.segment = s
}

// begin makes a segment for a batch, or takes one that was used before.
func (j *Journal) begin(b *batch) (*segment, error) {
	j.mu.Lock()
	var s *segment
	if n := len(j.spare); n > 0 {
		s, j.spare = j.spare[n-1], j.spare[:n-1]
	} else {
		s = j.file()
	}
	j.uses++
	s.use, s.born, s.size, s.open = j.uses, time.Now(), int64(segmentHead), 0
	j.mu.Unlock()
	if s.file == nil {
		if err := s.create(); err != nil {
			return nil, err
		}
		if err := SyncFolder(j.dir); err != nil {
			s.remove()
			return nil, err
		}
	}
	head := binary.LittleEndian.AppendUint64([]byte(segmentMagic+j.boot), s.use)
	if _, err := s.file.WriteAt(head, 0); err != nil {
		s.remove()
		return nil, err
	}
	j.mu.Lock()
	j.current = s
	s.take(b)
	j.mu.Unlock()
	return s, nil
}

// provide makes a spare segment if there is none, so that no crash waits for
// one.
func (j *Journal) provide() error {
	j.mu.Lock()
	if len(j.spare) > 0 {
		j.mu.Unlock()
		return nil
	}
	s := j.file()
	j.mu.Unlock()
	if err := errors.Join(s.create(), SyncFolder(j.dir)); err != nil {
		return err
	}
	j.mu.Lock()
	j.spare = append(j.spare, s)
	j.mu.Unlock()
	return nil
}

// file names a new segment; mu is held.
func (j *Journal) file() *segment {
	j.files++
	return &segment{path: filepath.Join(j.dir, fmt.Sprintf("%016x"+segmentSuffix, j.files))}
}

// create makes the file with all its blocks.
func (s *segment) create() (err error) {
	if s.file, err = os.OpenFile(s.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return err
	}
	zeros := make([]byte, 1<<20)
	for n := 0; n < segmentSize && err == nil; n += len(zeros) {
		_, err = s.file.Write(zeros)
	}
	if err = errors.Join(err, s.file.Sync()); err != nil {
		s.remove()
	}
	return err
}

func (s *segment) remove() error {
	return errors.Join(s.file.Close(), os.Remove(s.path))
}

// append writes a batch and syncs it. After an error nothing more goes to the
// segment: nobody knows what of it is on disk.
func (j *Journal) append(s *segment, b *batch) error {
	at := s.size
	var err error
	for _, r := range b.records {
		seal(r, s.use)
		if err == nil {
			_, err = s.file.WriteAt(r, at)
			at += int64(len(r))
		}
	}
	if err == nil {
		err = syncData(s.file)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	s.size += b.size
	j.bytes += b.size
	if err != nil && j.current == s {
		j.retire()
	}
	metrics.CollectorJournal.Set(float64(j.bytes))
	return err
}

// Settle syncs the bucket's file system if segments are full or old, and frees
// those whose crashes were all written before. all takes every segment. What
// was freed is removed once nothing comes any more.
func (j *Journal) Settle(all bool) error {
	j.mu.Lock()
	if s := j.current; s != nil && (all || time.Since(s.born) >= segmentAge) {
		j.retire()
	}
	var done []*segment
	for _, s := range j.full {
		if s.open == 0 {
			done = append(done, s)
		}
	}
	keep := maxSpare
	if all || j.idle {
		keep = 0
	}
	j.idle = true
	j.mu.Unlock()
	if len(done) > 0 {
		if err := syncAll(j.root); err != nil {
			return fault.As(fault.Unavailable, err, "sync the bucket's disk")
		}
	}
	if keep > 0 && len(done) == 0 {
		if err := j.provide(); err != nil {
			return fault.As(fault.Unavailable, err, "journal")
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range done {
		j.full = slices.DeleteFunc(j.full, func(f *segment) bool { return f == s })
		j.bytes -= s.size - int64(segmentHead)
		j.spare = append(j.spare, s)
		s.file.WriteAt(make([]byte, len(segmentMagic)), 0) // what it holds need not be stored again; no loss if it is
	}
	metrics.CollectorJournal.Set(float64(j.bytes))
	for len(j.spare) > keep {
		s := j.spare[0]
		j.spare = j.spare[1:]
		if err := s.remove(); err != nil {
			return fault.As(fault.Unavailable, err, "journal")
		}
	}
	return nil
}

// Replay gives the crashes of earlier lives to store, and removes each segment
// after its last. Segments written since the machine started hold nothing that
// the kernel does not have: for them the bucket is synced.
func (j *Journal) Replay(ctx context.Context, store func(Crash) error) error {
	for len(j.left) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		path := j.left[0]
		boot, crashes, err := readSegment(path)
		switch {
		case err != nil:
			return err
		case boot != "" && boot == j.boot:
			if err := syncAll(j.root); err != nil {
				return fault.As(fault.Unavailable, err, "sync the bucket's disk")
			}
		default:
			for _, c := range crashes {
				if err := store(c); err != nil {
					return err
				}
			}
		}
		if err := os.Remove(path); err != nil {
			return fault.As(fault.Unavailable, err, "journal")
		}
		j.left = j.left[1:]
	}
	return nil
}

// readSegment reads the whole records of a segment; what follows them was never
// answered.
func readSegment(path string) (boot string, out []Crash, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", nil, fault.As(fault.Unavailable, err, "journal")
	}
	defer f.Close()
	boot, out, err = readRecords(bufio.NewReader(f))
	return boot, out, fault.As(fault.Unavailable, err, "journal %s", path)
}

// readRecords reads a segment; the error is the reader's own.
func readRecords(r io.Reader) (boot string, out []Crash, err error) {
	head := make([]byte, segmentHead)
	if _, err := io.ReadFull(r, head); err != nil || !bytes.HasPrefix(head, []byte(segmentMagic)) {
		return "", nil, notEOF(err)
	}
	boot = strings.TrimRight(string(head[len(segmentMagic):len(segmentMagic)+bootLength]), "\x00")
	use := binary.LittleEndian.Uint64(head[segmentHead-8:])
	for {
		if _, err := io.ReadFull(r, head[:recordHead]); err != nil {
			return boot, out, notEOF(err)
		}
		size := binary.LittleEndian.Uint32(head)
		if size == 0 || size > maxRecord {
			return boot, out, nil
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(r, body); err != nil {
			return boot, out, notEOF(err)
		}
		if checksum(body, use) != binary.LittleEndian.Uint32(head[4:]) {
			return boot, out, nil
		}
		c, ok := decodeRecord(body)
		if !ok {
			return boot, out, nil
		}
		out = append(out, c)
	}
}

// notEOF drops the errors that mean no more than an early end.
func notEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// encodeRecord makes the record of a crash but for the checksum. It gives nil
// for a crash that is too large.
func encodeRecord(c Crash) []byte {
	size := recordHead + len(c.ID) + 4 + len(c.Raw) + 4
	for _, f := range c.Files {
		size += 8 + len(f.Name) + len(f.Data)
	}
	if size-recordHead > maxRecord {
		return nil
	}
	b := make([]byte, recordHead, size)
	b = append(b, c.ID...)
	b = appendSized(b, c.Raw)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(c.Files)))
	for _, f := range c.Files {
		b = appendSized(b, []byte(f.Name))
		b = appendSized(b, f.Data)
	}
	binary.LittleEndian.PutUint32(b, uint32(len(b)-recordHead))
	return b
}

// seal puts the checksum into a record.
func seal(b []byte, use uint64) {
	binary.LittleEndian.PutUint32(b[4:], checksum(b[recordHead:], use))
}

// checksum is that of a record in a certain use of a segment, so that what an
// earlier use left behind the last record is none.
func checksum(body []byte, use uint64) uint32 {
	return crc32.Update(crc32.Checksum(binary.LittleEndian.AppendUint64(nil, use), crcTable), crcTable, body)
}

func appendSized(b, p []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(p))), p...)
}

func decodeRecord(b []byte) (Crash, bool) {
	sized := func() ([]byte, bool) {
		if len(b) < 4 {
			return nil, false
		}
		n := binary.LittleEndian.Uint32(b)
		if b = b[4:]; uint64(n) > uint64(len(b)) {
			return nil, false
		}
		p := b[:n:n]
		b = b[n:]
		return p, true
	}
	var c Crash
	if len(b) < bootLength {
		return c, false
	}
	id, err := storage.ParseCrashID(string(b[:bootLength]))
	if err != nil {
		return c, false
	}
	c.ID, b = id, b[bootLength:]
	var ok bool
	if c.Raw, ok = sized(); !ok || len(b) < 4 {
		return c, false
	}
	count := binary.LittleEndian.Uint32(b)
	b = b[4:]
	for range count {
		key, ok := sized()
		if !ok {
			return c, false
		}
		data, ok := sized()
		if !ok {
			return c, false
		}
		c.Files = append(c.Files, File{string(key), data})
	}
	return c, true
}

// bootID names the start of the machine; "" when the system does not say.
func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	id := strings.TrimSpace(string(text))
	if err != nil || len(id) != bootLength {
		return strings.Repeat("\x00", bootLength)
	}
	return id
}

// SyncFolder puts the entries of a folder on disk, where its file system syncs
// folders at all.
func SyncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, fs.ErrInvalid) {
		return err
	}
	return nil
}
